use std::fs;

use marabunta_proto::v1::{MessageKind, Outcome, ReportResponse};

use super::*;
use crate::worker::{
    attempts::Verdict,
    spool::{Batch, Judged},
};

const MIB: u64 = 1 << 20;

fn open(directory: &Path) -> (Ledger, Vec<Restored>) {
    let (ledger, restored, _) = Ledger::open(Some(directory), 16 * MIB).unwrap();
    (ledger, restored)
}

fn lease(name: &str) -> Lease {
    Lease(Bytes::copy_from_slice(name.as_bytes()))
}

fn opened(key: u64) -> Entry {
    Entry::Open { key: Key(key), run: format!("run-{key}"), lease: lease(&format!("lease-{key}")) }
}

fn said(key: u64, data: impl Into<Bytes>) -> Entry {
    let message = Message { kind: MessageKind::Stdout.into(), data: data.into(), time: None };
    Entry::Message { key: Key(key), number: None, message }
}

/// The word with this number of an attempt that counts.
fn counted(key: u64, number: u64, data: &'static str) -> Entry {
    match said(key, data) {
        Entry::Message { key, message, .. } => Entry::Message { key, number: Some(number), message },
        other => other,
    }
}

fn followed(ledger: &mut Ledger, key: u64) -> watch::Receiver<u64> {
    let (taken, told) = watch::channel(0);
    ledger.write(vec![Entry::Follow { key: Key(key), taken }]);
    told
}

/// Reports all of one attempt: its words, and its end if there is one.
fn told(ledger: &mut Ledger) -> (Vec<(u64, String)>, Option<AttemptEnd>) {
    let (mut words, mut end) = (Vec::new(), None);
    while let Some(batch) = next(ledger) {
        for batch in &batch.request.messages {
            let text = |message: &Message| String::from_utf8_lossy(&message.data).into_owned();
            words.extend((batch.first..).zip(batch.messages.iter().map(text)));
        }
        end = end.or(batch.request.ends.first().cloned());
        let response = all(&batch, Verdict::Recorded);
        ledger.settle(batch, &response, Instant::now());
    }
    (words, end)
}

fn ended(key: u64) -> Entry {
    let end = AttemptEnd { outcome: Outcome::Succeeded.into(), exit_code: Some(0), ..AttemptEnd::default() };
    Entry::End { key: Key(key), end: Box::new(end) }
}

fn next(ledger: &mut Ledger) -> Option<Batch> {
    ledger.batch(Instant::now(), MIB as usize)
}

/// The same verdict on everything.
fn all(batch: &Batch, verdict: Verdict) -> ReportResponse {
    let wire = match verdict {
        Verdict::Recorded => 1,
        Verdict::Stale => 2,
        Verdict::Invalid => 3,
        Verdict::Retry => 4,
    };
    ReportResponse {
        messages: vec![wire; batch.request.messages.len()],
        ends: vec![wire; batch.request.ends.len()],
    }
}

fn settle(ledger: &mut Ledger, verdict: Verdict) -> Vec<Judged> {
    let batch = next(ledger).unwrap();
    let response = all(&batch, verdict);
    ledger.settle(batch, &response, Instant::now())
}

fn judged(key: u64, lease: &str, verdict: Verdict) -> Judged {
    Judged { key: Key(key), lease: self::lease(lease), verdict }
}

#[tokio::test(start_paused = true)]
async fn messages_are_numbered_over_the_attempt_and_come_before_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(directory.path());
    ledger.write(vec![opened(1), said(1, "a"), said(1, "b")]);
    let first = next(&mut ledger).unwrap();
    assert_eq!((first.request.messages[0].first, first.request.messages[0].messages.len()), (0, 2));
    ledger.write(vec![said(1, "c"), ended(1)]);
    let response = all(&first, Verdict::Recorded);
    assert_eq!(ledger.settle(first, &response, Instant::now()), []);
    let second = next(&mut ledger).unwrap();
    assert_eq!((second.request.messages[0].first, second.request.messages[0].messages.len()), (2, 1));
    assert_eq!(second.request.ends[0].lease, "lease-1");
    let response = all(&second, Verdict::Recorded);
    assert_eq!(ledger.settle(second, &response, Instant::now()), [judged(1, "lease-1", Verdict::Recorded)]);
    assert!(ledger.is_empty() && next(&mut ledger).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_verdict_is_found_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(directory.path());
    ledger.write(vec![opened(1), said(1, "a"), ended(1), opened(2), ended(2), opened(3), said(3, "half")]);
    settle_only(&mut ledger, 2);
    ledger.write(vec![Entry::Relet { key: Key(1), lease: lease("newer") }]);
    drop(ledger);

    let (mut ledger, restored, next_key) = Ledger::open(Some(directory.path()), MIB).unwrap();
    assert_eq!(restored, [Restored { key: Key(1), run: "run-1".into(), lease: lease("newer") }]);
    assert_eq!(next_key, Key(4));
    let batch = next(&mut ledger).unwrap();
    let words: Vec<_> =
        batch.request.messages.iter().map(|batch| (&batch.lease[..], &batch.messages[0].data[..])).collect();
    assert_eq!(
        words,
        [(&b"newer"[..], &b"a"[..]), (b"lease-3", b"half")],
        "the dead one's words are told too"
    );
    assert_eq!(batch.request.ends.len(), 1);
    let response = all(&batch, Verdict::Recorded);
    assert_eq!(ledger.settle(batch, &response, Instant::now()), [judged(1, "newer", Verdict::Recorded)]);
    drop(ledger);
    let (ledger, restored) = open(directory.path());
    assert!(ledger.is_empty() && restored.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_outlived_the_daemon_is_told_once_and_under_its_numbers() {
    // How many words the dead daemon had written, and how many of them it had said to be taken.
    for (written, first) in [(0, 0), (3, 0), (3, 2), (3, 3)] {
        let directory = tempfile::tempdir().unwrap();
        let (mut ledger, _) = open(directory.path());
        let words = ["a", "b", "c", "d", "e"];
        let entry = |number: u64| counted(1, number, words[number as usize]);
        ledger.write([opened(1)].into_iter().chain((0..written).map(entry)).collect());
        drop(ledger);

        let (mut ledger, restored) = open(directory.path());
        assert_eq!(restored, []);
        assert!(ledger.adopt(Key(1), "run-1".into(), lease("newer"), first));
        let taken = followed(&mut ledger, 1);
        assert_eq!(*taken.borrow(), written.max(first));
        ledger.write((first..5).map(entry).chain([ended(1)]).collect());
        assert_eq!(*taken.borrow(), 6);
        let (told, end) = told(&mut ledger);
        let expected: Vec<_> = (0..).zip(words.map(str::to_owned)).collect();
        let end = end.unwrap();
        assert_eq!((told, end.lease), (expected, "newer".into()), "{written} {first}");
        assert_eq!(*taken.borrow(), u64::MAX);
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_numbers_is_told_as_truncated() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(directory.path());
    ledger.write(vec![opened(1), counted(1, 0, "a"), counted(1, 2, "c"), counted(1, 3, "d"), ended(1)]);
    let (words, end) = told(&mut ledger);
    assert_eq!(words, [(0, "a".into()), (2, "c".into()), (3, "d".into())]);
    assert!(end.unwrap().truncated);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_here_is_not_taken_again_from_what_outlived_the_daemon() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(directory.path());
    ledger.write(vec![opened(1), ended(1)]);
    drop(ledger);
    let (mut ledger, restored) = open(directory.path());
    assert_eq!(restored.len(), 1);
    assert!(!ledger.adopt(Key(1), "run-1".into(), lease("lease-1"), 0));
}

#[tokio::test(start_paused = true)]
async fn what_only_memory_has_is_not_said_to_be_taken_before_the_server_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    let (mut ledger, _) = open(&spool);
    ledger.write(vec![opened(1)]);
    let taken = followed(&mut ledger, 1);
    fs::remove_dir_all(&spool).unwrap();
    ledger.write(vec![counted(1, 0, "a"), counted(1, 1, "b"), ended(1)]);
    assert_eq!(*taken.borrow(), 0);
    told(&mut ledger);
    assert_eq!(*taken.borrow(), u64::MAX);
    assert_eq!(*followed(&mut ledger, 2).borrow(), u64::MAX, "nobody wants what is not known");
}

/// Records everything of one attempt; the others are asked for later.
fn settle_only(ledger: &mut Ledger, key: u64) {
    let batch = next(ledger).unwrap();
    let verdict = |lease: &Bytes| if *lease == format!("lease-{key}") { 1 } else { 4 };
    let response = ReportResponse {
        messages: batch.request.messages.iter().map(|batch| verdict(&batch.lease)).collect(),
        ends: batch.request.ends.iter().map(|end| verdict(&end.lease)).collect(),
    };
    ledger.settle(batch, &response, Instant::now());
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_later_does_not_keep_the_others_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(directory.path());
    ledger.write(vec![opened(1), ended(1), opened(2), ended(2)]);
    // The first time it may be asked at once; the second time not before a while.
    settle_only(&mut ledger, 2);
    for _ in 0..20 {
        settle(&mut ledger, Verdict::Retry);
        if next(&mut ledger).is_none() {
            break;
        }
    }
    ledger.write(vec![opened(3), ended(3)]);
    assert_eq!(next(&mut ledger).unwrap().request.ends[0].lease, "lease-3");
    let due = ledger.next_due().unwrap();
    assert!(due > Instant::now());
    let later = ledger.batch(due, MIB as usize).unwrap();
    assert_eq!(later.request.ends.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stale_attempt_waits_for_the_daemon_to_decide() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(directory.path());
    ledger.write(vec![opened(1), said(1, "a"), ended(1), opened(2), ended(2)]);
    let stale = [judged(1, "lease-1", Verdict::Stale), judged(2, "lease-2", Verdict::Stale)];
    let mut told = settle(&mut ledger, Verdict::Stale);
    told.sort_by_key(|judged| judged.key);
    assert_eq!(told, stale);
    assert!(next(&mut ledger).is_none(), "nothing more is said with a stale lease");
    ledger.write(vec![Entry::Relet { key: Key(1), lease: lease("newer") }, Entry::Forget { key: Key(2) }]);
    let again = next(&mut ledger).unwrap();
    assert_eq!((&again.request.ends[0].lease[..], again.request.ends.len()), (&b"newer"[..], 1));
}

#[tokio::test(start_paused = true)]
async fn a_verdict_on_a_lease_that_was_replaced_meanwhile_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(directory.path());
    ledger.write(vec![opened(1), said(1, "a")]);
    let batch = next(&mut ledger).unwrap();
    ledger.write(vec![Entry::Relet { key: Key(1), lease: lease("newer") }]);
    let response = all(&batch, Verdict::Stale);
    assert_eq!(ledger.settle(batch, &response, Instant::now()), []);
    assert_eq!(next(&mut ledger).unwrap().request.messages[0].lease, "newer");
}

#[tokio::test(start_paused = true)]
async fn a_full_spool_keeps_ends_and_says_which_output_is_missing() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _, _) = Ledger::open(Some(directory.path()), MIB).unwrap();
    ledger.write(vec![opened(1)]);
    assert_eq!(ledger.trouble(), None);
    let piece = Bytes::from(vec![b'x'; 60 << 10]);
    for _ in 0..400 {
        ledger.write(vec![said(1, piece.clone())]);
    }
    assert!(ledger.log.bytes() <= MIB && ledger.memory <= MEMORY, "disk and memory are bounded");
    ledger.write(vec![ended(1)]);
    let (mut pieces, mut end) = (0, None);
    while let Some(batch) = next(&mut ledger) {
        pieces += batch.request.messages.iter().map(|batch| batch.messages.len()).sum::<usize>();
        end = batch.request.ends.first().cloned().or(end);
        let response = all(&batch, Verdict::Recorded);
        ledger.settle(batch, &response, Instant::now());
    }
    assert!((100..400).contains(&pieces), "{pieces}");
    assert!(end.unwrap().truncated);
    assert_eq!((ledger.memory, ledger.records), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_takes_nothing_stops_new_work_and_loses_no_result() {
    let directory = tempfile::tempdir().unwrap();
    let spool = directory.path().join("spool");
    let (mut ledger, _) = open(&spool);
    fs::remove_dir_all(&spool).unwrap();
    ledger.write(vec![opened(1), said(1, "a"), ended(1)]);
    assert!(ledger.trouble().unwrap().contains("No such file"), "{:?}", ledger.trouble());
    ledger.probe();
    assert!(ledger.trouble().is_some());
    fs::create_dir(&spool).unwrap();
    ledger.probe();
    assert_eq!(ledger.trouble(), None);
    let batch = next(&mut ledger).unwrap();
    assert_eq!((batch.request.messages.len(), batch.request.ends.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_that_prints_much_does_not_keep_the_end_of_another_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(directory.path());
    ledger.write(vec![opened(1), opened(2)]);
    for _ in 0..100 {
        ledger.write(vec![said(1, vec![0; 60 << 10])]);
    }
    ledger.write(vec![ended(2)]);
    let batch = next(&mut ledger).unwrap();
    assert_eq!(batch.request.ends[0].lease, "lease-2");
}

#[test]
fn records_with_numbers_that_no_worker_wrote_are_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let (mut ledger, _) = open(directory.path());
    let end = || Some(Body::End(End { run: "r".to_owned(), end: Some(AttemptEnd::default()) }));
    let message = Message { kind: MessageKind::Stdout.into(), data: "x".into(), time: None };
    let messages = MessageBatch { first: u64::MAX, messages: vec![message], ..MessageBatch::default() };
    for (key, body) in [(u64::MAX, end()), (1, Some(Body::Messages(messages))), (2, end())] {
        let record = Record { key, lease: "l".into(), body };
        ledger.log.append(&record.encode_to_vec()).unwrap();
    }
    drop(ledger);
    let (_, restored, next) = Ledger::open(Some(directory.path()), 16 * MIB).unwrap();
    assert_eq!((restored.len(), restored[0].key, next), (1, Key(2), Key(3)));
}
