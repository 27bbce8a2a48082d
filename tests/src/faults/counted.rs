//! What servers and workers say of themselves at the end, to be held against what is known otherwise.

use std::collections::BTreeMap;

use crate::support::Cluster;
use crate::support::eventually;
use crate::support::metrics::Metrics;

/// What the servers count since each was started, all together, and what the logs hold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    /// Runs ended as `error(lost)`.
    pub lost: f64,
    /// Panics, each in words: there must be none.
    pub panics: Vec<String>,
}

const ENDED: &str = "marabunta_runs_ended_total";
const LOST: &str = "reason=\"lost\",state=\"error\"";
const PANICS: &str = "marabunta_panics_total";
/// What the standard library and the servers' own logs say of one.
const WORD: &str = "panicked";
/// How many of them are told.
const SHOWN: usize = 5;

impl Counted {
    /// `logs` are those of the servers.
    pub async fn of(cluster: &Cluster, logs: &[String]) -> Self {
        let metrics =
            eventually("all servers tell what they count", async || Metrics::sum(cluster.servers()).await);
        let metrics = metrics.await;
        let lost = metrics.counted(ENDED).get(LOST).copied().unwrap_or_default();
        let servers = logs.iter().enumerate().map(|(at, log)| (format!("server {at}"), log.clone()));
        let workers =
            cluster.workers().iter().map(|worker| (format!("worker {}", worker.name()), worker.log()));
        let mut panics = panics_counted(&metrics.counted(PANICS));
        panics.extend(servers.chain(workers).flat_map(|(who, log)| panics_logged(&who, &log)).take(SHOWN));
        Self { lost, panics }
    }
}

fn panics_counted(counted: &BTreeMap<&str, f64>) -> Vec<String> {
    counted.iter().map(|(at, panics)| format!("the servers count {panics} panics at {at}")).collect()
}

fn panics_logged(who: &str, log: &str) -> Vec<String> {
    let lines = log.lines().filter(|line| line.contains(WORD));
    lines.map(|line| format!("the log of {who} says: {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_where_it_is_counted_and_where_it_is_logged() {
        assert!(panics_counted(&BTreeMap::new()).is_empty());
        assert_eq!(panics_counted(&BTreeMap::from([("where=\"reaper\"", 2.0)])).len(), 1);
        assert!(panics_logged("server 0", "INFO started\nWARN not ready\n").is_empty());
        let log = "INFO started\nERROR panicked: no more place=a.rs:1\n";
        assert_eq!(
            panics_logged("server 0", log),
            ["the log of server 0 says: ERROR panicked: no more place=a.rs:1"]
        );
    }
}
