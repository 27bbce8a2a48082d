//! What daemon and supervisor say to each other: however it is cut, it is the same; whatever it is, it takes no more memory than came.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;
use marabunta::exec::supervisor::fuzzing::{Ask, Reply, Request, Word, decode};
use marabunta::exec::{Command, Exit};
use prost::Message;

// The first byte says in pieces of how many bytes the rest comes.
fuzz_target!(|data: &[u8]| {
    let Some((piece, data)) = data.split_first() else { return };
    let piece = usize::from(*piece).max(1);
    let asks = heard::<Request>(data, piece);
    assert_eq!(asks, heard::<Request>(data, data.len().max(1)));
    for ask in asks.into_iter().filter_map(|request| request.ask) {
        if let Ask::Start(start) = ask
            && let Ok(command) = Command::try_from(start)
        {
            drop(command.check());
        }
    }
    for word in heard::<Reply>(data, piece).into_iter().filter_map(|reply| reply.word) {
        if let Word::End(end) = word {
            drop(format!("{:?}", Exit::from(end)));
        }
    }
});

/// The messages up to the first that is none.
fn heard<M: Message + Default>(data: &[u8], piece: usize) -> Vec<M> {
    let (mut buffer, mut messages) = (BytesMut::new(), Vec::new());
    for piece in data.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match decode(&mut buffer) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(_) => return messages,
            }
        }
    }
    messages
}
