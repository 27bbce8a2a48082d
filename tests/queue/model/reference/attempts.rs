//! Attempts: claimed, accepted, settled.

use marabunta_proto::name::Name;
use marabunta_server::queue::{Claim, EndingCause, SessionId, Settled, Settlement, Step};
use marabunta_server::run::{Fence, RunId};

use super::{Moment, Run, Shard, Stage, Uncertain};

impl Shard {
    /// Who is given out, and whether there is more. Fences are not foretold: see [`Shard::given`].
    ///
    /// `refill`: in the place of one that turns out to have expired another is taken; both are allowed.
    pub fn claim(
        &mut self,
        claim: &Claim,
        refill: bool,
        now: Moment,
    ) -> Result<(Vec<RunId>, bool), Uncertain> {
        let mut given = Vec::new();
        if !self.is_live(&claim.worker, claim.session) {
            return Ok((given, false));
        }
        let ready = self.ready(&claim.place);
        let mut seen = 0;
        for run in &ready {
            if given.len() == claim.max as usize || !refill && seen == claim.max {
                break;
            }
            seen += 1;
            let open = self.runs.get_mut(run).expect("it is ready");
            if open.expires.map_or(Ok(false), |at| self.clock.is_past(at, now))? {
                open.stage = Stage::Ending { cause: EndingCause::Expired, offer: now };
                continue;
            }
            open.attempt += 1;
            open.holder = Some((claim.worker.clone(), claim.session));
            open.stage = Stage::InFlight { accepted: false };
            given.push(*run);
        }
        Ok((given, ready.len() > seen as usize))
    }

    /// The fence that a run was given, which is higher than any before.
    pub fn given(&mut self, run: RunId, fence: Fence) {
        assert!(fence.0 > self.fence, "fences grow: {fence:?} after {} for {run}", self.fence);
        self.fence = fence.0;
        self.runs.get_mut(&run).expect("it was given out").fence = fence.0;
    }

    pub fn accept(&mut self, run: RunId, fence: Fence) -> bool {
        let Some(open) = self.runs.get(&run).filter(|open| open.fence == fence.0) else { return false };
        let Some((worker, session)) = open.holder.clone() else { return false };
        let good = match open.stage {
            Stage::InFlight { .. } => true,
            // It went back because the word came late; nobody else has it.
            Stage::Due(_) | Stage::Ready => self.is_live(&worker, session),
            Stage::Behind | Stage::Ending { .. } | Stage::Missed { .. } => false,
        };
        if good {
            self.hold(run, fence, worker, session);
        }
        good
    }

    pub(super) fn hold(&mut self, run: RunId, fence: Fence, worker: Name, session: SessionId) {
        self.fence = self.fence.max(fence.0);
        let open = self.runs.get_mut(&run).expect("it is open");
        if open.fence < fence.0 {
            open.attempt += 1;
        }
        open.fence = fence.0;
        open.attempt = open.attempt.max(1);
        open.expires = None;
        open.holder = Some((worker, session));
        open.stage = Stage::InFlight { accepted: true };
    }

    pub fn settle(&mut self, settlement: &Settlement, now: Moment) -> Settled {
        let run = settlement.run;
        let Some(open) = self.runs.get_mut(&run) else { return Settled::Unknown };
        if settlement.fence.is_some_and(|fence| fence.0 < open.fence) {
            return Settled::Stale;
        }
        match &settlement.step {
            Step::Remove { result } => {
                let restored = open.restored;
                self.remove(run);
                if result.is_some() || restored {
                    self.results.insert(run, result.is_some());
                }
            }
            Step::Again { delay, counters, attempt } => match open.stage {
                Stage::Missed { .. } => {
                    self.fence = self.fence.max(open.recall(settlement.fence, *attempt));
                    self.release(run, now);
                }
                Stage::Behind | Stage::Ending { .. } => return Settled::Already,
                Stage::Due(_) | Stage::Ready if open.counters == *counters => return Settled::Already,
                Stage::Due(_) | Stage::Ready | Stage::InFlight { .. } => {
                    open.counters = *counters;
                    self.fence = self.fence.max(open.recall(settlement.fence, *attempt));
                    let stage = match open.cancelled {
                        true => Stage::Ending { cause: EndingCause::Cancelled, offer: now },
                        false if delay.is_zero() => Stage::Ready,
                        false => Stage::Due(now.after(*delay)),
                    };
                    if counters.unaccepted == 0 {
                        open.holder = None;
                    }
                    self.put(run, stage);
                }
            },
        }
        Settled::Settled
    }
}

impl Run {
    /// What gave an attempt that has ended may have been forgotten. Answers the latest fence.
    fn recall(&mut self, fence: Option<Fence>, attempt: u32) -> u64 {
        if let Some(Fence(fence)) = fence.filter(|fence| fence.0 > self.fence) {
            (self.fence, self.attempt) = (fence, self.attempt.max(attempt));
            self.expires = self.expires.filter(|_| self.counters.unaccepted > 0);
        }
        self.fence
    }
}
