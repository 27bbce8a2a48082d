//! What the reading commands print, as text and as JSON: kept word for word, because scripts rely on the JSON and nobody likes a crooked
//! table.

use std::collections::HashMap;

use marabunta_proto::v1::*;
use prost_types::Timestamp;

use crate::{
    fake::{Fake, Script, Step},
    snapshot,
};

fn at(time: &str) -> Option<Timestamp> {
    Some(format!("2026-03-01T{time}Z").parse().unwrap())
}

fn seconds(seconds: i64) -> Option<prost_types::Duration> {
    Some(prost_types::Duration { seconds, nanos: 0 })
}

fn run() -> Run {
    let attempt = |number, outcome: Outcome, exit_code| Attempt {
        number,
        worker: "web-1".into(),
        server: "s1".into(),
        started: at("12:00:01"),
        ended: at("12:00:02.500"),
        outcome: outcome.into(),
        exit_code: Some(exit_code),
        error: String::new(),
        output_bytes: 2048,
        truncated: number == 2,
        fence: u64::from(number),
    };
    let transition = |time, state: RunState, note: &str| Transition {
        time: at(time),
        state: state.into(),
        server: "s1".into(),
        worker: "web-1".into(),
        note: note.into(),
    };
    Run {
        id: "01990f3e-7c2a-8000-8000-000000000001".into(),
        task_id: "01990f3e-7c2a-8000-8000-00000000000f".into(),
        task_name: "nightly".into(),
        target: "any(role=web)".into(),
        worker: "web-1".into(),
        state: RunState::Error.into(),
        reason: Reason::Failed.into(),
        error: "exit code 3\x1b[31m\nsecond line".into(),
        exit_code: Some(3),
        handler: "exec".into(),
        payload: r#"{"argv":["sh","-c","exit 3"]}"#.into(),
        priority: Priority::Normal.into(),
        durability: Durability::Durable.into(),
        policy: Some(Policy { retries: 1, max_lost: Some(3), timeout: seconds(90), ..Policy::default() }),
        created: at("12:00:00"),
        due: at("12:00:00"),
        started: at("12:00:01"),
        ended: at("12:00:06.250"),
        failed: 2,
        attempts: vec![attempt(1, Outcome::Failed, 1), attempt(2, Outcome::Failed, 3)],
        transitions: vec![
            transition("12:00:00", RunState::Queued, ""),
            transition("12:00:01", RunState::Running, ""),
            transition("12:00:02.500", RunState::Queued, "retry 1 of 1"),
            transition("12:00:06.250", RunState::Error, "no retry left"),
        ],
        ..Run::default()
    }
}

fn task() -> Task {
    let exec = Exec {
        argv: vec!["/usr/local/bin/backup".into(), "two words".into()],
        env: HashMap::from([("LEVEL".into(), "9".into())]),
        cwd: "/srv".into(),
        stdin: "in".into(),
    };
    let spec = TaskSpec {
        name: "nightly".into(),
        description: "Backups".into(),
        target: "any(role=db)".into(),
        when: "0 2 * * *".into(),
        timezone: "Europe/Berlin".into(),
        what: Some(task_spec::What::Exec(exec)),
        policy: Some(Policy { retries: 3, expires: seconds(3600), ..Policy::default() }),
        catch_up: CatchUp::All.into(),
        catch_up_max: 10,
        overlap: Overlap::Skip.into(),
        splay: seconds(30),
        ..TaskSpec::default()
    };
    Task {
        id: "01990f3e-7c2a-8000-8000-00000000000f".into(),
        spec: Some(spec),
        created: at("10:00:00"),
        modified: at("11:00:00"),
        next: vec![at("12:00:00").unwrap(), at("13:00:00").unwrap()],
        last_run: "01990f3e-7c2a-8000-8000-000000000001".into(),
        last_state: RunState::Done.into(),
        last_started: at("09:00:00"),
        ..Task::default()
    }
}

fn worker() -> Worker {
    Worker {
        name: "web-1".into(),
        labels: HashMap::from([("role".into(), "web".into()), ("dc".into(), "eu".into())]),
        slots: 4,
        handlers: vec!["exec".into(), "backup".into()],
        version: "0.1.0".into(),
        online: true,
        server: "s1".into(),
        registered: at("08:00:00"),
        connected: at("09:00:00"),
        running: 2,
        ..Worker::default()
    }
}

fn fake() -> Fake {
    let id = run().id;
    let logs = vec![Step::Out(b"out\n"), Step::Err(b"err\n"), Step::Out(b"\xff\n"), Step::End(run())];
    let follows = [(id, [logs.clone(), logs].into())].into();
    Fake::start(Script { run: run(), task: task(), worker: worker(), follows, ..Script::default() })
}

#[test]
fn what_is_printed_is_as_it_was() {
    let id = run().id;
    let table: [(&str, &[&str]); 10] = [
        ("runs-list", &["runs", "list"]),
        ("runs-show", &["runs", "show", &id]),
        ("runs-cancel", &["runs", "cancel", &id]),
        ("runs-logs", &["runs", "logs", &id]),
        ("task-list", &["task", "list"]),
        ("task-show", &["task", "show", "nightly"]),
        ("task-delete", &["task", "delete", "nightly"]),
        ("workers-list", &["workers", "list"]),
        ("workers-show", &["workers", "show", "web-1"]),
        ("workers-drain", &["workers", "drain", "web-1", "web-2"]),
    ];
    let fake = fake();
    for (name, arguments) in table {
        let json = fake.ended(&[arguments, &["-o", "json"]].concat());
        assert_eq!((json.code, json.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        json.json();
        snapshot::check(&format!("output/{name}.json"), json.stdout());
        let text = fake.ended(arguments);
        assert_eq!(text.code, Some(0), "{arguments:?}");
        snapshot::check(&format!("output/{name}.txt"), &String::from_utf8_lossy(&text.stdout));
        assert!(!text.stdout.contains(&0x1b), "{arguments:?} lets a terminal escape through");
    }
}

#[test]
fn filters_of_runs_reach_the_server() {
    let fake = fake();
    let ended = fake.ended(&[
        "runs",
        "list",
        "--state",
        "error,done",
        "--state",
        "expired",
        "--task",
        "nightly",
        "--target",
        "web-1",
        "--worker",
        "w",
        "--group",
        "g",
        "--since",
        "2026-03-01T12:00:00+01:00",
        "--until",
        "2026-03-02T00:00:00Z",
        "--limit",
        "7",
    ]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let expected = ListRunsRequest {
        states: [RunState::Error, RunState::Done, RunState::Expired].map(i32::from).to_vec(),
        task: "nightly".into(),
        target: "web-1".into(),
        worker: "w".into(),
        group: "g".into(),
        since: at("11:00:00"),
        until: Some("2026-03-02T00:00:00Z".parse().unwrap()),
        page_size: 7,
        page: String::new(),
    };
    assert_eq!(fake.asked().lists, [expected]);
}

#[test]
fn workers_are_drained_by_selector() {
    let fake = fake();
    assert_eq!(fake.ended(&["workers", "drain", "--selector", "role=web"]).code, Some(0));
    assert_eq!(fake.asked().drains, ["web-1"]);
}

#[test]
fn logs_of_a_run_that_nobody_knows_are_an_error() {
    let ended = fake().ended(&["runs", "logs", "01990f3e-7c2a-8000-8000-0000000000ff"]);
    assert_eq!(ended.code, Some(1));
    assert!(ended.stderr.contains("no such run"), "{}", ended.stderr);
}

#[test]
fn a_reader_that_stops_reading_is_no_error_to_talk_about() {
    let mut command = fake().command(&["completions", "zsh"]);
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ended = crate::marabunta::Ended::from(child.wait_with_output().unwrap());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(141), ""));
}
