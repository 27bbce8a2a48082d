//! Commands through the worker: output, exit code, and the death of the whole tree.

use marabunta_proto::v1::{Cancel, MessageKind, Outcome, server_message::Message as Say};

use crate::fake::{Running, Server, assignment, worker};

#[tokio::test]
async fn a_command_reports_its_output_and_its_exit_code() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()).allow_exec(true));
    let stream = server.session().await;
    let payload = |script: &str| serde_json::json!({ "argv": ["sh", "-c", script] }).to_string();
    let table = [
        ("a/1", payload("printf out; printf err >&2"), Outcome::Succeeded, Some(0), ""),
        ("b/1", payload("exit 3"), Outcome::Failed, Some(3), "exit code 3"),
        ("c/1", payload("kill -9 $$"), Outcome::Failed, Some(137), "ended by signal 9"),
        ("d/1", r#"{"argv":["no-such-program"]}"#.into(), Outcome::Rejected, Some(127), "not found"),
        (
            "e/1",
            r#"{"argv":["true"],"shell":true}"#.into(),
            Outcome::Rejected,
            Some(126),
            "unknown field `shell`",
        ),
        ("f/1", payload("test \"$MARABUNTA_RUN/$MARABUNTA_ATTEMPT\" = f/1"), Outcome::Succeeded, Some(0), ""),
    ];
    for (name, payload, outcome, code, error) in table {
        stream.assign(vec![assignment(name, "exec", &payload)]).await;
        let (mut printed, end) = (
            Vec::new(),
            loop {
                let request = server.record().await;
                if let Some(end) = request.ends.first() {
                    break (request.messages, end.clone());
                }
                assert!(name == "a/1", "{name}: {request:?}");
            },
        );
        let (messages, end) = end;
        printed.extend(messages.into_iter().flat_map(|batch| batch.messages).map(|message| message.kind()));
        assert!(
            printed.iter().all(|kind| matches!(kind, MessageKind::Stdout | MessageKind::Stderr)),
            "{name}"
        );
        assert_eq!((end.outcome(), end.exit_code), (outcome, code), "{name}: {}", end.error);
        assert!(end.error.contains(error), "{name}: {}", end.error);
        assert_eq!(end.output_bytes, if name == "a/1" { 6 } else { 0 }, "{name}");
    }
    running.kill().await;
}

#[tokio::test]
async fn cancel_kills_a_command_and_its_children() {
    let (mut server, spool) = (Server::start().await, tempfile::tempdir().unwrap());
    let running = Running::start(worker(&server, spool.path()).allow_exec(true));
    let stream = server.session().await;
    let script = "sleep 1000 & echo $!; exec sleep 1000";
    let payload = serde_json::json!({ "argv": ["sh", "-c", script] }).to_string();
    stream.assign(vec![assignment("a/1", "exec", &payload)]).await;
    let child = server.record().await.messages[0].messages[0].data.clone();
    let child = String::from_utf8_lossy(&child).trim().to_owned();
    assert!(is_alive(&child));
    stream.say(Say::Cancel(Cancel { leases: vec!["a/1".into()] })).await;
    let end = server.record_end().await;
    assert_eq!((end.outcome(), end.exit_code), (Outcome::Cancelled, Some(130)));
    assert!(!is_alive(&child));
    running.kill().await;
}

/// A process that nobody has waited for yet is dead too (proc(5): state Z).
fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" Z")))
}
