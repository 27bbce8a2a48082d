//! Waiting until an installation has nothing left to do.

use std::time::Duration;

use anyhow::ensure;
use tokio::time::{Instant, sleep};

use super::records;
use crate::support::Cluster;
use crate::support::metrics::Metrics;

/// How an installation was when it was looked at for the last time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quiet {
    /// How long that took.
    pub waited: Duration,
    /// What was left: open rows, runs in the queue, late writes. Empty: it is quiet.
    pub left: Vec<String>,
}

const PHASES: [&str; 5] = ["delayed", "behind", "ready", "in_flight", "ending"];
/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(200);

impl Quiet {
    /// Waits until no run is open in store and queue and no write is late, but no longer than `patience`.
    pub async fn wait(cluster: &Cluster, patience: Duration) -> Self {
        let began = Instant::now();
        loop {
            let left = match left(cluster).await {
                Ok(left) => left,
                Err(error) => vec![format!("{error:#}")],
            };
            if left.is_empty() || began.elapsed() > patience {
                return Self { waited: began.elapsed(), left };
            }
            sleep(INTERVAL).await;
        }
    }
}

async fn left(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let mut left = Vec::new();
    for (at, server) in cluster.servers().iter().enumerate() {
        let metrics = Metrics::of(server).await?;
        for phase in PHASES {
            let runs = metrics.get(&format!("marabunta_queue_runs{{phase=\"{phase}\"}}"));
            ensure!(!runs.is_nan(), "the queue does not say how many runs it has");
            // The queue is one, whoever tells of it.
            if runs > 0.0 && at == 0 {
                left.push(format!("{runs} runs are {phase} in the queue"));
            }
        }
        let late = metrics.get("marabunta_journal_entries");
        if late > 0.0 {
            left.push(format!("{late} late writes wait on server {at}"));
        }
    }
    let open = records::still_open(&cluster.store()).await?;
    if !open.is_empty() {
        let first = uuid::Uuid::from_u128(open[0]);
        left.push(format!("{} runs are open in the store, {first} among them", open.len()));
    }
    Ok(left)
}
