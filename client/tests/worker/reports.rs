//! Reports: told until there is a verdict, whatever happens to the stream, the server, or the worker.

use std::collections::HashMap;

use marabunta::worker::{Context, Failure, Stream, function};
use marabunta_proto::v1::{
    Abandon, Cancel, MessageKind, Outcome, Verdict, assignment::Payload, server_message::Message as Say,
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tonic::Status;

use crate::fake::{Running, Server, assignment, released, worker};

async fn echo(context: Context, words: Vec<String>) -> Result<Option<Value>, Failure> {
    for word in &words {
        context.output(Stream::Stdout, word.clone()).await;
    }
    context.progress(100, "said").await;
    Ok(Some(json!(words.len())))
}

async fn wait(context: Context, _: Value) -> Result<Option<Value>, Failure> {
    context.note("waiting").await;
    context.cancelled().await;
    Err(Failure::failed("cancelled"))
}

#[tokio::test]
async fn output_comes_in_order_before_the_end() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()).handler("echo", function(echo)));
    let stream = server.session().await;
    stream.assign(vec![assignment("a/1", "echo", r#"["x", "y", "z"]"#)]).await;
    let (mut said, mut next) = (Vec::new(), 0);
    let end = loop {
        let request = server.record().await;
        for batch in request.messages {
            assert_eq!(batch.first, next);
            next += batch.messages.len() as u64;
            said.extend(batch.messages.into_iter().map(|message| (message.kind(), message.data)));
        }
        if let Some(end) = request.ends.into_iter().next() {
            break end;
        }
    };
    let stdout = |text: &'static str| (MessageKind::Stdout, text.into());
    assert_eq!(said, [stdout("x"), stdout("y"), stdout("z"), (MessageKind::Progress, "100 said".into())]);
    assert_eq!((end.outcome(), end.result, end.output_bytes), (Outcome::Succeeded, "3".into(), 3));
    running.kill().await;
}

#[tokio::test]
async fn a_report_whose_answer_was_lost_is_made_again() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()).handler("echo", function(echo)));
    let mut stream = server.session().await;
    stream.assign(vec![assignment("a/1", "echo", "[]")]).await;
    let mut lost = 0;
    loop {
        let report = server.report().await;
        if report.request.ends.is_empty() {
            report.judge(Verdict::Recorded);
        } else if lost < 2 {
            lost += 1;
            report.answer(Err(Status::unavailable("the answer was lost")));
        } else {
            assert_eq!(report.request.ends[0].lease, "a/1");
            report.judge(Verdict::Recorded);
            break;
        }
    }
    stream.credit(3).await;
    running.kill().await;
}

#[tokio::test]
async fn an_item_that_the_server_refuses_to_read_does_not_block_the_others() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()).handler("wait", function(wait)));
    let stream = server.session().await;
    stream.assign(vec![assignment("bad/1", "wait", "null"), assignment("good/1", "wait", "null")]).await;
    stream.say(Say::Cancel(Cancel { leases: vec!["bad/1".into(), "good/1".into()] })).await;
    loop {
        let report = server.report().await;
        let leases = |name: &str| {
            report.request.ends.iter().any(|end| end.lease == name)
                || report.request.messages.iter().any(|batch| batch.lease == name)
        };
        if leases("bad/1") {
            report.answer(Err(Status::invalid_argument("cannot be read")));
        } else if report.request.ends.iter().any(|end| end.lease == "good/1") {
            report.judge(Verdict::Recorded);
            break;
        } else {
            report.judge(Verdict::Recorded);
        }
    }
    running.kill().await;
}

#[tokio::test]
async fn what_had_ended_before_a_crash_is_held_and_reported_by_the_next_daemon() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let builder =
        || worker(&server, spool.path()).handler("echo", function(echo)).handler("wait", function(wait));
    let (first, second) = (builder(), builder());
    let running = Running::start(first);
    let stream = server.session().await;
    let instance = stream.hello.instance.clone();
    stream.assign(vec![assignment("ended/1", "echo", "[]"), assignment("runs/1", "wait", "null")]).await;
    while server.report().await.request.ends.is_empty() {}
    running.kill().await;
    released(spool.path()).await;
    let running = Running::start(second);
    let stream = server.stream().await;
    assert_eq!(stream.holding(), ["ended/1"], "what ran died with the daemon");
    assert_ne!(stream.hello.instance, instance);
    let end = server.record_end().await;
    assert_eq!((end.lease, end.result), ("ended/1".into(), "0".into()), "reported before there is a Welcome");
    running.kill().await;
}

#[tokio::test]
async fn cancel_is_reported_and_abandon_is_not() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()).handler("wait", function(wait)));
    let mut stream = server.session().await;
    stream.assign(vec![assignment("a/1", "wait", "null"), assignment("b/1", "wait", "null")]).await;
    stream.accepted(2).await;
    stream.say(Say::Abandon(Abandon { leases: vec!["a/1".into()] })).await;
    stream.credit(3).await;
    stream.say(Say::Cancel(Cancel { leases: vec!["b/1".into(), "unknown".into()] })).await;
    let end = server.record_end().await;
    assert_eq!(
        (end.lease.as_ref(), end.outcome(), end.exit_code),
        (&b"b/1"[..], Outcome::Cancelled, Some(130))
    );
    stream.credit(4).await;
    running.kill().await;
}

#[tokio::test]
async fn a_stale_verdict_on_output_kills_the_attempt() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()).handler("wait", function(wait)));
    let mut stream = server.session().await;
    stream.assign(vec![assignment("a/1", "wait", "null")]).await;
    let report = server.report().await;
    assert_eq!(report.request.messages[0].lease, "a/1");
    report.judge(Verdict::Stale);
    stream.credit(3).await;
    assert!(server.is_quiet());
    running.kill().await;
}

#[tokio::test]
async fn a_lease_is_let_go_whatever_the_verdict_on_its_end() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()).handler("echo", function(echo)));
    let mut stream = server.session().await;
    for (name, verdict) in [("a/1", Verdict::Recorded), ("b/1", Verdict::Stale), ("c/1", Verdict::Invalid)] {
        stream.assign(vec![assignment(name, "echo", "[]")]).await;
        loop {
            let report = server.report().await;
            if report.request.ends.is_empty() {
                report.judge(Verdict::Recorded);
            } else {
                report.judge(verdict);
                break;
            }
        }
        stream.let_go(name).await;
    }
    running.kill().await;
}

#[tokio::test]
async fn what_cannot_be_run_is_rejected_in_plain_words() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let panics = |_: Context, _: Value| async { panic!("of fear") };
    let builder =
        worker(&server, spool.path()).handler("echo", function(echo)).handler("panics", function(panics));
    let running = Running::start(builder);
    let stream = server.session().await;
    let table = [
        ("a/1", "nobody", "null", Outcome::Rejected, Some(127), "this worker has no handler `nobody`"),
        ("b/1", "exec", r#"{"argv":["true"]}"#, Outcome::Rejected, Some(126), "does not allow free commands"),
        ("c/1", "echo", "17", Outcome::Rejected, Some(126), "the payload does not fit the handler"),
        ("d/1", "panics", "null", Outcome::Failed, Some(1), "the handler panicked: of fear"),
    ];
    for (name, handler, payload, outcome, code, error) in table {
        stream.assign(vec![assignment(name, handler, payload)]).await;
        let end = server.record_end().await;
        assert_eq!((end.outcome(), end.exit_code), (outcome, code), "{name}: {}", end.error);
        assert!(end.error.contains(error), "{name}: {}", end.error);
    }
    running.kill().await;
}

#[tokio::test]
async fn an_attempt_that_takes_too_long_ends_as_timed_out() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()).handler("wait", function(wait)));
    let stream = server.session().await;
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 50_000_000 });
    stream
        .assign(vec![marabunta_proto::v1::Assignment { timeout, ..assignment("a/1", "wait", "null") }])
        .await;
    let end = server.record_end().await;
    assert_eq!(
        (end.outcome(), end.exit_code, end.error.as_str()),
        (Outcome::TimedOut, Some(124), "took longer than 50ms")
    );
    running.kill().await;
}

#[tokio::test]
async fn a_payload_by_hash_is_fetched_and_checked() {
    let spool = tempfile::tempdir().unwrap();
    let hash = |data: &str| Sha256::digest(data).to_vec();
    let right = r#"["from", "afar"]"#;
    let payloads = HashMap::from([(hash(right), right.into()), (hash("other"), "forged".into())]);
    let mut server = Server::with_payloads(payloads).await;
    let running = Running::start(worker(&server, spool.path()).handler("echo", function(echo)));
    let stream = server.session().await;
    let table = [
        ("a/1", hash(right), Outcome::Succeeded, ""),
        ("b/1", hash("other"), Outcome::Failed, "does not have the hash"),
        ("c/1", hash("unknown"), Outcome::Rejected, "no longer has the payload"),
    ];
    for (name, hash, outcome, error) in table {
        let payload = Some(Payload::Hash(hash.into()));
        stream
            .assign(vec![marabunta_proto::v1::Assignment { payload, ..assignment(name, "echo", "") }])
            .await;
        let end = server.record_end().await;
        assert_eq!(end.outcome(), outcome, "{name}: {}", end.error);
        assert!(end.error.contains(error), "{name}: {}", end.error);
    }
    running.kill().await;
}
