//! What daemon and supervisor say to each other: protobuf, each message behind its length, over a Unix socket. Fields and words that one
//! side does not know are passed over: a supervisor may be of an older version than the daemon that adopts it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use prost::Message;

use crate::exec::command::{Command, CommandError, Limits};
use crate::exec::exit::{Ending, Exit};
use crate::exec::output::Piece;

/// Bytes of a message at most: a start carries the command's input, which is no longer than a payload.
const LARGEST: usize = 64 << 20;

/// From the daemon.
#[derive(Clone, PartialEq, Message)]
pub struct Request {
    #[prost(oneof = "Ask", tags = "1, 2, 3, 4")]
    pub ask: Option<Ask>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Ask {
    /// Once the supervisor is idle: at first, and once the [`Word::End`] of the last attempt was taken.
    #[prost(message, tag = "1")]
    Start(Start),
    /// Stops what was started; nothing happens if it has ended.
    #[prost(bool, tag = "2")]
    Cancel(bool),
    /// So many words of the attempt, from the first on, are where they outlive the daemon. The supervisor need not keep them.
    #[prost(uint64, tag = "3")]
    Taken(u64),
    /// Replaces [`Start::ticket`].
    #[prost(bytes = "bytes", tag = "4")]
    Ticket(Bytes),
}

/// A [`Command`] that has been checked.
#[derive(Clone, PartialEq, Message)]
pub struct Start {
    #[prost(string, repeated, tag = "1")]
    argv: Vec<String>,
    #[prost(map = "string, string", tag = "2")]
    env: HashMap<String, String>,
    #[prost(bytes = "vec", optional, tag = "3")]
    cwd: Option<Vec<u8>>,
    #[prost(bytes = "bytes", tag = "4")]
    stdin: Bytes,
    #[prost(string, optional, tag = "5")]
    user: Option<String>,
    /// Microseconds.
    #[prost(uint64, optional, tag = "6")]
    timeout: Option<u64>,
    /// Bytes.
    #[prost(uint64, tag = "7")]
    output: u64,
    /// Bytes.
    #[prost(uint64, optional, tag = "8")]
    memory: Option<u64>,
    /// Microseconds.
    #[prost(uint64, tag = "9")]
    kill_grace: u64,
    /// What a daemon that adopts the attempt has to know of it; nothing to the supervisor.
    #[prost(bytes = "bytes", tag = "10")]
    pub ticket: Bytes,
}

/// From the supervisor.
#[derive(Clone, PartialEq, Message)]
pub struct Reply {
    #[prost(oneof = "Word", tags = "1, 2, 3, 4, 5, 6")]
    pub word: Option<Word>,
}

/// The first four are the words of an attempt. They are numbered from 0 in the order in which they are said, kept until they are taken, and
/// said again to a daemon that adopts it.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Word {
    #[prost(bytes = "bytes", tag = "1")]
    Stdout(Bytes),
    #[prost(bytes = "bytes", tag = "2")]
    Stderr(Bytes),
    #[prost(string, tag = "3")]
    Note(String),
    /// Nothing of the attempt is left, and all its output has been handed over.
    #[prost(message, tag = "4")]
    End(End),
    /// It has been idle for long and ends. A start that was sent meanwhile is not carried out.
    #[prost(bool, tag = "5")]
    Retired(bool),
    /// To a daemon that has come for the attempt, before anything else.
    #[prost(message, tag = "6")]
    Serving(Serving),
}

/// An attempt that is under way, or whose end nobody has taken.
#[derive(Clone, PartialEq, Message)]
pub struct Serving {
    /// The latest.
    #[prost(bytes = "bytes", tag = "1")]
    pub ticket: Bytes,
    /// The number of the word that comes next.
    #[prost(uint64, tag = "2")]
    pub first: u64,
}

/// An [`Exit`].
#[derive(Clone, PartialEq, Message)]
pub struct End {
    #[prost(oneof = "Way", tags = "1, 2, 3, 4, 5")]
    way: Option<Way>,
    /// Microseconds.
    #[prost(uint64, tag = "6")]
    elapsed: u64,
    #[prost(uint64, tag = "7")]
    output_bytes: u64,
    #[prost(bool, tag = "8")]
    truncated: bool,
    /// Microseconds.
    #[prost(uint64, tag = "9")]
    cpu: u64,
    #[prost(bool, tag = "10")]
    out_of_memory: bool,
    #[prost(uint64, tag = "11")]
    survivors: u64,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Way {
    #[prost(sint32, tag = "1")]
    Exited(i32),
    #[prost(int32, tag = "2")]
    Signalled(i32),
    #[prost(bool, tag = "3")]
    TimedOut(bool),
    #[prost(bool, tag = "4")]
    Cancelled(bool),
    #[prost(message, tag = "5")]
    NotStarted(NotStarted),
}

#[derive(Clone, PartialEq, Message)]
struct NotStarted {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    error: String,
}

/// Takes the first whole message off the buffer; `None` while there is none.
///
/// # Errors
/// What came is no message: the other side is not what it should be.
pub fn decode<M: Message + Default>(buffer: &mut BytesMut) -> io::Result<Option<M>> {
    let Some((length, header)) = length(buffer)? else { return Ok(None) };
    if buffer.len() < header + length {
        buffer.reserve(header + length - buffer.len());
        return Ok(None);
    }
    buffer.advance(header);
    let message = buffer.split_to(length).freeze();
    M::decode(message).map(Some).map_err(invalid)
}

/// The bytes of the message that the buffer begins with and of the header before it; `None` while the header is not whole.
pub fn length(buffer: &[u8]) -> io::Result<Option<(usize, usize)>> {
    let mut rest = &buffer[..buffer.len().min(10)];
    let before = rest.len();
    match prost::decode_length_delimiter(&mut rest) {
        Ok(length) if length > LARGEST => Err(invalid(format!("a message of {length} bytes"))),
        Ok(length) => Ok(Some((length, before - rest.len()))),
        Err(_) if before < 10 => Ok(None),
        Err(error) => Err(invalid(error)),
    }
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

impl From<Ask> for Bytes {
    fn from(ask: Ask) -> Self {
        Request { ask: Some(ask) }.encode_length_delimited_to_vec().into()
    }
}

impl From<Word> for Bytes {
    fn from(word: Word) -> Self {
        Reply { word: Some(word) }.encode_length_delimited_to_vec().into()
    }
}

impl From<Command> for Start {
    fn from(command: Command) -> Self {
        Self {
            argv: command.argv,
            env: command.env.into_iter().collect(),
            cwd: command.cwd.map(|cwd| cwd.into_os_string().as_bytes().to_vec()),
            stdin: command.stdin,
            user: command.user.map(|user| user.to_string()),
            timeout: command.timeout.map(micros),
            output: command.limits.output,
            memory: command.limits.memory,
            kill_grace: micros(command.limits.kill_grace),
            ticket: Bytes::new(),
        }
    }
}

impl TryFrom<Start> for Command {
    type Error = CommandError;

    fn try_from(start: Start) -> Result<Self, CommandError> {
        let user = start.user.map(|user| user.parse()).transpose();
        Ok(Self {
            argv: start.argv,
            // Whom to trust was decided where the command was checked.
            env_trusted: start.env.keys().cloned().collect(),
            env: start.env.into_iter().collect(),
            cwd: start.cwd.map(|cwd| OsString::from_vec(cwd).into()),
            stdin: start.stdin,
            user: user.map_err(|error: crate::exec::AccountError| CommandError::Format(error.to_string()))?,
            timeout: start.timeout.map(Duration::from_micros),
            limits: Limits {
                output: start.output,
                memory: start.memory,
                kill_grace: Duration::from_micros(start.kill_grace),
            },
        })
    }
}

impl From<Piece> for Word {
    fn from(piece: Piece) -> Self {
        match piece {
            Piece::Stdout(data) => Self::Stdout(data),
            Piece::Stderr(data) => Self::Stderr(data),
            Piece::Note(text) => Self::Note(text),
        }
    }
}

impl From<Exit> for End {
    fn from(exit: Exit) -> Self {
        let way = match exit.ending {
            Ending::Exited(code) => Way::Exited(code),
            Ending::Signalled(signal) => Way::Signalled(signal),
            Ending::TimedOut => Way::TimedOut(true),
            Ending::Cancelled => Way::Cancelled(true),
            Ending::NotStarted { code, error } => Way::NotStarted(NotStarted { code, error }),
            Ending::Lost => unreachable!("a supervisor cannot tell its own death"),
        };
        Self {
            way: Some(way),
            elapsed: micros(exit.elapsed),
            output_bytes: exit.output_bytes,
            truncated: exit.truncated,
            cpu: micros(exit.cpu),
            out_of_memory: exit.out_of_memory,
            survivors: exit.survivors as u64,
        }
    }
}

impl From<End> for Exit {
    fn from(end: End) -> Self {
        let ending = match end.way {
            Some(Way::Exited(code)) => Ending::Exited(code),
            Some(Way::Signalled(signal)) => Ending::Signalled(signal),
            Some(Way::TimedOut(_)) => Ending::TimedOut,
            Some(Way::Cancelled(_)) => Ending::Cancelled,
            Some(Way::NotStarted(NotStarted { code, error })) => Ending::NotStarted { code, error },
            None => Ending::Lost,
        };
        Self {
            ending,
            elapsed: Duration::from_micros(end.elapsed),
            output_bytes: end.output_bytes,
            truncated: end.truncated,
            cpu: Duration::from_micros(end.cpu),
            out_of_memory: end.out_of_memory,
            survivors: end.survivors as usize,
        }
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_arrives_as_it_was() {
        let command = Command {
            argv: vec!["printf".into(), "".into(), "ä\n".into()],
            env: [("A".to_owned(), "b=c".to_owned())].into(),
            env_trusted: ["A".to_owned()].into(),
            cwd: Some("/tmp".into()),
            stdin: Bytes::from_static(b"a\0\xff"),
            user: Some("nobody:0".parse().unwrap()),
            timeout: Some(Duration::from_millis(1500)),
            limits: Limits { output: 7, memory: Some(9), kill_grace: Duration::from_secs(3) },
        };
        let mut buffer = BytesMut::from(&*Bytes::from(Ask::Start(command.clone().into())));
        let Some(Ask::Start(start)) = decode::<Request>(&mut buffer).unwrap().unwrap().ask else {
            panic!("it is a start")
        };
        assert_eq!(format!("{:?}", Command::try_from(start).unwrap()), format!("{command:?}"));
        assert!(buffer.is_empty());
    }

    #[test]
    fn messages_are_taken_whole_however_they_come() {
        let bytes: Vec<u8> = [Word::Note("x".repeat(300)), Word::Retired(true)]
            .into_iter()
            .flat_map(|word| Bytes::from(word).to_vec())
            .collect();
        let (mut buffer, mut words) = (BytesMut::new(), Vec::new());
        for byte in bytes {
            buffer.extend_from_slice(&[byte]);
            words.extend(decode::<Reply>(&mut buffer).unwrap().and_then(|reply| reply.word));
        }
        assert_eq!(words, [Word::Note("x".repeat(300)), Word::Retired(true)]);
    }

    #[test]
    fn what_is_no_message_is_an_error() {
        for bytes in [&[0xff; 11][..], &[0xff, 0xff, 0xff, 0xff, 0x7f], &[2, 0xff, 0xff]] {
            assert!(decode::<Reply>(&mut BytesMut::from(bytes)).is_err(), "{bytes:?}");
        }
    }
}
