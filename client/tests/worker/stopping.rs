//! The end of a worker.

use std::time::Duration;

use marabunta::worker::{Context, Failure, Shutdown, function};
use marabunta_proto::v1::{Outcome, Verdict};
use serde_json::Value;

use crate::fake::{Running, Server, assignment, worker};

async fn wait(context: Context, _: Value) -> Result<Option<Value>, Failure> {
    context.note("waiting").await;
    context.cancelled().await;
    Err(Failure::failed("cancelled"))
}

#[tokio::test]
async fn a_draining_worker_lets_what_runs_end_and_reports_it() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let (end, ended) = tokio::sync::watch::channel(false);
    let handler = move |_: Context, _: Value| {
        let mut ended = ended.clone();
        async move {
            ended.wait_for(|ended| *ended).await?;
            Ok(None)
        }
    };
    let running = Running::start(worker(&server, spool.path()).prefetch(1).handler("h", function(handler)));
    let mut stream = server.session().await;
    stream.assign(["a/1", "b/1", "waits/1"].map(|name| assignment(name, "h", "null")).into()).await;
    stream.accepted(3).await;
    running.ask(Shutdown::Drain);
    let unstarted = server.record_end().await;
    assert_eq!((unstarted.lease.as_ref(), unstarted.outcome()), (&b"waits/1"[..], Outcome::Lost));
    stream.assign(vec![assignment("late/1", "h", "null")]).await;
    end.send_replace(true);
    let mut ends = Vec::new();
    while ends.len() < 2 {
        ends.extend(server.record().await.ends.into_iter().map(|end| (end.lease.clone(), end.outcome())));
    }
    ends.sort();
    assert_eq!(ends, [("a/1".into(), Outcome::Succeeded), ("b/1".into(), Outcome::Succeeded)]);
    running.ended().await.unwrap();
    stream.closed().await;
}

#[tokio::test]
async fn what_does_not_end_in_time_is_reported_as_lost() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let builder = worker(&server, spool.path()).handler("wait", function(wait));
    let running = Running::start(builder.drain_timeout(Duration::from_millis(20)));
    let mut stream = server.session().await;
    stream.assign(vec![assignment("a/1", "wait", "null")]).await;
    stream.accepted(1).await;
    running.ask(Shutdown::Drain);
    let end = server.record_end().await;
    assert_eq!(
        (end.outcome(), end.error.as_str()),
        (Outcome::Lost, "the worker was stopped before it ended")
    );
    running.ended().await.unwrap();
}

#[tokio::test]
async fn a_second_request_does_not_wait() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let builder = worker(&server, spool.path()).handler("wait", function(wait));
    let running = Running::start(builder.drain_timeout(Duration::from_secs(3_600)));
    let mut stream = server.session().await;
    stream.assign(vec![assignment("a/1", "wait", "null")]).await;
    stream.accepted(1).await;
    running.ask(Shutdown::Drain);
    running.ask(Shutdown::Kill);
    assert_eq!(server.record_end().await.outcome(), Outcome::Lost);
    running.ended().await.unwrap();
}

#[tokio::test]
async fn the_last_reports_are_made_again_until_they_are_recorded() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()).handler("wait", function(wait)));
    let mut stream = server.session().await;
    stream.assign(vec![assignment("a/1", "wait", "null")]).await;
    stream.accepted(1).await;
    running.ask(Shutdown::Kill);
    server.report().await.judge(Verdict::Retry);
    while server.record().await.ends.is_empty() {}
    running.ended().await.unwrap();
    assert_eq!(std::fs::read_dir(spool.path()).unwrap().count(), 2, "the lock and a log");
}

#[tokio::test]
async fn a_worker_without_a_server_stops_all_the_same() {
    let (server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()));
    server.kill().await;
    running.ask(Shutdown::Drain);
    running.ended().await.unwrap();
}
