//! Streams: the handshake, credit, coming back, and who holds what meanwhile.

use std::time::Duration;

use marabunta::{
    connect::{self, Dialer},
    worker::{RunError, Shutdown, Worker, function},
};
use marabunta_proto::v1::{
    Reconnect, Superseded, Verdict, server_message::Message as Say, worker_message::Message as Heard,
};
use serde_json::Value;
use tokio::{net::TcpStream, sync::mpsc};
use tonic::transport::Uri;

use crate::fake::{CALM, Running, Server, assignment, patiently, worker};

/// A handler whose calls tell when they started, and end as they are told to.
struct Held {
    started: mpsc::Receiver<(String, mpsc::Sender<()>)>,
}

impl Held {
    fn new() -> (Self, impl marabunta::worker::Handler) {
        let (tell, started) = mpsc::channel(16);
        let handler = function(move |context: marabunta::worker::Context, _: Value| {
            let tell = tell.clone();
            async move {
                let (end, mut told) = mpsc::channel(1);
                tell.send((context.run.to_string(), end)).await?;
                tokio::select! {
                    _ = told.recv() => {}
                    () = context.cancelled() => return Err(marabunta::worker::Failure::failed("cancelled")),
                }
                Ok(Some(Value::from("done")))
            }
        });
        (Self { started }, handler)
    }

    /// The next call: its run, and the sender that ends it, by use or by drop.
    async fn next(&mut self) -> (String, mpsc::Sender<()>) {
        patiently(self.started.recv()).await.unwrap()
    }
}

#[tokio::test]
async fn hello_says_who_the_worker_is_and_what_it_can_do() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let builder = worker(&server, spool.path()).label("role", "web").prefetch(3).handler("h", Held::new().1);
    let running = Running::start(builder.allow_exec(true));
    let stream = server.stream().await;
    let hello = &stream.hello;
    assert_eq!(
        (hello.protocols.as_slice(), hello.name.as_str(), hello.slots, hello.credit),
        (&[1][..], "w", 2, 5)
    );
    assert_eq!(hello.handlers, ["exec", "h"]);
    assert_eq!(hello.labels["role"], "web");
    assert_eq!((hello.instance.len(), hello.boot_id.len(), hello.holding.len()), (36, 36, 0));
    running.kill().await;
}

#[tokio::test]
async fn credit_bounds_what_is_taken_and_grows_as_attempts_end() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let (mut held, handler) = Held::new();
    let running = Running::start(worker(&server, spool.path()).handler("h", handler));
    let mut stream = server.session().await;
    assert_eq!(stream.hello.credit, 2);
    stream.assign(["a/1", "b/1", "over/1"].map(|name| assignment(name, "h", "null")).into()).await;
    assert_eq!(stream.accepted(2).await, ["a/1", "b/1"], "the third was not paid for");
    let (run, end) = held.next().await;
    drop(end);
    stream.credit(3).await;
    let recorded = server.record_end().await;
    assert_eq!((recorded.lease, recorded.result), (format!("{run}/1").into(), "\"done\"".into()));
    running.kill().await;
}

#[tokio::test]
async fn a_lost_server_costs_nothing_that_runs_or_has_ended() {
    let spool = tempfile::tempdir().unwrap();
    let (mut first, mut second) = (Server::start().await, Server::start().await);
    let (mut held, handler) = Held::new();
    let running = Running::start(worker(&first, spool.path()).server(second.config()).handler("h", handler));
    let mut stream = first.session().await;
    stream.assign(vec![assignment("a/1", "h", "null"), assignment("b/1", "h", "null")]).await;
    stream.accepted(2).await;
    let (run, end) = held.next().await;
    let (other, keep) = held.next().await;
    drop(stream);
    first.kill().await;
    drop(end);
    let stream = second.stream().await;
    let mut holding = stream.holding();
    holding.sort();
    assert_eq!(holding, ["a/1", "b/1"]);
    stream.welcome(CALM).await;
    assert_eq!(second.record_end().await.lease, format!("{run}/1"));
    drop(keep);
    assert_eq!(second.record_end().await.lease, format!("{other}/1"));
    running.kill().await;
}

#[tokio::test]
async fn a_run_that_runs_already_is_adopted_under_its_new_lease() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let (mut held, handler) = Held::new();
    let running = Running::start(worker(&server, spool.path()).handler("h", handler));
    let mut stream = server.session().await;
    stream.assign(vec![assignment("a/1", "h", "null")]).await;
    let (_, end) = held.next().await;
    stream.assign(vec![assignment("a/2", "h", "null")]).await;
    assert_eq!(stream.accepted(2).await, ["a/1", "a/2"]);
    drop(end);
    assert_eq!(server.record_end().await.lease, "a/2");
    assert!(held.started.try_recv().is_err(), "it was started once");
    running.kill().await;
}

#[tokio::test]
async fn an_end_with_a_stale_lease_is_told_again_with_the_new_one() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let (mut held, handler) = Held::new();
    let running = Running::start(worker(&server, spool.path()).handler("h", handler));
    let mut stream = server.session().await;
    stream.assign(vec![assignment("a/1", "h", "null")]).await;
    drop(held.next().await.1);
    let report = server.report().await;
    assert_eq!(report.request.ends[0].lease, "a/1");
    stream.assign(vec![assignment("a/2", "h", "null")]).await;
    assert_eq!(stream.accepted(2).await, ["a/1", "a/2"]);
    report.judge(Verdict::Stale);
    assert_eq!(server.record_end().await.lease, "a/2");
    assert!(held.started.try_recv().is_err(), "it was started once");
    running.kill().await;
}

#[tokio::test]
async fn a_silent_server_is_given_up_after_three_heartbeats() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()));
    let mut stream = server.stream().await;
    stream.welcome(Duration::from_millis(50)).await;
    let Some(Heard::Heartbeat(heartbeat)) = stream.next().await else { panic!("a heartbeat is due") };
    assert_eq!(heartbeat.sequence, 1);
    stream.closed().await;
    server.session().await;
    running.kill().await;
}

#[tokio::test]
async fn another_server_is_asked_before_one_that_fell_silent() {
    let (mut silent, mut other) = (Server::start().await, Server::start().await);
    let spool = tempfile::tempdir().unwrap();
    let running = Running::start(worker(&silent, spool.path()).server(other.config()));
    let stream = silent.stream().await;
    stream.welcome(Duration::from_millis(50)).await;
    stream.closed().await;
    tokio::select! {
        _ = other.session() => {}
        _ = silent.stream() => panic!("the silent one was asked again"),
    }
    running.kill().await;
}

#[tokio::test]
async fn a_new_session_is_opened_before_the_old_one_is_dropped() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let (mut held, handler) = Held::new();
    let running = Running::start(worker(&server, spool.path()).handler("h", handler));
    let mut old = server.session().await;
    old.assign(vec![assignment("a/1", "h", "null")]).await;
    old.accepted(1).await;
    let (_, end) = held.next().await;
    old.say(Say::Reconnect(Reconnect { reason: "age".into() })).await;
    let mut new = server.stream().await;
    assert_eq!((new.holding(), new.hello.credit), (vec!["a/1".to_owned()], 1));
    // Hello has named what is held: what still comes on the old stream is not taken.
    old.assign(vec![assignment("late/1", "h", "null")]).await;
    // Our own newer session took over; that is no reason to stop.
    old.say(Say::Superseded(Superseded { server: "fake".into() })).await;
    new.welcome(CALM).await;
    old.closed().await;
    new.assign(vec![assignment("b/1", "h", "null")]).await;
    assert_eq!(new.accepted(1).await, ["b/1"]);
    let (run, _keep) = held.next().await;
    assert_eq!(run, "b");
    drop(end);
    assert_eq!(server.record_end().await.lease, "a/1");
    running.kill().await;
}

#[tokio::test]
async fn a_superseded_worker_kills_what_runs_reports_nothing_and_stops() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let (mut held, handler) = Held::new();
    let running = Running::start(worker(&server, spool.path()).handler("h", handler));
    let mut stream = server.session().await;
    stream.assign(vec![assignment("a/1", "h", "null")]).await;
    stream.accepted(1).await;
    let (_, end) = held.next().await;
    stream.say(Say::Superseded(Superseded { server: "s2".into() })).await;
    patiently(end.closed()).await;
    let error = running.ended().await.unwrap_err();
    assert_eq!(error, RunError::Superseded { name: "w".into(), server: "s2".into() });
    assert!(server.is_quiet());
}

#[tokio::test]
async fn a_server_that_does_not_keep_to_the_protocol_is_left_for_another() {
    let spool = tempfile::tempdir().unwrap();
    let (mut odd, mut server) = (Server::start().await, Server::start().await);
    let running = Running::start(worker(&odd, spool.path()).server(server.config()));
    let stream = odd.stream().await;
    stream.say(Say::Reconnect(Reconnect::default())).await;
    stream.closed().await;
    server.session().await;
    running.ask(Shutdown::Drain);
    running.ended().await.unwrap();
}

#[tokio::test]
async fn a_worker_without_a_directory_connects_through_a_dialer_and_reports() {
    let mut server = Server::start().await;
    let (tell, mut dialled) = mpsc::channel(16);
    let dialer = Dialer::new(move |uri: Uri| {
        let tell = tell.clone();
        async move {
            tell.send(uri.to_string()).await.map_err(std::io::Error::other)?;
            TcpStream::connect(uri.authority().map_or("", |authority| authority.as_str())).await
        }
    });
    let (mut held, handler) = Held::new();
    let config = connect::Config { dialer: Some(dialer), ..server.config() };
    let running = Running::start(Worker::forgetful("w").server(config.clone()).handler("h", handler));
    let mut stream = server.session().await;
    stream.assign(vec![assignment("a/1", "h", "null")]).await;
    stream.accepted(1).await;
    drop(held.next().await);
    assert_eq!(server.record_end().await.result, "\"done\"");
    assert_eq!(patiently(dialled.recv()).await, Some(format!("{}/", config.server)));
    running.kill().await;
}

#[tokio::test]
async fn commands_need_a_directory() {
    let server = Server::start().await;
    let error = Worker::forgetful("w").server(server.config()).allow_exec(true).build().err().unwrap();
    assert!(error.to_string().contains("spool"), "{error}");
}
