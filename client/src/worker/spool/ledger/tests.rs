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
    Entry::Message { key: Key(key), message }
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
