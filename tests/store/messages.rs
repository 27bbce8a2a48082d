//! What attempts say.

use bytes::Bytes;
use chrono::DateTime;
use marabunta_server::run::{Fence, Run};
use marabunta_server::store::{Message, MessageBatch, MessageKind, StoredMessage};

use crate::fixture::Fixture;

fn batch(run: &Run, fence: u64, first: u64, texts: &[&[u8]]) -> MessageBatch {
    let message = |data: &&[u8]| Message {
        kind: MessageKind::Stderr,
        data: Bytes::copy_from_slice(data),
        time: DateTime::from_timestamp(1_772_850_600, 7_000).unwrap(),
    };
    MessageBatch { run: run.id, fence: Fence(fence), first, messages: texts.iter().map(message).collect() }
}

fn places(messages: &[StoredMessage]) -> Vec<(u64, u64, &[u8])> {
    messages.iter().map(|stored| (stored.fence.0, stored.number, &stored.message.data[..])).collect()
}

pub async fn messages_are_kept_once_and_in_order(f: &Fixture) {
    let (run, other) = (f.run().await, f.run().await);
    f.store.append(vec![batch(&run, 9, 0, &[b"c"]), batch(&run, 5, 0, &[b"a", b"b"])]).await.unwrap();
    // Sent again, with more and with other bytes, twice in one batch.
    let again = batch(&run, 5, 1, &[b"x", b"d"]);
    f.store.append(vec![again.clone(), again, batch(&other, 5, 0, &[b"o"])]).await.unwrap();
    f.store.append(vec![]).await.unwrap();
    let messages = f.store.messages(run.id, None, 10).await.unwrap();
    assert_eq!(places(&messages), [(5, 0, &b"a"[..]), (5, 1, b"b"), (5, 2, b"d"), (9, 0, b"c")]);
    assert_eq!(messages[0].message, batch(&run, 5, 0, &[b"a"]).messages[0]);
}

pub async fn a_reader_goes_on_where_it_stopped(f: &Fixture) {
    let run = f.run().await;
    let texts: Vec<Vec<u8>> = (0..100).map(|n| vec![n; 50_000]).collect();
    let texts: Vec<&[u8]> = texts.iter().map(Vec::as_slice).collect();
    f.store.append(vec![batch(&run, 5, 0, &texts), batch(&run, 6, 0, &texts)]).await.unwrap();
    let (mut after, mut seen) = (None, vec![]);
    loop {
        let messages = f.store.messages(run.id, after, 30).await.unwrap();
        let Some(last) = messages.last() else { break };
        after = Some((last.fence, last.number));
        seen.extend(messages.iter().map(|stored| (stored.fence.0, stored.number, stored.message.data[0])));
    }
    let expected: Vec<_> =
        [5, 6].into_iter().flat_map(|fence| (0..100).map(move |n| (fence, n, n as u8))).collect();
    assert_eq!(seen, expected);
}

pub async fn bytes_stay_as_they_are(f: &Fixture) {
    let run = f.run().await;
    let odd: [&[u8]; 4] = [b"", b"\0\0", b"\xff\xfe'\"\\", b"\x1b[31m"];
    f.store.append(vec![batch(&run, 5, 0, &odd)]).await.unwrap();
    let messages = f.store.messages(run.id, None, 10).await.unwrap();
    assert_eq!(messages.iter().map(|stored| &stored.message.data[..]).collect::<Vec<_>>(), odd);
}
