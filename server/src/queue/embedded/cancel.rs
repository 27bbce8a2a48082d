//! Runs that somebody does not want any more.

use tokio::time::Instant;

use super::open::{Open, Stage};
use super::state::State;
use crate::queue::{Cancelled, Ending, EndingCause};
use crate::run::RunId;

impl State {
    pub fn cancel(&mut self, run: RunId, now: Instant) -> Cancelled {
        let Some(open) = self.runs.get(&run) else { return Cancelled::Unknown };
        match open.stage {
            Stage::InFlight { .. } => self.ask_to_cancel(run),
            Stage::Ending { .. } => {}
            Stage::Due(_) | Stage::Behind | Stage::Ready | Stage::Missed { .. } => {
                let offer = now + self.limits.offer;
                self.end(run, EndingCause::Cancelled, offer);
            }
        }
        let open = &self.runs[&run];
        let record = self.record(open, now);
        match open.stage {
            Stage::Ending { cause, .. } => Cancelled::Ending(Ending { record, cause }),
            _ => Cancelled::InFlight(record),
        }
    }

    pub fn withdraw(&mut self, run: RunId) -> bool {
        match self.runs.get(&run) {
            None => true,
            Some(Open { stage: Stage::Missed { .. }, .. }) => self.remove(run).is_some(),
            Some(open) if open.stage.is_waiting() && open.attempt == 0 => self.remove(run).is_some(),
            Some(_) => false,
        }
    }
}
