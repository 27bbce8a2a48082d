//! Attempts: claimed, accepted, settled.

use std::time::Duration;

use tokio::time::Instant;

use super::open::Stage;
use super::state::State;
use crate::queue::{Claim, Claimed, Delivery, EndingCause, SessionId, Settled, Settlement, Step};
use crate::run::{Counters, Fence, RunId};
use marabunta_proto::name::Name;

impl State {
    pub fn claim(&mut self, claim: &Claim, now: Instant) -> Claimed {
        if !self.sessions.is_live(&claim.worker, claim.session) {
            return Claimed { unknown: true, ..Claimed::default() };
        }
        let mut claimed = Claimed::default();
        while claimed.deliveries.len() < claim.max as usize {
            let Some((_, _, run)) = self.ready.get(&claim.place).and_then(|place| place.first().copied())
            else {
                return claimed;
            };
            claimed.deliveries.extend(self.give(run, &claim.worker, claim.session, now));
        }
        claimed.more = self.ready.contains_key(&claim.place);
        claimed
    }

    fn give(&mut self, run: RunId, worker: &Name, session: SessionId, now: Instant) -> Option<Delivery> {
        if self.runs.get(&run)?.is_expired(now) {
            self.end(run, EndingCause::Expired, now);
            return None;
        }
        let fence = self.next_fence(now);
        let mut open = self.take(run)?;
        open.fence = Some(fence);
        open.attempt += 1;
        open.holder = Some((worker.clone(), session));
        let delivery = Delivery { run, fence, attempt: open.attempt, body: open.entry.body.clone() };
        self.settle_in(open, Stage::InFlight { accepted: false });
        Some(delivery)
    }

    pub fn unaccepted(&self, session: &(Name, SessionId)) -> Vec<(RunId, Fence)> {
        let given = self.in_flight.get(&session.0).into_iter().flatten().map(|run| (run, &self.runs[run]));
        given
            .filter(|(_, open)| matches!(open.stage, Stage::InFlight { accepted: false }))
            .filter(|(_, open)| open.holder.as_ref() == Some(session))
            .filter_map(|(run, open)| Some((*run, open.fence?)))
            .collect()
    }

    pub fn accept(&mut self, run: RunId, fence: Fence) -> bool {
        let Some(open) = self.runs.get(&run).filter(|open| open.fence == Some(fence)) else { return false };
        match (open.stage, open.holder.clone()) {
            (Stage::InFlight { .. }, Some((worker, session))) => self.hold(run, fence, worker, session),
            // It went back because the word came late; nobody else has it yet.
            (Stage::Due(_) | Stage::Ready, Some((worker, session)))
                if self.sessions.is_live(&worker, session) =>
            {
                self.hold(run, fence, worker, session);
            }
            _ => return false,
        }
        true
    }

    /// The worker has the run, and has taken charge of it.
    pub fn hold(&mut self, run: RunId, fence: Fence, worker: Name, session: SessionId) {
        let Some(mut open) = self.take(run) else { return };
        self.fence = self.fence.max(fence.0);
        if open.fence < Some(fence) {
            // What gave it was forgotten, and it comes after all attempts that are known.
            open.attempt += 1;
        }
        open.fence = Some(fence);
        open.attempt = open.attempt.max(1);
        open.expires = None;
        open.holder = Some((worker, session));
        self.settle_in(open, Stage::InFlight { accepted: true });
    }

    pub fn settle(&mut self, settlement: Settlement, now: Instant) -> Settled {
        let Some(open) = self.runs.get(&settlement.run) else { return Settled::Unknown };
        if settlement.fence.is_some_and(|fence| !self.is_good(open, fence, now)) {
            return Settled::Stale;
        }
        match settlement.step {
            Step::Again { delay, counters, attempt } => {
                let forgotten = settlement.fence.filter(|fence| open.fence < Some(*fence));
                if !self.again(settlement.run, delay, counters, now) {
                    return Settled::Already;
                }
                if let Some(fence) = forgotten {
                    self.recall(settlement.run, fence, attempt);
                }
            }
            Step::Remove { result } => {
                if open.restored || result.is_some() {
                    self.results.put(settlement.run, result.unwrap_or_default(), now);
                }
                self.remove(settlement.run);
            }
        }
        Settled::Settled
    }

    /// What gave an attempt that has ended was forgotten.
    fn recall(&mut self, run: RunId, fence: Fence, attempt: u32) {
        self.fence = self.fence.max(fence.0);
        let Some(mut open) = self.take(run) else { return };
        open.fence = Some(fence);
        open.attempt = open.attempt.max(attempt);
        if open.counters.unaccepted == 0 {
            open.expires = None;
        }
        let stage = open.stage;
        self.settle_in(open, stage);
    }

    /// Back to its place. One that went back already, with these counters, is where it should be: `false`.
    fn again(&mut self, run: RunId, delay: Duration, counters: Counters, now: Instant) -> bool {
        let Some(open) = self.runs.get_mut(&run) else { return false };
        match open.stage {
            Stage::Missed { .. } => {
                self.release(run, now);
                return true;
            }
            Stage::Behind | Stage::Ending { .. } => return false,
            Stage::Due(_) | Stage::Ready if open.counters == counters => return false,
            Stage::Due(_) | Stage::Ready | Stage::InFlight { .. } => open.counters = counters,
        }
        match open.cancelled {
            true => self.end(run, EndingCause::Cancelled, now),
            false if delay.is_zero() => self.go(run, Stage::Ready),
            false => self.go(run, Stage::Due(now + delay)),
        }
        // Its worker has told of its end, or is lost with it: that it took charge of it may still be on its way here, and is of no account then.
        if counters.unaccepted == 0
            && let Some(open) = self.runs.get_mut(&run)
        {
            open.holder = None;
        }
        true
    }
}
