//! Commands that go on while there is no daemon, and the one that takes them over.

use std::{path::Path, time::Duration};

use marabunta::worker::{Builder, Shutdown};
use marabunta_proto::v1::{Abandon, Assignment, AttemptEnd, Cancel, Outcome, server_message::Message as Say};

use crate::fake::{Running, Server, assignment, patiently, released, worker};

fn exec(name: &str, script: &str) -> Assignment {
    let payload = serde_json::json!({ "argv": ["sh", "-c", script] });
    assignment(name, "exec", &payload.to_string())
}

fn builder(server: &Server, spool: &Path) -> Builder {
    worker(server, spool).allow_exec(true)
}

/// What a server that records everything has of an attempt.
#[derive(Default)]
struct Recorded {
    words: Vec<(u64, Vec<u8>)>,
    end: Option<AttemptEnd>,
}

impl Recorded {
    fn take(&mut self, request: marabunta_proto::v1::ReportRequest) {
        for batch in request.messages {
            self.words.extend((batch.first..).zip(batch.messages.into_iter().map(|one| one.data.to_vec())));
        }
        self.end = self.end.take().or(request.ends.into_iter().next());
    }

    /// What was printed. The same word may be told twice, but never another one under its number.
    fn text(&self) -> String {
        let mut words = self.words.clone();
        words.sort();
        words.dedup();
        let numbers: Vec<u64> = words.iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, (0..words.len() as u64).collect::<Vec<_>>(), "{words:?}");
        String::from_utf8(words.into_iter().flat_map(|(_, data)| data).collect()).unwrap()
    }

    async fn until_line(&mut self, server: &mut Server, line: &str) {
        while !self.text().lines().any(|said| said == line) {
            self.take(server.record().await);
        }
    }

    async fn until_end(&mut self, server: &mut Server) -> AttemptEnd {
        while self.end.is_none() {
            self.take(server.record().await);
        }
        self.end.clone().unwrap()
    }
}

async fn until(condition: impl Fn() -> bool) {
    patiently(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

/// No supervisor is left.
async fn deserted(spool: &Path) {
    until(|| std::fs::read_dir(spool.join("supervisors")).unwrap().count() == 0).await;
}

#[tokio::test]
async fn a_command_that_goes_on_is_held_by_the_next_daemon_and_told_to_its_end() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let go = spool.path().join("go");
    let running = Running::start(builder(&server, spool.path()));
    let stream = server.session().await;
    let wait = format!("while [ ! -e {} ]; do sleep 0.01; done", go.display());
    stream.assign(vec![exec("a/1", &format!("echo before; {wait}; echo after; exit 5"))]).await;
    let mut recorded = Recorded::default();
    recorded.until_line(&mut server, "before").await;
    running.kill().await;
    released(spool.path()).await;
    let running = Running::start(builder(&server, spool.path()));
    let mut stream = server.session().await;
    assert_eq!(stream.holding(), ["a/1"]);
    assert_eq!(stream.hello.credit, 1, "it takes a slot");
    std::fs::write(&go, "").unwrap();
    let end = recorded.until_end(&mut server).await;
    assert_eq!((end.lease.as_ref(), end.outcome(), end.exit_code), (&b"a/1"[..], Outcome::Failed, Some(5)));
    assert_eq!(recorded.text(), "before\nafter\n");
    stream.let_go("a/1").await;
    deserted(spool.path()).await;
    // The next attempt has a key of its own.
    stream.assign(vec![exec("b/1", "echo next")]).await;
    let mut next = Recorded::default();
    assert_eq!(next.until_end(&mut server).await.lease, "b/1");
    running.kill().await;
}

#[tokio::test]
async fn a_command_that_ended_while_no_daemon_was_there_is_reported_with_its_times() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let (go, done) = (spool.path().join("go"), spool.path().join("done"));
    let running = Running::start(builder(&server, spool.path()));
    let stream = server.session().await;
    let wait = format!("while [ ! -e {} ]; do sleep 0.01; done", go.display());
    let script = format!("echo 0; {wait}; seq 1 20000; touch {}; exit 7", done.display());
    stream.assign(vec![exec("a/1", &script)]).await;
    let mut recorded = Recorded::default();
    recorded.until_line(&mut server, "0").await;
    running.kill().await;
    released(spool.path()).await;
    std::fs::write(&go, "").unwrap();
    until(|| done.exists()).await;
    let running = Running::start(builder(&server, spool.path()));
    let stream = server.session().await;
    assert_eq!(stream.holding(), ["a/1"]);
    let end = recorded.until_end(&mut server).await;
    assert_eq!((end.exit_code, end.truncated), (Some(7), false));
    let (started, ended) = (end.started.unwrap(), end.ended.unwrap());
    assert!((started.seconds, started.nanos) < (ended.seconds, ended.nanos));
    let expected: String = (0..=20000).map(|number| format!("{number}\n")).collect();
    assert!(recorded.text() == expected, "the bytes differ");
    deserted(spool.path()).await;
    running.kill().await;
}

#[tokio::test]
async fn what_the_next_daemon_is_told_of_an_adopted_command_is_done() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(builder(&server, spool.path()).slots(4));
    let stream = server.session().await;
    let (mut pids, names) = (Vec::new(), ["cancelled/1", "abandoned/1", "relet/1"]);
    for name in names {
        stream.assign(vec![exec(name, "echo $$; exec sleep 1000")]).await;
        let batch = server.record().await.messages.remove(0);
        pids.push(String::from_utf8_lossy(&batch.messages[0].data).trim().to_owned());
    }
    // It knows of a lease that was given while it ran.
    stream.assign(vec![exec("relet/2", "exit 9")]).await;
    stream.say(Say::Cancel(Cancel { leases: vec!["unknown".into()] })).await;
    let mut stream = stream;
    assert!(stream.accepted(4).await.contains(&"relet/2".to_owned()));
    running.kill().await;
    released(spool.path()).await;
    let running = Running::start(builder(&server, spool.path()).slots(4));
    let mut stream = server.session().await;
    assert_eq!(stream.holding(), ["cancelled/1", "abandoned/1", "relet/2"]);
    let alive = |pid: &String| Path::new("/proc").join(pid).exists();
    assert!(pids.iter().all(alive));
    stream.say(Say::Abandon(Abandon { leases: vec!["abandoned/1".into()] })).await;
    stream.let_go("abandoned/1").await;
    assert!(!alive(&pids[1]));
    stream.say(Say::Cancel(Cancel { leases: vec!["cancelled/1".into()] })).await;
    let end = server.record_end().await;
    assert_eq!((end.lease.as_ref(), end.outcome()), (&b"cancelled/1"[..], Outcome::Cancelled));
    assert!(alive(&pids[2]));
    running.ask(Shutdown::Kill);
    let end = server.record_end().await;
    assert_eq!((end.lease.as_ref(), end.outcome()), (&b"relet/2"[..], Outcome::Lost));
    running.ended().await.unwrap();
    deserted(spool.path()).await;
}

#[tokio::test]
async fn the_time_limit_of_a_run_and_a_cancellation_hold_over_a_restart() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(builder(&server, spool.path()));
    let mut stream = server.session().await;
    let timeout = Some(prost_types::Duration { seconds: 0, nanos: 300_000_000 });
    stream.assign(vec![Assignment { timeout, ..exec("slow/1", "sleep 1000") }]).await;
    let go = spool.path().join("go");
    let script =
        format!("trap 'echo asked' TERM; echo ready; while [ ! -e {} ]; do sleep 0.01; done", go.display());
    stream.assign(vec![exec("stubborn/1", &script)]).await;
    stream.accepted(2).await;
    let mut recorded = Recorded::default();
    recorded.until_line(&mut server, "ready").await;
    stream.say(Say::Cancel(Cancel { leases: vec!["stubborn/1".into()] })).await;
    recorded.until_line(&mut server, "asked").await;
    running.kill().await;
    released(spool.path()).await;
    let running = Running::start(builder(&server, spool.path()));
    let _stream = server.session().await;
    std::fs::write(&go, "").unwrap();
    // On a host that is slow the first has ended before.
    let mut ends = Vec::from_iter(recorded.end);
    while ends.len() < 2 {
        ends.extend(server.record().await.ends);
    }
    ends.sort_by_key(|end| end.lease.clone());
    let said: Vec<_> = ends.iter().map(|end| (end.outcome(), end.error.as_str())).collect();
    assert_eq!(said, [(Outcome::TimedOut, "took longer than 300ms"), (Outcome::Cancelled, "")]);
    running.kill().await;
}

#[tokio::test]
async fn a_daemon_that_is_drained_leaves_what_does_not_end_in_time_to_the_next() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let go = spool.path().join("go");
    let running = Running::start(builder(&server, spool.path()).drain_timeout(Duration::from_millis(20)));
    let stream = server.session().await;
    let wait = format!("while [ ! -e {} ]; do sleep 0.01; done", go.display());
    stream.assign(vec![exec("a/1", &format!("echo before; {wait}; echo after"))]).await;
    let mut recorded = Recorded::default();
    recorded.until_line(&mut server, "before").await;
    running.ask(Shutdown::Drain);
    running.ended().await.unwrap();
    released(spool.path()).await;
    assert!(server.is_quiet(), "nothing is reported of it");
    let running = Running::start(builder(&server, spool.path()));
    let stream = server.session().await;
    assert_eq!(stream.holding(), ["a/1"]);
    std::fs::write(&go, "").unwrap();
    let end = recorded.until_end(&mut server).await;
    assert_eq!((end.outcome(), recorded.text().as_str()), (Outcome::Succeeded, "before\nafter\n"));
    running.ask(Shutdown::Drain);
    running.ended().await.unwrap();
    deserted(spool.path()).await;
}

#[tokio::test]
async fn an_end_that_is_in_the_spool_is_not_kept_by_its_supervisor() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(builder(&server, spool.path()));
    let stream = server.session().await;
    stream.assign(vec![exec("a/1", "exit 3")]).await;
    let report = server.report().await;
    assert_eq!(report.request.ends.len(), 1);
    running.kill().await;
    released(spool.path()).await;
    let running = Running::start(builder(&server, spool.path()));
    let stream = server.session().await;
    assert_eq!(stream.holding(), ["a/1"], "once");
    drop(report);
    let end = server.record_end().await;
    assert_eq!((end.lease.as_ref(), end.exit_code), (&b"a/1"[..], Some(3)));
    deserted(spool.path()).await;
    running.kill().await;
}
