//! Who is connected, what each holds, and where there may be work: the state by which the owner decides. No I/O, no clock of its own.

mod live;
mod places;

use std::collections::HashMap;
use std::time::Duration;

use marabunta_proto::name::Name;
use marabunta_proto::selector::Traits;
use tokio::time::Instant;

pub(super) use live::Live;
use places::Places;

use super::{FromWorker, Started};
use crate::queue::{Claim, Claimed, Delivery, Session, SessionId};
use crate::run::{Fence, Lease, Place, RunId};

/// An assignment that was not accepted for this long goes back to the queue.
const ACCEPT: Duration = Duration::from_secs(5);
/// How many sessions claim from the same `any(..)` place in one round, and how much each at the most: small, so that workers and servers
/// share what there is.
const ANY_SESSIONS: usize = 64;
const ANY_BATCH: u32 = 16;
/// How much one session claims from its own place in one round.
const OWN_BATCH: u32 = 500;

/// The sessions of this server, one per worker.
#[derive(Default)]
pub(super) struct Board {
    live: HashMap<Name, Live>,
    places: Places,
    round: u64,
}

/// What a claim brought to a session that is still there, or gave to one that is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Brought {
    Assign {
        session: SessionId,
        worker: Name,
        deliveries: Vec<Delivery>,
    },
    /// Back to the queue at once.
    Return {
        worker: Name,
        deliveries: Vec<Delivery>,
    },
}

impl Board {
    /// Puts a session on the board in the place of the worker's former one, which is returned, with what its worker holds by right. Its own place
    /// and all that it matches may have work.
    pub fn open(
        &mut self,
        session: Session,
        traits: Traits,
        credit: u64,
        draining: bool,
        holding: Vec<Lease>,
        now: Instant,
    ) -> Option<Live> {
        let worker = session.worker.clone();
        self.places.add(&worker, &traits);
        let live = Live::new(session, traits, credit, draining, holding, now);
        let former = self.live.insert(worker.clone(), live);
        self.hungry(&worker);
        former
    }

    /// Takes the session off the board, if it is the one that is there.
    pub fn close(&mut self, worker: &Name, session: SessionId) -> Option<Live> {
        self.get(worker, session)?;
        self.places.remove(worker);
        self.live.remove(worker)
    }

    /// The session, if it is the one that is there.
    pub fn get(&mut self, worker: &Name, session: SessionId) -> Option<&mut Live> {
        self.live.get_mut(worker).filter(|live| live.session.id == session)
    }

    /// The worker's session, whichever it is.
    pub fn find(&mut self, worker: &Name) -> Option<&mut Live> {
        self.live.get_mut(worker)
    }

    /// All of them.
    pub fn sessions(&self) -> impl Iterator<Item = &Live> {
        self.live.values()
    }

    /// The queue knows this worker's session again: hints of the time when it did not were in vain.
    pub fn reopened(&mut self, worker: &Name) {
        self.places.again(worker);
    }

    /// What of these, that the worker says have ended, the queue was told that the worker holds.
    pub fn untell(&mut self, worker: &Name, session: SessionId, ended: &[Lease]) -> Vec<Lease> {
        self.get(worker, session).map_or_else(Vec::new, |live| live.untell(ended))
    }

    /// There may be work in this place.
    pub fn ready(&mut self, place: Place) {
        let live = &self.live;
        self.places.ready(place, || live.values().map(|live| (&live.session.worker, &live.traits)));
    }

    /// There may be work anywhere: in these `any(..)` places, and in each worker's own. Selectors that are not among them are forgotten.
    pub fn sweep(&mut self, selectors: Vec<Place>) {
        self.places.keep(&selectors);
        for place in selectors {
            self.ready(place);
        }
        let own: Vec<_> = self.live.keys().cloned().map(Place::Worker).collect();
        for place in own {
            self.ready(place);
        }
    }

    /// What the worker said changes what it holds and may take; the attempts that it took charge of just now are returned.
    pub fn said(&mut self, worker: &Name, session: SessionId, message: &FromWorker) -> Vec<Started> {
        let Some(live) = self.get(worker, session) else { return Vec::new() };
        match message {
            FromWorker::Accepted(leases) => leases
                .iter()
                .filter(|lease| live.accepted(lease))
                .map(|lease| started(worker, lease))
                .collect(),
            FromWorker::Credit { total, ended } => {
                live.credit(*total, ended);
                self.hungry(worker);
                Vec::new()
            }
            FromWorker::Heartbeat(_) => Vec::new(),
        }
    }

    /// No more, or again, work for this worker.
    pub fn drain(&mut self, worker: &Name, draining: bool) {
        if let Some(live) = self.live.get_mut(worker) {
            live.draining = draining;
            self.hungry(worker);
        }
    }

    /// What to claim now: at most one claim per session at a time. Each must be answered with [`Board::claimed`].
    pub fn claims(&mut self) -> Vec<Claim> {
        self.round += 1;
        let mut claims = Vec::new();
        // A worker's own place and the ones that it shares take turns at being first.
        for own in if self.round.is_multiple_of(2) { [true, false] } else { [false, true] } {
            if own { self.claim_own(&mut claims) } else { self.claim_any(&mut claims) }
        }
        claims
    }

    fn claim_own(&mut self, claims: &mut Vec<Claim>) {
        for worker in self.places.take_own() {
            let Some(live) = self.live.get_mut(&worker) else { continue };
            match live.claim(|| Place::Worker(worker.clone()), OWN_BATCH) {
                Some(claim) => claims.push(claim),
                None => self.places.block_own(worker),
            }
        }
    }

    fn claim_any(&mut self, claims: &mut Vec<Claim>) {
        let live = &mut self.live;
        self.places.take_any(self.round, |selector, workers| {
            let before = claims.len();
            let able = workers
                .filter_map(|worker| live.get_mut(worker)?.claim(|| Place::Any(selector.clone()), ANY_BATCH));
            claims.extend(able.take(ANY_SESSIONS));
            claims.len() > before
        });
    }

    /// What the claim brought, if it brought anything. `None`: the call failed, and what it may have taken is asked for.
    pub fn claimed(&mut self, claim: &Claim, claimed: Option<Claimed>, now: Instant) -> Option<Brought> {
        let Claimed { deliveries, more, unknown: _ } = claimed.unwrap_or_default();
        if more {
            self.ready(claim.place.clone());
        }
        let worker = claim.worker.clone();
        let brought = match self.get(&claim.worker, claim.session) {
            Some(live) => {
                live.claimed(&deliveries, now);
                self.hungry(&claim.worker);
                Brought::Assign { session: claim.session, worker, deliveries }
            }
            None => Brought::Return { worker, deliveries },
        };
        match &brought {
            Brought::Assign { deliveries, .. } | Brought::Return { deliveries, .. }
                if deliveries.is_empty() =>
            {
                None
            }
            _ => Some(brought),
        }
    }

    /// Nobody was heard for so long: what was sent gets it on top of the time to be accepted.
    pub fn spare(&mut self, late: Duration) {
        self.live.values_mut().for_each(|live| live.spare(late));
    }

    /// Assignments that were not accepted in time, taken off the board.
    pub fn unaccepted(&mut self, now: Instant) -> Vec<(Name, Lease)> {
        let overdue = now.checked_sub(ACCEPT);
        let mut found = Vec::new();
        for (worker, live) in &mut self.live {
            found.extend(live.unaccepted(overdue).into_iter().map(|lease| (worker.clone(), lease)));
        }
        found
    }

    /// The lease by which the worker holds this attempt, if it does.
    pub fn lease(&self, worker: &Name, run: RunId, fence: Fence) -> Option<(SessionId, Lease)> {
        let live = self.live.get(worker)?;
        Some((live.session.id, live.lease(run).filter(|lease| lease.fence == fence)?))
    }

    /// If the session can take work, the places where it was missed are looked at again.
    fn hungry(&mut self, worker: &Name) {
        if self.live.get(worker).is_some_and(|live| live.free() > 0) {
            self.places.unblock(worker);
        }
    }
}

fn started(worker: &Name, lease: &Lease) -> Started {
    Started { run: lease.run, fence: lease.fence, attempt: lease.attempt, worker: worker.clone() }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
