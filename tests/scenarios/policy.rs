//! What becomes of a run that fails, hangs, waits too long, or is submitted twice.

use marabunta_proto::v1::{Durability, Outcome, Reason, RunState};
use marabunta_tests::scenarios;
use marabunta_tests::support::worker::WorkerOptions;
use marabunta_tests::support::{Backend, Cluster, Journal};

use crate::steps::{all_attempts, done_at_once, ended, gone, run, submit, until};

/// One slot, so that runs wait for each other.
fn narrow() -> WorkerOptions {
    WorkerOptions::named("web-1").slots(1)
}

scenarios! {
    async fn a_timeout_kills_the_whole_tree(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let script = "setsid sh -c 'trap \"\" TERM; echo $$; exec sleep 1000' & wait";
        let output = run(&cluster, "web-1", &["--timeout", "1s"], script).await;
        let child = output.code(124);
        assert!(output.errors().contains("timeout"), "{}", output.errors());
        gone(child.trim_end()).await;
    }

    async fn a_failed_attempt_is_retried_until_it_succeeds(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let script = format!("{}; echo attempt $MARABUNTA_ATTEMPT; [ $MARABUNTA_ATTEMPT = 3 ]", journal.note("start"));
        let output = run(&cluster, "web-1", &["--retries", "5", "--backoff", "10ms"], &script).await;
        assert_eq!(output.success(), "attempt 1\nattempt 2\nattempt 3\n");
        let id = journal.runs("start")[0].clone();
        let run = all_attempts(&cluster, &id, 3).await;
        let outcomes: Vec<Outcome> = run.attempts.iter().map(|attempt| attempt.outcome()).collect();
        assert_eq!(outcomes, [Outcome::Failed, Outcome::Failed, Outcome::Succeeded]);
        assert!(run.attempts.is_sorted_by_key(|attempt| attempt.fence), "{run:?}");
        assert_eq!((run.failed, journal.starts(&id)), (2, 3));
        assert_eq!(cluster.cli(["runs", "logs", "--attempt", "2", &id]).await.success(), "attempt 2\n");
    }

    async fn retries_that_are_used_up_end_in_the_last_failure(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        let script = format!("{}; exit $((10 + MARABUNTA_ATTEMPT))", journal.note("start"));
        run(&cluster, "web-1", &["--retries", "2", "--backoff", "10ms"], &script).await.code(13);
        assert_eq!(journal.runs("start").len(), 3);
        let timed_out = run(&cluster, "web-1", &["--retries", "1", "--backoff", "0s", "--timeout", "50ms"], "sleep 60").await;
        timed_out.code(124);
    }

    async fn a_refused_run_is_not_retried(backend: Backend) {
        let cluster = Cluster::on(backend).workers([WorkerOptions::configured("web-1", "")]).start().await;
        let id = submit(&cluster, "web-1", &["--retries", "5", "--backoff", "0s"], "true").await;
        let run = ended(&cluster, &id).await;
        assert_eq!((run.state(), run.reason(), run.attempts.len()), (RunState::Error, Reason::Rejected, 1));
        assert!(run.error.contains("allow_exec"), "{}", run.error);
    }

    async fn a_run_that_waits_too_long_expires_and_is_never_started(backend: Backend) {
        let cluster = Cluster::on(backend).workers([narrow()]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let first = submit(&cluster, "web-1", &[], &journal.until(&gate)).await;
        until(&cluster, &first, RunState::Running).await;
        let output = run(&cluster, "web-1", &["--expires", "500ms"], &journal.noting(":")).await;
        output.code(125);
        assert!(output.errors().contains("expired"), "{}", output.errors());
        gate.open();
        let third = submit(&cluster, "web-1", &["--expires", "1h"], &journal.noting(":")).await;
        done_at_once(&ended(&cluster, &third).await);
        journal.each_once(&[first, third]);
    }

    async fn an_idempotency_key_is_accepted_once(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let journal = Journal::new();
        for (target, key) in [("web-1", "one"), ("all", "group")] {
            let options = ["--idempotency-key", key];
            let first = submit(&cluster, target, &options, &journal.noting(":")).await;
            let second = submit(&cluster, target, &options, &journal.noting(":")).await;
            assert_eq!(first, second, "{target}");
            ended(&cluster, &first).await;
            let third = submit(&cluster, target, &options, &journal.noting(":")).await;
            assert_eq!(first, third, "{target}");
            assert_eq!(journal.starts(&first), 1);
            let other = run(&cluster, target, &options, "true").await;
            other.code(125);
            assert!(other.errors().contains("idempotency key"), "{}", other.errors());
        }
    }

    async fn the_more_urgent_goes_first(backend: Backend) {
        let cluster = Cluster::on(backend).workers([narrow()]).start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        let first = submit(&cluster, "web-1", &[], &journal.until(&gate)).await;
        until(&cluster, &first, RunState::Running).await;
        let mut expected = vec![first];
        let mut waiting = Vec::new();
        for priority in ["low", "normal", "high", "urgent"] {
            for _ in 0..2 {
                waiting.push(submit(&cluster, "web-1", &["--priority", priority], &journal.noting(":")).await);
            }
        }
        // Among equals the older one.
        for pair in waiting.chunks(2).rev() {
            expected.extend_from_slice(pair);
        }
        gate.open();
        for id in &waiting {
            done_at_once(&ended(&cluster, id).await);
        }
        assert_eq!(journal.runs("start"), expected);
    }

    async fn a_run_has_the_durability_that_was_asked_for(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).start().await;
        let fast = if backend == Backend::Embedded { Durability::Durable } else { Durability::Fast };
        for (options, expected) in [(&["--durable"][..], Durability::Durable), (&[], fast)] {
            let id = submit(&cluster, "web-1", options, "true").await;
            let run = ended(&cluster, &id).await;
            assert_eq!((run.state(), run.durability()), (RunState::Done, expected));
        }
    }
}
