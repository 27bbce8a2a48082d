//! `run` on one worker: bytes, exit codes, what is submitted.

use marabunta_proto::v1::{
    Durability, Priority, Reason, Run, RunState, SubmitRequest, SubmitResponse, submit_request::What,
};
use serde_json::json;
use tonic::Status;

use crate::{
    fake::{Fake, Script, Step, ended, submitted},
    marabunta,
};

const RUN: [&str; 5] = ["run", "--target", "web-1", "--", "true"];

fn submit(arguments: &[&str]) -> SubmitRequest {
    let fake = Fake::running(vec![Step::End(ended("run-1", "web-1", 0))]);
    let ended = fake.ended(arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    fake.asked().submits.remove(0)
}

#[test]
fn standard_output_and_error_stay_apart_and_byte_exact() {
    let fake = Fake::running(vec![
        Step::State(RunState::Running, ""),
        Step::Out(b"a\xff\0\x1b[31m"),
        Step::Err(b"warning\r\n"),
        Step::Out(b"no newline"),
        Step::End(ended("run-1", "web-1", 0)),
    ]);
    let ended = fake.ended(&RUN);
    assert_eq!(ended.stdout, b"a\xff\0\x1b[31mno newline");
    assert_eq!(ended.stderr, "warning\r\n");
    assert_eq!(ended.code, Some(0));
}

#[test]
fn the_exit_code_tells_how_the_run_ended() {
    use {Reason as R, RunState as S};
    let table = [
        (S::Done, R::Unspecified, Some(0), 0, ""),
        (S::Error, R::Failed, Some(3), 3, ""),
        (S::Error, R::Failed, Some(137), 137, "error(failed), exit code 137: why"),
        (S::Error, R::Failed, None, 1, "error(failed): why"),
        (S::Error, R::Timeout, Some(137), 124, "error(timeout), exit code 137: why"),
        (S::Error, R::Lost, None, 125, "error(lost): why"),
        (S::Error, R::Rejected, None, 126, "error(rejected): why"),
        (S::Error, R::Rejected, Some(127), 127, "error(rejected), exit code 127: why"),
        (S::Cancelled, R::Unspecified, None, 130, "cancelled: why"),
        (S::Expired, R::Unspecified, None, 125, "expired: why"),
    ];
    for (state, reason, exit_code, code, words) in table {
        let run = Run {
            state: state.into(),
            reason: reason.into(),
            exit_code,
            error: "why".into(),
            ..ended("run-1", "web-1", 0)
        };
        let ended = Fake::running(vec![Step::End(run)]).ended(&RUN);
        let stderr = match words {
            "" => String::new(),
            words => format!("marabunta: run run-1 on web-1 ended as {words}\n"),
        };
        assert_eq!((ended.code, ended.stderr), (Some(code), stderr), "{state:?} {reason:?}");
    }
}

#[test]
fn all_options_reach_the_server() {
    let submit = submit(&[
        "run",
        "--target",
        "any(role=web)",
        "--timeout",
        "1m30s",
        "--retries",
        "2",
        "--backoff",
        "500ms",
        "--max-lost",
        "0",
        "--priority",
        "urgent",
        "--expires",
        "1h",
        "--durable",
        "--online",
        "--idempotency-key",
        "once",
        "--env",
        "A=b=c",
        "--cwd",
        "/srv",
        "--",
        "grep",
        "-r",
        "--",
        "-x",
    ]);
    let policy = submit.policy.unwrap();
    assert_eq!((policy.retries, policy.max_lost), (2, Some(0)));
    assert_eq!(policy.timeout.unwrap().seconds, 90);
    assert_eq!(policy.backoff.unwrap().nanos, 500_000_000);
    assert_eq!(policy.expires.unwrap().seconds, 3600);
    assert_eq!(submit.priority, i32::from(Priority::Urgent));
    assert_eq!(submit.durability, i32::from(Durability::Durable));
    assert_eq!((submit.idempotency_key.as_str(), submit.online), ("once", true));
    let Some(What::Exec(exec)) = submit.what else { panic!("not a command") };
    assert_eq!(exec.argv, ["grep", "-r", "--", "-x"]);
    assert_eq!((exec.env["A"].as_str(), exec.cwd.as_str()), ("b=c", "/srv"));
}

#[test]
fn a_payload_comes_as_text_from_a_file_or_from_standard_input() {
    let file = std::env::temp_dir().join(format!("marabunta-payload-{}.json", std::process::id()));
    std::fs::write(&file, r#"{"from":"file"}"#).unwrap();
    let path = format!("@{}", file.display());
    for (payload, expected) in
        [(r#"[1, -2]"#, "[1, -2]"), ("-1", "-1"), (&*path, r#"{"from":"file"}"#), ("-", "\"in\"")]
    {
        let fake = Fake::running(vec![Step::End(ended("run-1", "web-1", 0))]);
        let command = fake.command(&["run", "--target", "web-1", "--handler", "h", "--payload", payload]);
        let ended = marabunta::fed(command, b"\"in\"");
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let submit = fake.asked().submits.remove(0);
        assert_eq!((submit.payload.as_str(), submit.what), (expected, Some(What::Handler("h".into()))));
    }
    std::fs::remove_file(file).unwrap();
}

#[test]
fn standard_input_is_given_to_the_command() {
    let fake = Fake::running(vec![Step::End(ended("run-1", "web-1", 0))]);
    let command = fake.command(&["run", "--target", "web-1", "--stdin", "-", "--", "cat"]);
    assert_eq!(marabunta::fed(command, b"\0\xff").code, Some(0));
    let Some(What::Exec(exec)) = fake.asked().submits.remove(0).what else { panic!("not a command") };
    assert_eq!(&exec.stdin[..], b"\0\xff");
}

#[test]
fn a_submit_whose_answer_was_lost_is_sent_again_with_the_same_key() {
    let fake = Fake::start(Script {
        submit_failures: [Status::unavailable("going"), Status::unknown("cut")].into(),
        submitted: SubmitResponse { runs: vec![submitted("run-1", "web-1")], ..SubmitResponse::default() },
        follows: [("run-1".to_owned(), [vec![Step::End(ended("run-1", "web-1", 0))]].into())].into(),
        ..Script::default()
    });
    assert_eq!(fake.ended(&RUN).code, Some(0));
    let keys: Vec<String> = fake.asked().submits.into_iter().map(|submit| submit.idempotency_key).collect();
    assert_eq!(keys.len(), 3);
    assert!(!keys[0].is_empty() && keys.iter().all(|key| *key == keys[0]), "{keys:?}");
}

#[test]
fn what_the_server_refuses_is_said_in_its_words_and_not_tried_again() {
    for status in [
        Status::invalid_argument("target \"x y\": write it like web-1"),
        Status::resource_exhausted("queue of web-1 is full"),
        Status::failed_precondition("no worker matches\x1b[2J"),
        Status::permission_denied("no"),
    ] {
        let message = status.message().replace('\x1b', r"\u{1b}");
        let fake = Fake::start(Script { submit_failures: [status].into(), ..Script::default() });
        let ended = fake.ended(&RUN);
        assert_eq!(ended.stderr, format!("marabunta: failed to submit the run: {message}\n"));
        assert_eq!((ended.code, fake.asked().submits.len()), (Some(125), 1));
    }
}

#[test]
fn the_token_is_sent_and_a_missing_one_is_asked_for() {
    let fake = Fake::running(vec![Step::End(ended("run-1", "web-1", 0))]);
    fake.command(&RUN).env("MARABUNTA_TOKEN", "s3cret").output().unwrap();
    assert_eq!(fake.asked().authorization.as_deref(), Some("Bearer s3cret"));
    let fake = Fake::start(Script {
        submit_failures: [Status::unauthenticated("token wanted")].into(),
        ..Script::default()
    });
    assert!(
        fake.ended(&RUN).stderr.contains("token wanted; give a token by --token-file or MARABUNTA_TOKEN")
    );
}

#[test]
fn detach_prints_the_id_alone() {
    let script = || Script {
        submitted: SubmitResponse {
            runs: vec![submitted("run-1", "web-1")],
            warnings: vec!["no worker web-1 was ever seen".into()],
            ..SubmitResponse::default()
        },
        ..Script::default()
    };
    let ended = Fake::start(script()).ended(&["run", "--target", "web-1", "--detach", "--", "true"]);
    assert_eq!((ended.code, ended.stdout()), (Some(0), "run-1\n"));
    assert_eq!(ended.stderr, "marabunta: no worker web-1 was ever seen\n");
    let ended = Fake::start(script()).ended(&["run", "-t", "web-1", "-d", "-q", "-o", "json", "--", "true"]);
    assert_eq!(ended.json()["runs"], json!([{"id": "run-1", "target": "web-1"}]));
    assert_eq!(ended.stderr, "");
}

#[test]
fn json_has_the_run_and_its_output() {
    let fake = Fake::running(vec![
        Step::Out("grün ".as_bytes()),
        Step::Err(b"\xff"),
        Step::Out(b"ok\n"),
        Step::End(ended("run-1", "web-1", 3)),
    ]);
    let ended = fake.ended(&["run", "-t", "web-1", "-o", "json", "--", "true"]);
    let run = &ended.json()["runs"][0];
    assert_eq!((&run["stdout"], &run["stderr"]), (&json!("grün ok\n"), &json!(null)));
    assert_eq!((&run["stdout_base64"], &run["stderr_base64"]), (&json!(null), &json!("/w==")));
    assert_eq!((&run["id"], &run["state"], &run["exit_code"]), (&json!("run-1"), &json!("error"), &json!(3)));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(3), ""));
}

#[test]
fn notes_and_retries_are_remarks() {
    let steps = || {
        vec![
            Step::State(RunState::Queued, "new"),
            Step::State(RunState::Running, ""),
            Step::Note("output over 1 MiB\x07 is left out"),
            Step::State(RunState::Queued, "retry 1 of 3"),
            Step::End(ended("run-1", "web-1", 0)),
        ]
    };
    let remarks = "marabunta: web-1: output over 1 MiB\\u{7} is left out\nmarabunta: web-1: retry 1 of 3\n";
    assert_eq!(Fake::running(steps()).ended(&RUN).stderr, remarks);
    assert_eq!(Fake::running(steps()).ended(&["run", "-q", "-t", "web-1", "--", "true"]).stderr, "");
}
