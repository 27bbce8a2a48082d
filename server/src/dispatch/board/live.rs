//! One session on the board: what its worker holds and how much more it may be given.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use marabunta_proto::selector::Traits;
use tokio::time::Instant;

use crate::queue::{Claim, Delivery, Session};
use crate::run::{Durability, Fence, Lease, Place, Run, RunId};

/// The most that a worker may be sent ahead of its latest word on credit, whatever that word is. One that has more slots says it again with each
/// attempt that ends, and so gets the rest.
const MOST_CREDIT: u64 = 10_000;

pub(in crate::dispatch) struct Live {
    pub session: Session,
    pub traits: Traits,
    pub draining: bool,
    /// When it was opened.
    pub since: Instant,
    /// It was told to reconnect.
    pub leaving: bool,
    credit: u64,
    sent: u64,
    /// A claim for it is under way.
    claiming: bool,
    held: HashMap<RunId, Held>,
    /// What the queue was told that the worker holds, when the session was opened or opened again. It may have heard of the end before.
    told: HashSet<(RunId, Fence)>,
}

struct Held {
    fence: Fence,
    attempt: u32,
    durability: Durability,
    /// When it was sent; `None` once it was accepted.
    unaccepted_since: Option<Instant>,
}

impl Live {
    pub fn new(
        session: Session,
        traits: Traits,
        credit: u64,
        draining: bool,
        mut holding: Vec<Lease>,
        now: Instant,
    ) -> Self {
        // Of two attempts of a run the later is held: they are put in by their fences.
        holding.sort_unstable_by_key(|lease| lease.fence);
        let told = holding.iter().map(|lease| (lease.run, lease.fence)).collect();
        let held = holding.into_iter().map(|lease| {
            let Lease { run, fence, attempt, durability, worker: _ } = lease;
            (run, Held { fence, attempt, durability, unaccepted_since: None })
        });
        let held = held.collect();
        let credit = credit.min(MOST_CREDIT);
        Self {
            session,
            traits,
            draining,
            since: now,
            leaving: false,
            credit,
            sent: 0,
            claiming: false,
            held,
            told,
        }
    }

    /// How many assignments it may be sent now.
    pub fn free(&self) -> u64 {
        if self.draining || self.leaving || self.claiming {
            return 0;
        }
        self.credit.saturating_sub(self.sent)
    }

    /// A claim of at most `most` from this place, if it may be sent anything.
    pub fn claim(&mut self, place: impl FnOnce() -> Place, most: u32) -> Option<Claim> {
        let max = u32::try_from(self.free()).unwrap_or(u32::MAX).min(most);
        if max == 0 {
            return None;
        }
        self.claiming = true;
        Some(Claim { place: place(), worker: self.session.worker.clone(), session: self.session.id, max })
    }

    /// The claim under way brought these, which are being sent.
    pub fn claimed(&mut self, deliveries: &[Delivery], now: Instant) {
        self.claiming = false;
        self.sent += deliveries.len() as u64;
        for delivery in deliveries {
            let durability =
                Run::decode(delivery.run, &delivery.body).map_or(Durability::Durable, |run| run.durability);
            let (fence, attempt) = (delivery.fence, delivery.attempt);
            self.held.insert(delivery.run, Held { fence, attempt, durability, unaccepted_since: Some(now) });
        }
    }

    /// The worker took charge of this attempt; `false` when it is not one that waits for that.
    pub fn accepted(&mut self, lease: &Lease) -> bool {
        match self.held.get_mut(&lease.run) {
            Some(held) if held.fence == lease.fence => held.unaccepted_since.take().is_some(),
            _ => false,
        }
    }

    /// All that it holds, which the queue is told now.
    pub fn tell(&mut self) -> Vec<Lease> {
        let holding = self.holding();
        self.told.extend(holding.iter().map(|lease| (lease.run, lease.fence)));
        holding
    }

    /// What of these, that the worker does not hold any more, the queue was told that it does.
    pub fn untell(&mut self, ended: &[Lease]) -> Vec<Lease> {
        ended.iter().filter(|lease| self.told.remove(&(lease.run, lease.fence))).cloned().collect()
    }

    /// The worker may have been sent `total` by now, and no longer holds what has ended. Credit never falls.
    pub fn credit(&mut self, total: u64, ended: &[Lease]) {
        self.credit = self.credit.max(total.min(self.sent + MOST_CREDIT));
        self.take_off(ended);
    }

    /// The worker does not hold these, or holds them by right no longer.
    pub fn take_off(&mut self, leases: &[Lease]) {
        for lease in leases {
            if self.held.get(&lease.run).is_some_and(|held| held.fence == lease.fence) {
                self.held.remove(&lease.run);
            }
        }
    }

    /// What was sent and not accepted yet counts as sent so much later.
    pub fn spare(&mut self, late: Duration) {
        for sent in self.held.values_mut().filter_map(|held| held.unaccepted_since.as_mut()) {
            *sent += late;
        }
    }

    /// Takes off what was sent before `overdue` and not accepted.
    pub fn unaccepted(&mut self, overdue: Option<Instant>) -> Vec<Lease> {
        let late: Vec<_> = self
            .held
            .iter()
            .filter(|(_, held)| {
                held.unaccepted_since.is_some_and(|sent| overdue.is_some_and(|overdue| sent <= overdue))
            })
            .map(|(run, _)| *run)
            .collect();
        late.into_iter().filter_map(|run| self.forget(run)).collect()
    }

    /// Takes this attempt off, if it is held.
    pub fn forget(&mut self, run: RunId) -> Option<Lease> {
        let lease = self.lease(run);
        self.held.remove(&run);
        lease
    }

    /// The lease of this attempt, if it is held.
    pub fn lease(&self, run: RunId) -> Option<Lease> {
        let held = self.held.get(&run)?;
        let worker = self.session.worker.clone();
        Some(Lease { run, fence: held.fence, attempt: held.attempt, durability: held.durability, worker })
    }

    /// All that it was given and has not ended, accepted or not.
    pub fn holding(&self) -> Vec<Lease> {
        self.held.keys().filter_map(|run| self.lease(*run)).collect()
    }
}
