//! Whoever follows a run sees all of its output, once and in order, whatever happens to the connection.

use marabunta_tests::scenarios;
use marabunta_tests::support::cli::RunningCli;
use marabunta_tests::support::{Cluster, Journal, eventually};

use crate::steps::{all_attempts, run_script, submit};

async fn shows(running: &RunningCli, expected: &str) {
    eventually(&format!("{expected:?} is shown"), async || {
        let (stdout, stderr) = (running.stdout(), running.stderr());
        anyhow::ensure!(stdout == expected, "{stdout:?} {stderr:?}");
        Ok(())
    })
    .await;
}

scenarios! {
    async fn run_resumes_its_output_after_the_server_was_killed(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let (first, second) = (journal.gate("first"), journal.gate("second"));
        let script = format!("echo one; {}; echo two; {}; echo three; exit 3", first.wait(), second.wait());
        let running = cluster.start_cli(run_script("web-1", &["--durable"], &journal.noting(&script)));
        shows(&running, "one\n").await;
        cluster.server().kill();
        first.open();
        cluster.server().restart().await;
        shows(&running, "one\ntwo\n").await;
        second.open();
        let output = running.output().await;
        assert_eq!(output.code(3), "one\ntwo\nthree\n");
        assert!(output.errors().contains("lost the connection"), "{}", output.errors());
        assert_eq!(journal.runs("start").len(), 1);
    }

    async fn several_follow_the_same_run_from_its_beginning(backend: Backend) {
        let cluster = Cluster::on(backend).servers(3).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let script = format!("echo one; {}; seq 1 5000", gate.wait());
        let id = submit(&cluster, "web-1", &[], &script).await;
        let followers: Vec<RunningCli> =
            (0..4).map(|_| cluster.start_cli(["runs", "logs", "-f", &id])).collect();
        for follower in &followers {
            shows(follower, "one\n").await;
        }
        // What is there now, without waiting for the rest.
        assert_eq!(cluster.cli(["runs", "logs", &id]).await.success(), "one\n");
        gate.open();
        let expected = format!("one\n{}", (1..=5000).map(|number| format!("{number}\n")).collect::<String>());
        for follower in followers {
            assert_eq!(follower.output().await.success(), expected);
        }
        assert_eq!(cluster.cli(["runs", "logs", "-f", &id]).await.success(), expected);
    }

    async fn the_output_of_each_attempt_is_kept(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let options = ["--retries", "2", "--backoff", "0s"];
        let id = submit(&cluster, "web-1", &options, "echo attempt $MARABUNTA_ATTEMPT; exit 1").await;
        let all = cluster.cli(["runs", "logs", "-f", &id]).await;
        assert_eq!(all.success(), "attempt 1\nattempt 2\nattempt 3\n");
        all_attempts(&cluster, &id, 3).await;
        let document = cluster.cli(["runs", "logs", &id, "-o", "json"]).await.json();
        let messages = document["messages"].as_array().unwrap();
        let attempts: Vec<i64> = messages.iter().map(|message| message["attempt"].as_i64().unwrap()).collect();
        assert_eq!(attempts, [1, 2, 3], "{document:#}");
        assert_eq!((&messages[1]["kind"], &messages[1]["text"]), (&"stdout".into(), &"attempt 2\n".into()));
    }

    async fn the_first_output_of_an_attempt_names_it(backend: Backend) {
        let cluster = Cluster::on(backend).servers(2).workers(["web-1"]).start().await;
        for options in [&[][..], &["--durable"]] {
            let journal = Journal::new();
            let gate = journal.gate("end");
            let id = submit(&cluster, "web-1", options, &format!("echo one; {}", gate.wait())).await;
            let messages = eventually("there is output", async || {
                let mut document = cluster.cli(["runs", "logs", &id, "-o", "json"]).await.json();
                let messages = std::mem::take(document["messages"].as_array_mut().unwrap());
                anyhow::ensure!(!messages.is_empty(), "{document}");
                Ok(messages)
            })
            .await;
            assert_eq!((messages.len(), &messages[0]["attempt"]), (1, &1.into()), "{messages:?}");
            gate.open();
        }
    }

    async fn logs_of_no_run_are_refused_at_once(backend: Backend) {
        let cluster = Cluster::on(backend).start().await;
        for (id, word) in [("01990f3e-7c2a-8000-8000-000000000001", "no run"), ("not-an-id", "id")] {
            let output = cluster.cli(["runs", "logs", "-f", id]).await;
            output.code(1);
            assert!(output.errors().contains(word), "{id}: {}", output.errors());
        }
    }
}
