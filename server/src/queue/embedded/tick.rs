//! What the passing of time does to runs that wait.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::open::Stage;
use super::state::State;
use crate::queue::{Ending, EndingCause, Tick};
use crate::run::RunId;

/// The most of each kind that one tick looks at, so that none holds the lock for long; [`Tick::next`] is zero when there is more.
const BATCH: usize = 500;

impl State {
    pub fn tick(&mut self, now: Instant) -> Tick {
        for run in past(&self.expiry, now) {
            self.end(run, EndingCause::Expired, now);
        }
        for run in past(&self.due, now) {
            self.release(run, now);
        }
        let endings = past(&self.endings, now).into_iter().filter_map(|run| self.offer(run, now)).collect();
        Tick { endings, next: self.next(now) }
    }

    fn offer(&mut self, run: RunId, now: Instant) -> Option<Ending> {
        let open = self.runs.get_mut(&run)?;
        let Stage::Ending { cause, offer } = &mut open.stage else { return None };
        let cause = *cause;
        self.endings.remove(&(*offer, run));
        *offer = now + self.limits.offer;
        self.endings.insert((*offer, run));
        let record = self.record(&self.runs[&run], now);
        Some(Ending { record, cause })
    }
}

fn past(set: &BTreeSet<(Instant, RunId)>, now: Instant) -> Vec<RunId> {
    set.iter().take_while(|(at, _)| *at <= now).take(BATCH).map(|(_, run)| *run).collect()
}
