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
        let mut tick = Tick::default();
        let dark = self.due.first().is_some_and(|(at, _)| *at + self.limits.late <= now);
        for run in past(&self.expiry, now) {
            self.end(run, EndingCause::Expired, now);
        }
        for run in past(&self.due, now) {
            if let Some(until) = self.unsure.holds(run, now) {
                self.go(run, Stage::Due(until));
                continue;
            }
            let late = self.runs[&run].late(now);
            if self.runs[&run].is_missed(dark) {
                self.go(run, Stage::Missed { offer: now });
            } else {
                self.release(run, now);
                tick.released.push(late);
            }
        }
        for run in past(&self.endings, now) {
            self.offer(run, now, &mut tick);
        }
        tick.next = self.next(now);
        tick
    }

    fn offer(&mut self, run: RunId, now: Instant, tick: &mut Tick) {
        let Some(open) = self.runs.get_mut(&run) else { return };
        let (Stage::Ending { offer, .. } | Stage::Missed { offer }) = &mut open.stage else { return };
        self.endings.remove(&(*offer, run));
        *offer = now + self.limits.offer;
        self.endings.insert((*offer, run));
        let open = &self.runs[&run];
        let record = self.record(open, now);
        match open.stage {
            Stage::Ending { cause, .. } => tick.endings.push(Ending { record, cause }),
            _ => tick.missed.push(record),
        }
    }
}

fn past(set: &BTreeSet<(Instant, RunId)>, now: Instant) -> Vec<RunId> {
    set.iter().take_while(|(at, _)| *at <= now).take(BATCH).map(|(_, run)| *run).collect()
}
