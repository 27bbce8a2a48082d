//! Sessions that begin: what the worker holds, against what the queue gave it.

use std::cmp::Reverse;

use tokio::time::Instant;

use super::open::{Open, Stage};
use super::state::State;
use crate::queue::{Hint, Missing, Opened, Session};
use crate::run::{Fence, RunId};

impl State {
    pub fn open(&mut self, session: Session, mut holding: Vec<(RunId, Fence)>, now: Instant) -> Opened {
        // Of two attempts of one run the later counts.
        holding.sort_unstable_by_key(|(_, fence)| Reverse(*fence));
        let mut opened = Opened::default();
        let worker = session.worker.clone();
        opened.superseded = self.sessions.live(&worker).filter(|live| live.id != session.id).cloned();
        if let Some(old) = &opened.superseded {
            let (by, instance) = (session.server.clone(), session.instance.clone());
            self.hints.push(Hint::Superseded { worker: worker.clone(), session: old.id, by, instance });
        }
        let id = session.id;
        let same =
            self.sessions.latest(&worker).filter(|old| old.instance == session.instance).map(|old| old.id);
        self.sessions.open(session, now + self.limits.life);
        self.unsure.connected(now);

        for (run, fence) in holding {
            match self.runs.get(&run) {
                None => opened.unknown.push((run, fence)),
                Some(open) if !self.is_rightful(open, fence, now) => opened.stale.push((run, fence)),
                Some(_) => {
                    self.hold(run, fence, worker.clone(), id);
                    opened.adopted.push(self.record(&self.runs[&run], now));
                }
            }
        }
        let in_flight = self.in_flight.get(&worker).into_iter().flatten();
        opened.missing = in_flight
            .map(|run| &self.runs[run])
            .filter_map(|open| Some((open, open.holder.as_ref().map(|(_, holder)| *holder)?)))
            .filter(|(_, holder)| *holder != id)
            .map(|(open, holder)| Missing {
                record: self.record(open, now),
                begun: open.stage == Stage::InFlight { accepted: true } || same != Some(holder),
            })
            .collect();
        opened
    }

    /// Whether a worker that holds this fence holds the latest attempt.
    fn is_rightful(&self, open: &Open, fence: Fence, now: Instant) -> bool {
        self.is_good(open, fence, now) && !matches!(open.stage, Stage::Ending { .. } | Stage::Missed { .. })
    }

    /// Whether this is the fence of the latest attempt. A later one is right, as what gave it was forgotten; not one that nobody can have given.
    pub fn is_good(&self, open: &Open, fence: Fence, now: Instant) -> bool {
        let later = || fence.is_possible(self.micros(now)) || fence.0 <= self.fence;
        open.fence == Some(fence) || open.fence.is_none_or(|latest| latest < fence) && later()
    }
}
