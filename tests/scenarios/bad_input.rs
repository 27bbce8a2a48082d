//! Bad input gets an error that names the field, and changes nothing.

use std::collections::HashMap;

use marabunta_proto::v1::runs_client::RunsClient;
use marabunta_proto::v1::submit_request::What;
use marabunta_proto::v1::tasks_client::TasksClient;
use marabunta_proto::v1::{
    CancelRunRequest, CreateTaskRequest, Durability, Exec, FireTaskRequest, FollowRequest, GetRunRequest,
    ListRunsRequest, Policy, SubmitBatchRequest, SubmitRequest, TaskSpec, task_spec,
};
use marabunta_tests::scenarios;
use marabunta_tests::support::Cluster;
use prost_types::Duration;
use tonic::Code;

fn good() -> SubmitRequest {
    let exec = Exec { argv: vec!["true".into()], ..Exec::default() };
    SubmitRequest { target: "web-1".into(), what: Some(What::Exec(exec)), ..SubmitRequest::default() }
}

fn target(target: &str) -> SubmitRequest {
    SubmitRequest { target: target.into(), ..good() }
}

fn argv(argv: &[&str]) -> SubmitRequest {
    exec(Exec { argv: argv.iter().map(|&argument| argument.into()).collect(), ..Exec::default() })
}

fn exec(exec: Exec) -> SubmitRequest {
    SubmitRequest { what: Some(What::Exec(exec)), ..good() }
}

fn variable(name: &str, value: &str) -> SubmitRequest {
    let env = HashMap::from([(name.to_owned(), value.to_owned())]);
    exec(Exec { argv: vec!["true".into()], env, ..Exec::default() })
}

fn handler(handler: &str, payload: &str) -> SubmitRequest {
    SubmitRequest { what: Some(What::Handler(handler.into())), payload: payload.into(), ..good() }
}

fn policy(policy: Policy) -> SubmitRequest {
    SubmitRequest { policy: Some(policy), ..good() }
}

fn seconds(seconds: i64) -> Option<Duration> {
    Some(Duration { seconds, nanos: 0 })
}

/// Requests that no retry makes right, and the field that their error names.
fn bad_requests() -> Vec<(SubmitRequest, &'static str)> {
    let cyrillic = "w\u{435}b-1";
    let (long, deep) = ("x".repeat(300), format!("any({})", "role=a,".repeat(300)));
    let nested = "[".repeat(100_000);
    let large = format!("\"{}\"", "x".repeat(1 << 20));
    let command = |exec: Exec| Exec { argv: vec!["true".into()], ..exec };
    let targets = [
        "",
        " ",
        "a b",
        "a/b",
        "..",
        "{x}",
        "*",
        "-x",
        "Web-1",
        cyrillic,
        "a\r\nb",
        "a\0b",
        &long,
        "any(",
        "any(role=",
        "any(=web)",
        "any(role==)",
        "any(role in ())",
        "any((role=web))",
        "any(role=web",
        "all(role=web))",
        "some(role=web)",
        &deep,
    ];
    let mut table: Vec<(SubmitRequest, &str)> = targets.map(|text| (target(text), "target")).into();
    table.extend([
        (SubmitRequest::default(), "target"),
        (SubmitRequest { what: None, ..good() }, "exec or handler"),
        (argv(&[]), "exec.argv"),
        (argv(&[""]), "exec.argv[0]"),
        (argv(&["echo", "a\0b"]), "exec.argv[1]"),
        (argv(&["echo", &"x".repeat(1 << 20)]), "exec.argv"),
        (variable("", "x"), "exec.env"),
        (variable("A=B", "x"), "exec.env"),
        (variable("A", "x\0"), "exec.env"),
        (variable("LD_PRELOAD", "/tmp/x.so"), "exec.env"),
        (variable("MARABUNTA_RUN", "x"), "exec.env"),
        (exec(command(Exec { cwd: "tmp".into(), ..Exec::default() })), "exec.cwd"),
        (exec(command(Exec { stdin: vec![b'x'; (1 << 20) + 1].into(), ..Exec::default() })), "exec.stdin"),
        (SubmitRequest { payload: "{}".into(), ..good() }, "payload"),
        (handler("", ""), "handler"),
        (handler("a b", ""), "handler"),
        (handler("x", "{"), "payload"),
        (handler("x", "[1,]"), "payload"),
        (handler("x", "\u{feff}{}"), "payload"),
        (handler("x", "{} x"), "payload"),
        (handler("x", r#"{"a":1,"a":2}"#), "payload"),
        (handler("x", "1e400"), "payload"),
        (handler("x", r#""\ud800""#), "payload"),
        (handler("x", &nested), "payload"),
        (handler("x", &large), "payload"),
        (handler("exec", "{}"), "payload"),
        (handler("exec", r#"{"argv":"true"}"#), "payload"),
        (handler("exec", r#"{"argv":["true"],"shell":true}"#), "payload"),
        (policy(Policy { retries: 1001, ..Policy::default() }), "policy.retries"),
        (policy(Policy { retries: u32::MAX, ..Policy::default() }), "policy.retries"),
        (policy(Policy { max_lost: Some(u32::MAX), ..Policy::default() }), "policy.max_lost"),
        (policy(Policy { timeout: seconds(0), ..Policy::default() }), "policy.timeout"),
        (policy(Policy { timeout: seconds(-1), ..Policy::default() }), "policy.timeout"),
        (policy(Policy { timeout: seconds(i64::MAX), ..Policy::default() }), "policy.timeout"),
        (policy(Policy { expires: seconds(i64::MIN), ..Policy::default() }), "policy.expires"),
        (
            policy(Policy { backoff: Some(Duration { seconds: 1, nanos: -1 }), ..Policy::default() }),
            "policy.backoff",
        ),
        (SubmitRequest { priority: 99, ..good() }, "priority"),
        (SubmitRequest { durability: -1, ..good() }, "durability"),
        (SubmitRequest { idempotency_key: "x".repeat(129), ..good() }, "idempotency_key"),
        (SubmitRequest { idempotency_key: "a\nb".into(), ..good() }, "idempotency_key"),
    ]);
    table
}

/// Definitions of tasks that no retry makes right, and the field that their error names.
fn bad_tasks() -> Vec<(TaskSpec, &'static str)> {
    let exec = Exec { argv: vec!["true".into()], ..Exec::default() };
    let what = Some(task_spec::What::Exec(exec));
    let good = || TaskSpec {
        name: "task".into(),
        target: "web-1".into(),
        when: "now".into(),
        what: what.clone(),
        ..TaskSpec::default()
    };
    let long = "* ".repeat(5_000);
    let schedules = [
        " ",
        "* * * *",
        "* * * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "0 0 32 1 *",
        "0 0 0 * *",
        "0 0 30 2 *",
        "*/0 * * * *",
        "*/-1 * * * *",
        "*/99999999999 * * * *",
        "5-1 * * * *",
        "1,,2 * * * *",
        ", * * * *",
        "- * * * *",
        "0 0 * * 8",
        "0 0 * * MON#6",
        "@every 0s",
        "@every -5m",
        "@every 1e9h",
        "@every 5",
        "@unknown",
        "@at 2026-03-01T12:00:00",
        "@at 2026-03-01T24:00:00Z",
        "\u{ff0a} * * * *",
        "\u{661} * * * *",
        "*\u{200b} * * * *",
        "*\u{a0}* * * *",
        "* *\n* * *",
        &long,
    ];
    let zones = ["Mars/Phobos", "../../etc/passwd", "europe/berlin", " ", "UTC+1"];
    let names = ["", "a b", "a/b", "..", "-x", "{x}", "Nightly", "n\u{131}ghtly"];
    let mut table: Vec<(TaskSpec, &str)> = Vec::new();
    table.extend(schedules.map(|when| (TaskSpec { when: when.into(), ..good() }, "when")));
    table
        .extend(zones.map(|zone| {
            (TaskSpec { timezone: zone.into(), when: "0 2 * * *".into(), ..good() }, "timezone")
        }));
    table.extend(names.map(|name| (TaskSpec { name: name.into(), ..good() }, "name")));
    table.extend([
        (TaskSpec { name: "x".repeat(129), ..good() }, "name"),
        (TaskSpec { target: "any(".into(), ..good() }, "target"),
        (TaskSpec { what: None, ..good() }, "exec or handler"),
        (TaskSpec { catch_up: 9, ..good() }, "catch_up"),
        (TaskSpec { catch_up_max: 1001, ..good() }, "catch_up_max"),
        (TaskSpec { overlap: -1, ..good() }, "overlap"),
        (TaskSpec { splay: seconds(-1), ..good() }, "splay"),
        (TaskSpec { start_deadline: seconds(i64::MAX), ..good() }, "start_deadline"),
    ]);
    table
}

scenarios! {
    async fn a_bad_request_names_its_field_and_leaves_nothing_behind(backend: Backend) {
        let cluster = Cluster::on(backend).start().await;
        let channel = cluster.channel().await;
        let mut runs = RunsClient::new(channel.clone()).max_encoding_message_size(16 << 20);
        let table = bad_requests();
        for (request, field) in &table {
            let status = runs.submit(request.clone()).await.expect_err(field);
            assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
            assert!(status.message().starts_with(field), "{field}: {}", status.message());
            assert!(status.message().len() < 500, "{field}: {}", status.message());
        }
        // In a batch each has its own answer, and the good one is accepted.
        let mut requests: Vec<SubmitRequest> = table[..5].iter().map(|(request, _)| request.clone()).collect();
        requests.push(SubmitRequest { durability: Durability::Durable.into(), ..good() });
        let answers = runs.submit_batch(SubmitBatchRequest { requests }).await.unwrap().into_inner().results;
        let refused = |result: &Option<_>| matches!(result, Some(marabunta_proto::v1::submit_result::Result::Refused(_)));
        let refused: Vec<bool> = answers.iter().map(|answer| refused(&answer.result)).collect();
        assert_eq!(refused, [true, true, true, true, true, false]);
        let listed = runs.list(ListRunsRequest::default()).await.unwrap().into_inner();
        assert_eq!(listed.runs.len(), 1, "the good one");
    }

    async fn a_bad_definition_names_its_field_and_leaves_nothing_behind(backend: Backend) {
        let cluster = Cluster::on(backend).start().await;
        let mut tasks = TasksClient::new(cluster.channel().await);
        for (spec, field) in bad_tasks() {
            let request = CreateTaskRequest { task: Some(spec.clone()), paused: false };
            let status = tasks.create(request).await.expect_err(&format!("{spec:?}"));
            assert_eq!(status.code(), Code::InvalidArgument, "{field}: {status}");
            assert!(status.message().contains(field), "{field}: {}", status.message());
        }
        tasks.create(CreateTaskRequest::default()).await.expect_err("nothing is no definition");
        let listed = cluster.cli(["task", "list", "-o", "json"]).await.json();
        assert_eq!(listed["tasks"], serde_json::json!([]));
    }

    async fn ids_and_pages_that_are_none_are_refused(backend: Backend) {
        let cluster = Cluster::on(backend).start().await;
        let channel = cluster.channel().await;
        let (mut runs, mut tasks) = (RunsClient::new(channel.clone()), TasksClient::new(channel));
        let ids = [
            ("", Code::InvalidArgument),
            ("x", Code::InvalidArgument),
            ("{01990f3e-7c2a-8000-8000-000000000001}", Code::InvalidArgument),
            ("01990f3e-7c2a-8000-8000-00000000000", Code::InvalidArgument),
            ("' OR '1'='1", Code::InvalidArgument),
            ("00000000-0000-0000-0000-000000000000", Code::InvalidArgument),
            ("01990f3e-7c2a-8000-8000-000000000001", Code::NotFound),
        ];
        for (id, code) in ids {
            let id = id.to_owned();
            assert_eq!(runs.get(GetRunRequest { id: id.clone() }).await.unwrap_err().code(), code, "get {id:?}");
            assert_eq!(runs.cancel(CancelRunRequest { id: id.clone() }).await.unwrap_err().code(), code, "cancel {id:?}");
            let follow = FollowRequest { id: id.clone(), ..FollowRequest::default() };
            let status = match runs.follow(follow).await {
                Ok(stream) => stream.into_inner().message().await.unwrap_err(),
                Err(status) => status,
            };
            assert_eq!(status.code(), code, "follow {id:?}");
        }
        for request in [
            ListRunsRequest { page_size: 1001, ..ListRunsRequest::default() },
            ListRunsRequest { page: "garbage".into(), ..ListRunsRequest::default() },
            ListRunsRequest { states: vec![99], ..ListRunsRequest::default() },
            ListRunsRequest { target: "any(".into(), ..ListRunsRequest::default() },
            ListRunsRequest { group: "x".into(), ..ListRunsRequest::default() },
        ] {
            assert_eq!(runs.list(request.clone()).await.unwrap_err().code(), Code::InvalidArgument, "{request:?}");
        }
        let fire = FireTaskRequest { task: "nobody".into(), ..FireTaskRequest::default() };
        assert_eq!(tasks.fire(fire).await.unwrap_err().code(), Code::NotFound);
    }

    async fn the_command_line_says_what_is_wrong_before_it_calls_anybody(backend: Backend) {
        let cluster = Cluster::on(backend).start().await;
        let table: [(&[&str], i32, &str); 14] = [
            (&["run", "--", "true"], 2, "--target"),
            (&["run", "--target", "web-1"], 2, "nothing to run"),
            (&["run", "--target", "web-1", "--handler", "x", "--", "true"], 2, "--handler"),
            (&["run", "--target", "web-1", "--timeout", "5", "--", "true"], 2, "no unit"),
            (&["run", "--target", "web-1", "--retries", "-1", "--", "true"], 2, "-1"),
            (&["run", "--target", "web-1", "--retries", "1001", "--", "true"], 2, "1001"),
            (&["run", "--target", "web-1", "--handler", "x", "--payload", "{"], 2, "JSON"),
            (&["run", "--target", "web-1", "--handler", "x", "--payload", "@/no/such/file"], 125, "/no/such/file"),
            (&["run", "--target", "web-1", "--env", "A", "--", "true"], 2, "NAME=VALUE"),
            (&["run", "--target", "any(role=", "--", "true"], 125, "target"),
            (&["task", "create", "x", "--target", "web-1", "--when", "61 * * * *", "--", "true"], 1, "when"),
            (&["when", "61 * * * *"], 2, "minute"),
            (&["runs", "list", "--state", "gone"], 2, "gone"),
            (&["runs", "show", "x"], 1, "id"),
        ];
        for (arguments, code, word) in table {
            let output = cluster.cli(arguments).await;
            output.code(code);
            assert!(output.errors().contains(word), "{arguments:?}: {}", output.errors());
        }
    }
}
