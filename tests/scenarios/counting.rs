//! What happened is counted, once, by the server that did it.

use std::collections::BTreeMap;

use marabunta_proto::v1::RunState;
use marabunta_tests::scenarios;
use marabunta_tests::support::metrics::Metrics;
use marabunta_tests::support::worker::WorkerOptions;
use marabunta_tests::support::{Cluster, Journal, eventually};

use crate::schedules::{OFTEN, create, runs};
use crate::steps::{ended, submit, until};

/// Waits until all servers together have counted exactly this of a metric.
async fn counted(cluster: &Cluster, name: &str, expected: &[(&str, f64)]) {
    let expected: BTreeMap<&str, f64> = expected.iter().copied().collect();
    eventually(&format!("{name} is {expected:?}"), async || {
        let metrics = Metrics::sum(cluster.servers()).await?;
        anyhow::ensure!(metrics.counted(name) == expected, "it is {:?}", metrics.counted(name));
        Ok(())
    })
    .await;
}

scenarios! {
    async fn a_success_a_retry_and_a_lost_worker_are_counted_once(backend: Backend) {
        let workers = ["web-1", "web-2"].map(|name| WorkerOptions::named(name).label("role=web"));
        let cluster = Cluster::on(backend).servers(2).workers(workers).start().await;
        let journal = Journal::new();
        counted(&cluster, "marabunta_runs_ended_total", &[]).await;
        counted(&cluster, "marabunta_runs_submitted_total", &[]).await;

        let well = submit(&cluster, "web-1", &["--durable"], "echo well").await;
        ended(&cluster, &well).await;
        let badly = submit(&cluster, "web-2", &["--durable", "--retries", "1", "--backoff", "1ms"], "exit 3").await;
        ended(&cluster, &badly).await;

        let gate = journal.gate("end");
        let lost = submit(&cluster, "any(role=web)", &["--durable"], &journal.until(&gate)).await;
        let victim = until(&cluster, &lost, RunState::Running).await.worker;
        journal.started(&lost, 1).await;
        cluster.worker(&victim).kill_all();
        journal.started(&lost, 2).await;
        for server in cluster.servers() {
            eventually("the queue has one in flight, as each server sees it", async || {
                let queue = Metrics::of(server).await?;
                let queue = queue.counted("marabunta_queue_runs");
                anyhow::ensure!(queue == BTreeMap::from([("phase=\"in_flight\"", 1.0)]), "{queue:?}");
                Ok(())
            })
            .await;
        }
        gate.open();
        ended(&cluster, &lost).await;

        let ends = [("reason=\"\",state=\"done\"", 2.0), ("reason=\"failed\",state=\"error\"", 1.0)];
        counted(&cluster, "marabunta_runs_ended_total", &ends).await;
        counted(&cluster, "marabunta_runs_submitted_total", &[("class=\"durable\",origin=\"on_demand\"", 3.0)]).await;
        counted(&cluster, "marabunta_attempts_lost_total", &[("cause=\"stream_ended\"", 1.0)]).await;
        counted(&cluster, "marabunta_runs_requeued_total", &[("cause=\"failed\"", 1.0), ("cause=\"stream_ended\"", 1.0)]).await;
        counted(&cluster, "marabunta_queue_runs", &[]).await;
        let sum = Metrics::sum(cluster.servers()).await.unwrap();
        for (series, expected) in [
            ("marabunta_sessions_opened_total", 2.0),
            ("marabunta_sessions_connected", 1.0),
            ("marabunta_reports_total{verdict=\"stale\"}", 0.0),
            ("marabunta_reports_total{verdict=\"invalid\"}", 0.0),
            ("marabunta_journal_dropped_total", 0.0),
            ("marabunta_queue_oldest_ready_age_seconds", 0.0),
        ] {
            assert_eq!(sum.get(series), expected, "{series} in {sum:#?}");
        }
        let ended: f64 = sum.counted("marabunta_sessions_ended_total").values().sum();
        assert_eq!(ended, 1.0, "{sum:#?}");
        assert!(sum.get("marabunta_messages_total{verdict=\"recorded\"}") >= 1.0, "{sum:#?}");
    }

    async fn skipped_firings_and_what_became_of_the_others_are_counted_as_the_history_has_them(backend: Backend) {
        let cluster = Cluster::on(backend).servers(2).workers(["web-1"]).server_argument("--poll-interval=1s").start().await;
        let journal = Journal::new();
        let gate = journal.gate("end");
        create(&cluster, "slow", &["--when", OFTEN, "--overlap", "skip"], &journal.until(&gate)).await;
        cluster.cli(["task", "create", "nobody", "--target", "all(role=nobody)", "--when", OFTEN, "--", "true"]).await.success();
        for task in ["slow", "nobody"] {
            eventually("some of its firings were skipped", async || {
                let skipped = runs(&cluster, task, &["--state", "skipped"]).await;
                anyhow::ensure!(skipped.len() >= 2, "{skipped:?}");
                Ok(())
            })
            .await;
            cluster.cli(["task", "pause", task]).await.success();
        }
        gate.open();
        eventually("the servers have counted what the history has", async || {
            let sum = Metrics::sum(cluster.servers()).await?;
            let mut history = BTreeMap::new();
            for (task, skipped) in [("slow", "reason=\"overlap\",state=\"skipped\""), ("nobody", "reason=\"no_worker\",state=\"skipped\"")] {
                for run in runs(&cluster, task, &[]).await {
                    let ended = match run["state"].as_str() {
                        Some("skipped") => skipped,
                        Some("done") => "reason=\"\",state=\"done\"",
                        _ => anyhow::bail!("{run:#} is open"),
                    };
                    *history.entry(ended).or_default() += 1.0;
                }
            }
            anyhow::ensure!(sum.counted("marabunta_runs_ended_total") == history, "{sum:#?} {history:?}");
            let fired = sum.get("marabunta_runs_submitted_total{class=\"durable\",origin=\"schedule\"}");
            let ended = history["reason=\"\",state=\"done\""] + history["reason=\"overlap\",state=\"skipped\""];
            anyhow::ensure!(fired == ended + sum.get("marabunta_runs_withdrawn_total"), "{sum:#?}");
            anyhow::ensure!(sum.get("marabunta_release_lag_seconds_count") >= 1.0, "{sum:#?}");
            anyhow::ensure!(sum.get("marabunta_poll_lag_seconds_count") >= 1.0, "{sum:#?}");
            Ok(())
        })
        .await;
    }
}
