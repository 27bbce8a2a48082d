//! Results of runs that ended lately.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::run::RunId;

/// Results, each for a while; the oldest go first when there are too many bytes.
pub(super) struct Results {
    keep: Duration,
    kept: HashMap<RunId, Bytes>,
    /// By age: when each goes.
    ages: VecDeque<(Instant, RunId)>,
    bytes: usize,
}

/// What one result costs beside its bytes, about.
const OVERHEAD: usize = 128;

impl Results {
    /// The most memory that results take, in bytes.
    const MOST: usize = 64 << 20;

    pub fn new(keep: Duration) -> Self {
        Self { keep, kept: HashMap::new(), ages: VecDeque::new(), bytes: 0 }
    }

    pub fn put(&mut self, run: RunId, result: Bytes, now: Instant) {
        self.bytes += result.len() + OVERHEAD;
        if let Some(earlier) = self.kept.insert(run, result) {
            self.bytes -= earlier.len() + OVERHEAD;
        } else {
            self.ages.push_back((now + self.keep, run));
        }
        self.forget(now);
    }

    pub fn get(&mut self, run: RunId, now: Instant) -> Option<Bytes> {
        self.forget(now);
        self.kept.get(&run).filter(|result| !result.is_empty()).cloned()
    }

    /// Whether it has ended lately; without a result, perhaps.
    pub fn has(&mut self, run: RunId, now: Instant) -> bool {
        self.forget(now);
        self.kept.contains_key(&run)
    }

    fn forget(&mut self, now: Instant) {
        while let Some((until, run)) = self.ages.front().copied()
            && (until <= now || self.bytes > Self::MOST)
        {
            self.ages.pop_front();
            if let Some(result) = self.kept.remove(&run) {
                self.bytes -= result.len() + OVERHEAD;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_results_go_when_there_are_too_many_bytes() {
        let now = Instant::from_std(std::time::Instant::now());
        let mut results = Results::new(Duration::from_secs(3600));
        let runs: Vec<_> = (0..20).map(|_| RunId::new(crate::clock::wall(), 0)).collect();
        for run in &runs {
            results.put(*run, Bytes::from(vec![0; 4 << 20]), now);
        }
        let kept: Vec<_> = runs.iter().map(|run| results.get(*run, now).is_some()).collect();
        assert_eq!(kept.iter().filter(|kept| **kept).count(), 15);
        assert!(kept[5..].iter().all(|kept| *kept), "the newest stay: {kept:?}");
    }
}
