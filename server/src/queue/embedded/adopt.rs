//! Sessions that begin: what the worker holds, against what the queue gave it.

use tokio::time::Instant;

use super::open::{Open, Stage};
use super::state::State;
use crate::queue::{Hint, Missing, Opened, Session};
use crate::run::{Fence, RunId};

impl State {
    pub fn open(&mut self, session: Session, holding: Vec<(RunId, Fence)>, now: Instant) -> Opened {
        let mut opened = Opened::default();
        let worker = session.worker.clone();
        opened.superseded = self.sessions.live(&worker).filter(|live| live.id != session.id).cloned();
        if let Some(old) = &opened.superseded {
            let (by, instance) = (session.server.clone(), session.instance.clone());
            self.hints.push(Hint::Superseded { worker: worker.clone(), session: old.id, by, instance });
        }
        let id = session.id;
        self.sessions.open(session, now + self.limits.life);
        self.unsure.connected(now);

        for (run, fence) in holding {
            match self.runs.get(&run) {
                None => opened.unknown.push((run, fence)),
                Some(open) if !is_rightful(open, fence) => opened.stale.push((run, fence)),
                Some(_) => {
                    self.hold(run, fence, worker.clone(), id);
                    opened.adopted.push(self.record(&self.runs[&run], now));
                }
            }
        }
        let in_flight = self.in_flight.get(&worker).into_iter().flatten();
        opened.missing = in_flight
            .map(|run| &self.runs[run])
            .filter(|open| open.holder.as_ref().is_some_and(|(_, holder)| *holder != id))
            .map(|open| Missing {
                record: self.record(open, now),
                accepted: open.stage == Stage::InFlight { accepted: true },
            })
            .collect();
        opened
    }
}

/// Whether a worker that holds this fence holds the latest attempt. A fence later than any known is right: what gave it was forgotten.
fn is_rightful(open: &Open, fence: Fence) -> bool {
    open.fence.is_none_or(|latest| latest <= fence)
        && !matches!(open.stage, Stage::Ending { .. } | Stage::Missed { .. })
}
