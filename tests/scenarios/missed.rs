//! Servers or the queue are away while tasks would fire.

use std::ops::RangeInclusive;
use std::time::Duration;

use marabunta_tests::scenarios;
use marabunta_tests::support::{Cluster, Journal, eventually, eventually_within};
use serde_json::Value;

use crate::schedules::{OFTEN, create, runs};

scenarios! {
    async fn what_was_missed_while_no_server_was_up_is_caught_up_as_the_task_says(backend: Backend) {
        let cluster = Cluster::on(backend).workers(["web-1"]).server_argument(POLL).start().await;
        let tasks = Missing::create(&cluster).await;
        cluster.server().kill();
        let down = now();
        passed(down, DARK).await;
        cluster.server().restart().await;
        for task in &tasks {
            task.check(&cluster, down).await;
        }
    }
}

#[cfg(feature = "services")]
#[tokio::test]
async fn what_was_missed_while_the_queue_was_away_is_caught_up_as_the_task_says() {
    use marabunta_tests::support::Backend;
    let options = Cluster::on(Backend::MariaDbRedis).own_services().servers(2);
    let cluster = options.workers(["web-1"]).server_argument(POLL).start().await;
    let tasks = Missing::create(&cluster).await;
    cluster.redis().kill();
    let down = now();
    passed(down, DARK).await;
    cluster.redis().restart().await;
    for task in &tasks {
        task.check(&cluster, down).await;
    }
}

/// With so short a poll, half of the darkness has been queued ahead, and half was never planned.
const POLL: &str = "--poll-interval=1s";

/// What was planned and not yet queued when all went is found by the reconciler's round, within about a minute.
const ROUND: Duration = Duration::from_secs(150);

/// How many ticks are missed, one each second.
const DARK: i64 = 12;

/// Waits until so many seconds have passed: what is to pass is time itself.
async fn passed(since: i64, seconds: i64) {
    eventually("it is late enough", async || {
        anyhow::ensure!(now() >= since + seconds, "not yet");
        Ok(())
    })
    .await;
}

/// A task that fires each second, and what it does about those that were missed.
struct Missing {
    name: &'static str,
    journal: Journal,
    /// How many of them take place, at the least and at the most. Servers need a moment to come back, and the latest may be of that moment.
    fired: RangeInclusive<usize>,
    /// What those that do not take place say.
    reason: &'static str,
}

impl Missing {
    async fn create(cluster: &Cluster) -> Vec<Self> {
        let table: [(_, &[&str], _, _); 5] = [
            ("none", &["--catch-up", "none"], 0..=0, "catch-up"),
            ("latest", &[], 0..=1, "catch-up"),
            ("two", &["--catch-up", "all:2"], 0..=2, "catch-up"),
            ("all", &["--catch-up", "all"], 4..=10, "catch-up"),
            ("deadline", &["--catch-up", "all", "--start-deadline", "3s"], 0..=4, ""),
        ];
        let mut tasks = vec![];
        for (name, options, fired, reason) in table {
            let journal = Journal::new();
            create(cluster, name, &[&["--when", OFTEN], options].concat(), &journal.noting(":")).await;
            tasks.push(Self { name, journal, fired, reason });
        }
        for task in &tasks {
            task.journal.noted("end", 1).await;
        }
        tasks
    }

    /// Every single tick is recorded, from the first second of the darkness on.
    async fn check(&self, cluster: &Cluster, down: i64) {
        let name = self.name;
        let before = self.journal.runs("end").len();
        self.journal.noted("end", before + 3).await;
        let missed = eventually_within(ROUND, "every missed tick has ended", async || {
            let mut all = runs(cluster, name, &[]).await;
            all.retain(|run| (down + 1..=down + DARK).contains(&due(run)));
            let open = all.iter().any(|run| run["state"] != "skipped" && run["state"] != "done");
            anyhow::ensure!(!open && all.len() == DARK as usize, "{name}: {all:#?}");
            Ok(all)
        })
        .await;
        let (skipped, fired): (Vec<_>, Vec<_>) = missed.iter().partition(|run| run["state"] == "skipped");
        assert!(self.fired.contains(&fired.len()), "{name}: {} of {DARK} fired late", fired.len());
        for run in skipped {
            let (id, reason) = (run["id"].as_str().unwrap(), run["error"].as_str().unwrap());
            assert!(reason.starts_with("missed: ") && reason.contains(self.reason), "{name}: {reason}");
            assert_eq!(self.journal.starts(id), 0, "{name}: {run:#}");
        }
        for id in self.journal.runs("start") {
            assert_eq!(self.journal.starts(&id), 1, "{name}");
        }
    }
}

/// Unix time in seconds.
fn now() -> i64 {
    marabunta_server::clock::wall().timestamp()
}

/// When a run was due, in seconds of Unix time.
fn due(run: &Value) -> i64 {
    let due: prost_types::Timestamp = run["due"].as_str().unwrap().parse().unwrap();
    due.seconds
}
