//! Requests that no retry makes right.

use marabunta_proto::v1;
use prost_types::{Duration, Timestamp};
use tonic::{Code, Request};
use v1::runs_client::RunsClient;
use v1::submit_request::What;
use v1::task_spec::What as TaskWhat;
use v1::tasks_client::TasksClient;
use v1::workers_client::WorkersClient;

use crate::server::Server;

fn exec(argv: &[&str]) -> v1::Exec {
    v1::Exec { argv: argv.iter().map(ToString::to_string).collect(), ..v1::Exec::default() }
}

/// A request that is right but for what a case changes.
fn right() -> v1::SubmitRequest {
    v1::SubmitRequest {
        target: "web-1".into(),
        what: Some(What::Exec(exec(&["true"]))),
        ..Default::default()
    }
}

fn with_policy(policy: v1::Policy) -> v1::SubmitRequest {
    v1::SubmitRequest { policy: Some(policy), ..right() }
}

fn with_exec(exec: v1::Exec) -> v1::SubmitRequest {
    v1::SubmitRequest { what: Some(What::Exec(exec)), ..right() }
}

fn with_env(key: &str, value: &str) -> v1::SubmitRequest {
    with_exec(v1::Exec { env: [(key.to_owned(), value.to_owned())].into(), ..exec(&["true"]) })
}

fn with_payload(payload: &str) -> v1::SubmitRequest {
    v1::SubmitRequest { what: Some(What::Handler("mail".into())), payload: payload.into(), ..right() }
}

fn with_target(target: &str) -> v1::SubmitRequest {
    v1::SubmitRequest { target: target.into(), ..right() }
}

fn seconds(seconds: i64, nanos: i32) -> Option<Duration> {
    Some(Duration { seconds, nanos })
}

/// Requests, and how their error begins.
fn submissions() -> Vec<(v1::SubmitRequest, &'static str)> {
    vec![
        (v1::SubmitRequest::default(), "target: target is empty; write a worker's name"),
        (v1::SubmitRequest { what: None, ..right() }, "exec or handler is missing: one of the two"),
        (
            with_target("Host1"),
            "target: target is neither any(..) nor all(..) nor a worker's name: name has 'H' at character 1",
        ),
        (
            with_target("a/b"),
            "target: target is neither any(..) nor all(..) nor a worker's name: name has '/' at character 2",
        ),
        (
            with_target(".."),
            "target: target is neither any(..) nor all(..) nor a worker's name: name starts with '.'",
        ),
        (with_target("{x}"), "target: target is neither"),
        (with_target("a b"), "target: target is neither"),
        (with_target("web\r\n"), "target: target is neither"),
        (with_target("w\u{435}b"), "target: target is neither"),
        (with_target("any(role=)"), "target: target has a wrong selector"),
        (with_target("any(=web)"), "target: target has a wrong selector"),
        (with_target("any(a in ())"), "target: target has a wrong selector"),
        (with_target("any(a=b"), "target: target ends with 'b' where `)` must stand"),
        (with_exec(exec(&[])), "exec.argv is empty: it needs a program"),
        (with_exec(exec(&[""])), "exec.argv[0] is \"\": it must name a program"),
        (with_exec(exec(&["a", "b\0c"])), "exec.argv[1] is \"b\\0c\": an argument cannot hold a NUL"),
        (with_exec(exec(&["a", &"x".repeat(1 << 20)])), "exec.argv is 1048579 bytes long: at most 131072"),
        (
            with_exec(v1::Exec { cwd: "tmp".into(), ..exec(&["a"]) }),
            "exec.cwd is \"tmp\": it must be an absolute path",
        ),
        (
            with_exec(v1::Exec { stdin: vec![0; (1 << 20) + 1].into(), ..exec(&["a"]) }),
            "exec.stdin is 1048577 bytes long",
        ),
        (with_env("A=B", ""), "exec.env key is \"A=B\": a variable's name is not empty and has no `=`"),
        (with_env("", ""), "exec.env key is \"\": a variable's name is not empty"),
        (
            with_env("LD_PRELOAD", "/x.so"),
            "exec.env key is \"LD_PRELOAD\": it changes what every program does",
        ),
        (with_env("A", "\0"), "exec.env[\"A\"] is \"\\0\": a variable cannot hold a NUL"),
        (v1::SubmitRequest { payload: "1".into(), ..right() }, "payload is \"1\": it does not go with exec"),
        (v1::SubmitRequest { what: Some(What::Handler("".into())), ..right() }, "handler: name is empty"),
        (
            v1::SubmitRequest { what: Some(What::Handler("Mail".into())), ..right() },
            "handler: name has 'M' at character 1",
        ),
        (
            v1::SubmitRequest { what: Some(What::Handler("exec".into())), ..right() },
            "payload: not valid JSON: EOF",
        ),
        (
            v1::SubmitRequest {
                what: Some(What::Handler("exec".into())),
                payload: r#"{"argv":"ls"}"#.into(),
                ..right()
            },
            "payload: invalid type: string \"ls\", expected a sequence",
        ),
        (
            v1::SubmitRequest {
                what: Some(What::Handler("exec".into())),
                payload: r#"{"argv":["a"],"x":1}"#.into(),
                ..right()
            },
            "payload: unknown field `x`",
        ),
        (
            v1::SubmitRequest {
                what: Some(What::Handler("exec".into())),
                payload: r#"{"argv":["a"],"stdin_base64":"?"}"#.into(),
                ..right()
            },
            "payload.stdin_base64: not base64",
        ),
        (with_payload("{"), "payload: not valid JSON: EOF while parsing an object"),
        (with_payload("[1,]"), "payload: not valid JSON: trailing comma"),
        (with_payload("1 x"), "payload: not valid JSON: trailing characters"),
        (with_payload("\u{feff}{}"), "payload: not valid JSON: expected value"),
        (with_payload("1e400"), "payload: not valid JSON: number out of range"),
        (with_payload(r#"{"a":1,"a":2}"#), "payload: not valid JSON: the key \"a\" is there twice"),
        (with_payload(&"[".repeat(100_000)), "payload: not valid JSON: recursion limit exceeded"),
        (with_payload(&" ".repeat((1 << 20) + 1)), "payload is 1048577 bytes long: at most 1048576 bytes"),
        (
            with_policy(v1::Policy { retries: 1001, ..Default::default() }),
            "policy.retries is 1001: at most 1000",
        ),
        (
            with_policy(v1::Policy { retries: u32::MAX, ..Default::default() }),
            "policy.retries is 4294967295: at most 1000",
        ),
        (
            with_policy(v1::Policy { backoff: seconds(-1, 0), ..Default::default() }),
            "policy.backoff is -1 s and 0 ns: it must not be negative",
        ),
        (
            with_policy(v1::Policy { timeout: seconds(0, 999_999), ..Default::default() }),
            "policy.timeout is 0 s and 999999 ns: at least 1 ms",
        ),
        (
            with_policy(v1::Policy { timeout: seconds(1, 1_000_000_000), ..Default::default() }),
            "policy.timeout is 1 s and 1000000000 ns: its nanos",
        ),
        (
            with_policy(v1::Policy { expires: seconds(i64::MAX, 0), ..Default::default() }),
            "policy.expires is 9223372036854775807 s",
        ),
        (v1::SubmitRequest { priority: 5, ..right() }, "priority is 5: no such number exists"),
        (v1::SubmitRequest { priority: -1, ..right() }, "priority is -1: no such number exists"),
        (v1::SubmitRequest { durability: 3, ..right() }, "durability is 3: no such number exists"),
        (
            v1::SubmitRequest { idempotency_key: "k".repeat(129), ..right() },
            "idempotency_key is 129 bytes long: at most 128",
        ),
        (
            v1::SubmitRequest { idempotency_key: "a\nb".into(), ..right() },
            "idempotency_key is \"a\\nb\": control characters",
        ),
    ]
}

#[tokio::test]
async fn a_wrong_submission_is_refused_by_field_and_value_alone_and_in_a_batch() {
    let server = Server::start(&[]).await;
    let mut runs = RunsClient::new(server.channel().await);
    for (request, begins) in submissions() {
        let error = runs.submit(request).await.expect_err(begins);
        assert_eq!(error.code(), Code::InvalidArgument, "{begins}: {error}");
        assert!(error.message().starts_with(begins), "{:?} should begin with {begins:?}", error.message());
    }
    let (small, said): (Vec<_>, Vec<_>) =
        submissions().into_iter().filter(|(request, _)| prost::Message::encoded_len(request) < 1000).unzip();
    let requests = small.into_iter().chain([right()]).collect();
    let results = runs.submit_batch(v1::SubmitBatchRequest { requests }).await.unwrap().into_inner().results;
    assert_eq!(results.len(), said.len() + 1);
    for (result, begins) in results.iter().zip(said) {
        match result.result.as_ref().unwrap() {
            v1::submit_result::Result::Refused(refusal) => {
                assert_eq!(refusal.code, i32::from(Code::InvalidArgument));
                assert!(refusal.message.starts_with(begins), "{:?}: {begins:?}", refusal.message);
            }
            v1::submit_result::Result::Accepted(_) => panic!("accepted: {begins}"),
        }
    }
    let last = results.last().unwrap().result.as_ref().unwrap();
    assert!(
        matches!(last, v1::submit_result::Result::Accepted(_)),
        "what is right is not touched by its neighbours"
    );
    let listed = runs.list(v1::ListRunsRequest::default()).await.unwrap().into_inner().runs;
    assert_eq!(listed.len(), 1, "nothing but the right one left a trace");
    server.stop().await;
}

#[tokio::test]
async fn a_batch_of_too_many_is_refused_as_a_whole() {
    let server = Server::start(&[]).await;
    let mut runs = RunsClient::new(server.channel().await);
    let error =
        runs.submit_batch(v1::SubmitBatchRequest { requests: vec![right(); 1001] }).await.unwrap_err();
    assert_eq!(error.message(), "requests is 1001 long: at most 1000 are allowed");
    server.stop().await;
}

#[tokio::test]
async fn a_message_over_the_limit_is_refused() {
    let server = Server::start(&[]).await;
    let mut runs = RunsClient::new(server.channel().await);
    let error = runs.submit(with_payload(&"x".repeat(9 << 20))).await.unwrap_err();
    assert_eq!(error.code(), Code::OutOfRange, "{error}");
    server.stop().await;
}

#[tokio::test]
async fn questions_with_a_wrong_id_page_or_filter_are_refused() {
    let server = Server::start(&[]).await;
    let mut runs = RunsClient::new(server.channel().await);
    let upper = "0197F3A0-0000-8000-8000-000000000001";
    for id in
        ["", "x", upper, "00000000-0000-0000-0000-000000000000", "{0197f3a0-0000-8000-8000-000000000001}"]
    {
        for error in [
            runs.get(v1::GetRunRequest { id: id.into() }).await.unwrap_err(),
            runs.cancel(v1::CancelRunRequest { id: id.into() }).await.unwrap_err(),
            runs.retry(v1::RetryRunRequest { id: id.into() }).await.unwrap_err(),
            runs.follow(v1::FollowRequest { id: id.into(), ..Default::default() }).await.unwrap_err(),
        ] {
            assert_eq!(
                error.message(),
                format!("id: `{id}` is not an id: write it as 8-4-4-4-12 hexadecimal digits in lower case")
            );
        }
    }
    let unknown = runs.get(v1::GetRunRequest { id: upper.to_lowercase() }).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound, "{unknown}");
    let list = v1::ListRunsRequest::default;
    for (request, begins) in [
        (v1::ListRunsRequest { page_size: 1001, ..list() }, "page_size is 1001: 1 to 1000 are allowed"),
        (v1::ListRunsRequest { page: "zz".into(), ..list() }, "page is \"zz\": it must be next_page"),
        (v1::ListRunsRequest { states: vec![0], ..list() }, "states is 0: name a state"),
        (v1::ListRunsRequest { states: vec![9], ..list() }, "states is 9: no such number exists"),
        (
            v1::ListRunsRequest { target: "all(a=b)".into(), ..list() },
            "target is \"all(a=b)\": each run of an all(..)",
        ),
        (v1::ListRunsRequest { worker: "any".into(), ..list() }, "worker: name `any` is reserved"),
        (v1::ListRunsRequest { group: "g".into(), ..list() }, "group: `g` is not an id"),
        (v1::ListRunsRequest { since: Some(Timestamp { seconds: -1, nanos: 0 }), ..list() }, "since is -1 s"),
        (
            v1::ListRunsRequest { until: Some(Timestamp { seconds: 0, nanos: -1 }), ..list() },
            "until is 0 s and -1 ns",
        ),
    ] {
        let error = runs.list(request).await.expect_err(begins);
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().starts_with(begins), "{:?} should begin with {begins:?}", error.message());
    }
    let mut workers = WorkersClient::new(server.channel().await);
    let error = workers
        .list(v1::ListWorkersRequest { selector: "role=".into(), ..Default::default() })
        .await
        .unwrap_err();
    assert!(error.message().starts_with("selector: "), "{error}");
    let error = workers.drain(v1::DrainWorkerRequest { name: "nobody".into() }).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound, "{error}");
    server.stop().await;
}

fn spec() -> v1::TaskSpec {
    v1::TaskSpec {
        name: "nightly".into(),
        target: "web-1".into(),
        when: "0 2 * * *".into(),
        what: Some(TaskWhat::Exec(exec(&["true"]))),
        ..Default::default()
    }
}

#[tokio::test]
async fn a_wrong_task_is_refused_by_field_and_value() {
    let server = Server::start(&[]).await;
    let mut tasks = TasksClient::new(server.channel().await);
    for (task, begins) in [
        (v1::TaskSpec { name: "A".into(), ..spec() }, "name: name has 'A' at character 1"),
        (v1::TaskSpec { when: "".into(), ..spec() }, "when: when is empty"),
        (v1::TaskSpec { when: "60 * * * *".into(), ..spec() }, "when: minute"),
        (
            v1::TaskSpec { when: "0 0 30 2 *".into(), ..spec() },
            "when: day of month: 30 never comes in month 2",
        ),
        (
            v1::TaskSpec { when: "@at 2001-01-01T00:00:00Z".into(), ..spec() },
            "when is \"@at 2001-01-01T00:00:00Z\": it lies in the past",
        ),
        (
            v1::TaskSpec { timezone: "europe/berlin".into(), ..spec() },
            "timezone: time zone \"europe/berlin\" is not spelled so; write Europe/Berlin",
        ),
        (v1::TaskSpec { timezone: "../../etc/passwd".into(), ..spec() }, "timezone: time zone"),
        (v1::TaskSpec { catch_up: 4, ..spec() }, "catch_up is 4: no such number exists"),
        (v1::TaskSpec { catch_up_max: 1001, ..spec() }, "catch_up_max is 1001: 1 to 1000"),
        (v1::TaskSpec { overlap: 5, ..spec() }, "overlap is 5: no such number exists"),
        (v1::TaskSpec { splay: seconds(-1, 0), ..spec() }, "splay is -1 s"),
        (
            v1::TaskSpec { start_deadline: seconds(0, 0), ..spec() },
            "start_deadline is 0 s and 0 ns: at least 1 ms",
        ),
        (v1::TaskSpec { description: "d".repeat(4097), ..spec() }, "description is 4097 bytes long"),
        (v1::TaskSpec { what: None, ..spec() }, "exec or handler is missing"),
    ] {
        let error =
            tasks.create(v1::CreateTaskRequest { task: Some(task), paused: false }).await.expect_err(begins);
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().starts_with(begins), "{:?} should begin with {begins:?}", error.message());
    }
    let error = tasks.create(v1::CreateTaskRequest::default()).await.unwrap_err();
    assert_eq!(error.message(), "task is missing: it is the definition to create");
    let create = || v1::CreateTaskRequest { task: Some(spec()), paused: false };
    let created = tasks.create(create()).await.unwrap().into_inner();
    assert_eq!(created.next.len(), 5);
    assert_eq!(created.spec.unwrap().what, spec().what);
    assert_eq!(tasks.create(create()).await.unwrap_err().code(), Code::AlreadyExists);

    let update = |fields: &[&str], spec| v1::UpdateTaskRequest {
        task: "nightly".into(),
        spec: Some(spec),
        fields: fields.iter().map(ToString::to_string).collect(),
    };
    for (request, begins) in [
        (update(&[], spec()), "fields is empty: the fields are name"),
        (update(&["policy.retry"], spec()), "fields is \"policy.retry\": the fields are name"),
        (
            update(&["payload"], v1::TaskSpec { payload: "{}".into(), ..Default::default() }),
            "payload: missing field `argv`",
        ),
        (update(&["when"], v1::TaskSpec { when: "x".into(), ..Default::default() }), "when: "),
    ] {
        let error = tasks.update(request).await.expect_err(begins);
        assert_eq!(error.code(), Code::InvalidArgument, "{error}");
        assert!(error.message().starts_with(begins), "{:?} should begin with {begins:?}", error.message());
    }
    let policy = Some(v1::Policy { retries: 3, ..Default::default() });
    let request = update(&["policy.retries"], v1::TaskSpec { policy, ..Default::default() });
    let changed = tasks.update(request).await.unwrap().into_inner().spec.unwrap();
    assert_eq!(changed.policy.unwrap().retries, 3);
    assert_eq!((changed.when, changed.what), (spec().when, spec().what), "what is not named stays");

    let large = format!("\"{}\"", "x".repeat(10_000));
    let what = Some(TaskWhat::Handler("mail".into()));
    let request =
        update(&["what"], v1::TaskSpec { what: what.clone(), payload: large.clone(), ..Default::default() });
    let changed = tasks.update(request).await.unwrap().into_inner().spec.unwrap();
    assert_eq!(
        (changed.what, changed.payload),
        (what, large),
        "a payload that is stored apart comes back whole"
    );
    let fired =
        tasks.fire(v1::FireTaskRequest { task: "nightly".into(), idempotency_key: String::new() }).await;
    assert_eq!(fired.unwrap().into_inner().runs.len(), 1);
    tasks.delete(v1::DeleteTaskRequest { task: "nightly".into() }).await.unwrap();
    let gone = tasks.get(Request::new(v1::GetTaskRequest { task: "nightly".into() })).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    server.stop().await;
}
