//! A person runs something now.

use marabunta_proto::v1::RunState;
use marabunta_tests::scenarios;
use marabunta_tests::support::cli::Cli;
use marabunta_tests::support::worker::WorkerOptions;
use marabunta_tests::support::{Cluster, Journal, eventually};

use crate::steps::{ended, gone, look, run, run_script, submit, until};

const HANDLERS: &str = r#"
    [handlers.greet]
    argv = ["/bin/echo", "hello {{name}}"]

    [handlers.mirror]
    argv = ["/bin/cat"]
    stdin = "payload"

    [handlers.flood]
    argv = ["/usr/bin/seq", "1", "100000"]
    output_limit = "8KiB"
"#;

scenarios! {
    async fn standard_output_and_error_arrive_apart_and_byte_for_byte(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let script = r"printf '\000\377\033[31mred\r\n\303('; printf 'no newline' >&2";
        let output = run(&cluster, "web-1", &[], script).await;
        assert_eq!(output.code, 0, "{}", output.errors());
        assert_eq!(output.stdout, b"\x00\xff\x1b[31mred\r\n\xc3(");
        assert_eq!(output.stderr, b"no newline");

        let long = run(&cluster, "web-1", &[], "seq 1 60000; seq 1 60000 >&2").await;
        let expected: String = (1..=60_000).map(|number| format!("{number}\n")).collect();
        assert_eq!(long.success(), expected);
        assert_eq!(long.errors(), expected);
    }

    async fn output_is_shown_while_the_command_runs(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let script = format!("echo first; {}; echo second", gate.wait());
        let running = cluster.start_cli(run_script("web-1", &[], &script));
        eventually("the first line is shown", async || {
            anyhow::ensure!(running.stdout() == "first\n", "{:?} {:?}", running.stdout(), running.stderr());
            Ok(())
        })
        .await;
        gate.open();
        assert_eq!(running.output().await.success(), "first\nsecond\n");
    }

    async fn run_ends_with_the_exit_code_of_the_task(backend: Backend) {
        let handlers = WorkerOptions::configured("handlers", HANDLERS);
        let cluster = Cluster::on(backend).workers([WorkerOptions::named("web-1"), handlers]).start().await;
        let table: [(i32, &[&str]); 13] = [
            (0, &["--target", "web-1", "--", "true"]),
            (1, &["--target", "web-1", "--", "false"]),
            (3, &["--target", "web-1", "--", "sh", "-c", "exit 3"]),
            (255, &["--target", "web-1", "--", "sh", "-c", "exit 255"]),
            (128 + 9, &["--target", "web-1", "--", "sh", "-c", "kill -9 $$"]),
            (128 + 15, &["--target", "web-1", "--", "sh", "-c", "kill -15 $$"]),
            (124, &["--target", "web-1", "--timeout", "100ms", "--", "sleep", "60"]),
            (125, &["--target", "all(role=nobody)", "--", "true"]),
            (126, &["--target", "handlers", "--", "true"]),
            (126, &["--target", "web-1", "--", "/etc/hostname"]),
            (127, &["--target", "web-1", "--", "/no/such/program"]),
            (127, &["--target", "web-1", "--", "no-such-program"]),
            (127, &["--target", "web-1", "--handler", "no-such-handler"]),
        ];
        for (expected, arguments) in table {
            let output = cluster.cli([&["run"], arguments].concat()).await;
            assert_eq!(output.code, expected, "{arguments:?}: {}", output.errors());
        }
        let nobody = Cli::new(["run", "--target", "web-1", "--", "true"]).server("http://127.0.0.1:1").run().await;
        assert_eq!(nobody.code, 125, "{}", nobody.errors());
    }

    async fn detach_prints_the_id_alone(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let output = cluster.cli(["run", "--detach", "--target", "web-1", "--", "echo", "hello"]).await;
        let id = output.success();
        let id = id.strip_suffix('\n').expect("the id is a line");
        assert_eq!(uuid::Uuid::parse_str(id).expect("the id is a UUID").to_string(), id);
        assert_eq!(output.errors(), "");
        let logs = cluster.cli(["runs", "logs", "-f", id]).await;
        assert_eq!(logs.success(), "hello\n");
    }

    async fn a_handler_gets_its_payload_from_an_argument_a_file_or_standard_input(backend: Backend) {
        let cluster = Cluster::on(backend).workers([WorkerOptions::configured("web-1", HANDLERS)]).start().await;
        let files = Journal::new();
        let file = files.directory().join("payload.json");
        std::fs::write(&file, r#"{"name":"file"}"#).unwrap();
        let at_file = format!("@{}", file.display());
        for (payload, name) in [(r#"{"name":"a b; rm -rf $HOME"}"#, "a b; rm -rf $HOME"), (&at_file, "file"), ("-", "input")] {
            let arguments = ["run", "--target", "web-1", "--handler", "greet", "--payload", payload];
            let output = Cli::new(arguments).server(&cluster.url()).input(r#"{"name":"input"}"#).run().await;
            assert_eq!(output.success(), format!("hello {name}\n"), "{payload}");
        }
        // Larger than what travels with the run itself.
        let large = format!(r#"{{"text":"{}","n":9007199254740993}}"#, "ü".repeat(20_000));
        std::fs::write(&file, &large).unwrap();
        let output = cluster.cli(["run", "--target", "web-1", "--handler", "mirror", "--payload", &at_file]).await;
        assert_eq!(output.success(), large);
    }

    async fn a_command_gets_its_environment_directory_and_standard_input(backend: Backend) {
        let worker = WorkerOptions::named("web-1").variable("SECRET_OF_THE_WORKER", "swordfish");
        let cluster = Cluster::on(backend).workers([worker]).start().await;
        let options = ["--env", "A=b c", "--env", "EMPTY=", "--cwd", "/usr", "--stdin", "-"];
        let script = r#"echo "$A,$EMPTY,$SECRET_OF_THE_WORKER,$MARABUNTA_ATTEMPT"; pwd; cat"#;
        let arguments = run_script("web-1", &options, script);
        let output = Cli::new(arguments).server(&cluster.url()).input(b"\x00\xff in".as_slice()).run().await;
        assert_eq!(output.code, 0, "{}", output.errors());
        assert_eq!(output.stdout, b"b c,,,1\n/usr\n\x00\xff in");
    }

    async fn long_output_keeps_its_head_and_its_tail(backend: Backend) {
        let cluster = Cluster::on(backend).workers([WorkerOptions::configured("web-1", HANDLERS)]).start().await;
        let output = cluster.cli(["run", "--target", "web-1", "--handler", "flood", "-o", "json"]).await;
        let run = &output.json()["runs"][0];
        let kept = run["stdout"].as_str().unwrap();
        assert!(kept.starts_with("1\n2\n3\n") && kept.ends_with("\n99999\n100000\n"), "{kept}");
        assert!(kept.len() <= 8 << 10, "{} bytes", kept.len());
        let attempt = &run["attempts"][0];
        assert_eq!((&attempt["truncated"], &attempt["output_bytes"]), (&true.into(), &588_895.into()));
    }

    async fn json_has_the_run_and_what_it_wrote(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let output = run(&cluster, "web-1", &["-o", "json"], r"echo out; printf '\377' >&2; exit 3").await;
        let document: serde_json::Value = serde_json::from_str(&output.code(3)).unwrap();
        let run = &document["runs"][0];
        for (field, expected) in [
            ("state", "error".into()),
            ("reason", "failed".into()),
            ("exit_code", 3.into()),
            ("worker", "web-1".into()),
            ("stdout", "out\n".into()),
            ("stderr_base64", "/w==".into()),
            ("stderr", serde_json::Value::Null),
        ] {
            assert_eq!(run[field], expected, "{field} in {document:#}");
        }
    }

    async fn ctrl_c_cancels_the_run_with_its_whole_tree(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let script = "setsid sleep 1000 & echo $! $MARABUNTA_RUN; wait";
        let running = cluster.start_cli(run_script("web-1", &[], script));
        let line = eventually("the command shows its child", async || {
            let line = running.stdout();
            anyhow::ensure!(line.ends_with('\n'), "{line:?} {:?}", running.stderr());
            Ok(line)
        })
        .await;
        let (child, id) = line.trim_end().split_once(' ').unwrap();
        running.interrupt();
        let output = running.output().await;
        output.code(130);
        assert!(output.errors().contains("cancelling"), "{}", output.errors());
        gone(child).await;
        assert_eq!(look(&cluster, id).await.state(), RunState::Cancelled);
    }

    async fn a_second_ctrl_c_leaves_the_run_alone(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        // It does not want to die at once.
        let script = format!("trap '' TERM; echo $MARABUNTA_RUN; {}", journal.until(&journal.gate("end")));
        let running = cluster.start_cli(run_script("web-1", &[], &script));
        let id = eventually("the command has started", async || {
            let line = running.stdout();
            anyhow::ensure!(line.ends_with('\n'), "{line:?} {:?}", running.stderr());
            Ok(line.trim_end().to_owned())
        })
        .await;
        running.interrupt();
        eventually("the first is answered", async || {
            anyhow::ensure!(running.stderr().contains("once more"), "{:?}", running.stderr());
            Ok(())
        })
        .await;
        running.interrupt();
        let output = running.output().await;
        output.code(130);
        assert!(output.errors().contains(&format!("marabunta runs logs -f {id}")), "{}", output.errors());
    }

    async fn a_cancelled_run_that_waits_is_never_started(backend: Backend) {
        let cluster = Cluster::on(backend).workers([WorkerOptions::named("web-1").slots(1)]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let first = submit(&cluster, "web-1", &[], &journal.until(&gate)).await;
        until(&cluster, &first, RunState::Running).await;
        let second = submit(&cluster, "web-1", &[], &journal.noting(":")).await;
        cluster.cli(["runs", "cancel", &second]).await.success();
        assert_eq!(ended(&cluster, &second).await.state(), RunState::Cancelled);
        gate.open();
        assert_eq!(ended(&cluster, &first).await.state(), RunState::Done);
        // What was behind it has its turn now, and that is not the cancelled one.
        let third = submit(&cluster, "web-1", &[], &journal.noting(":")).await;
        assert_eq!(ended(&cluster, &third).await.state(), RunState::Done);
        journal.each_once(&[first, third]);
    }

    async fn cancelling_what_has_ended_changes_nothing(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let id = submit(&cluster, "web-1", &[], "exit 3").await;
        let before = ended(&cluster, &id).await;
        let output = cluster.cli(["runs", "cancel", &id]).await;
        assert!(output.success().contains("error(failed), exit code 3"), "{output:?}");
        let after = look(&cluster, &id).await;
        let [before, after] = [&before, &after].map(|run| (run.state, run.reason, run.exit_code, run.attempts.clone()));
        assert_eq!(after, before);
    }
}
