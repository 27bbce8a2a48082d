//! Whatever comes in whatever order: no session is sent more than its credit, no run that was claimed is forgotten, no work waits beside
//! a session that could take it, and the newer session wins.

use std::collections::{BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::run::{Durability, Overlap, Payload, Policy, Priority, Run};

// The crate of the tests stands above this one, so its source is used and not the crate.
#[path = "../../../../tests/src/support/seeded.rs"]
mod seeded;

const WORKERS: [&str; 3] = ["web-1", "web-2", "db-1"];
const PLACES: [&str; 6] = ["web-1", "web-2", "db-1", "any(role=web)", "any(role=db)", "any"];

#[derive(Debug, Clone, Copy)]
enum Operation {
    Connect {
        worker: u8,
        credit: u8,
    },
    /// The stream of a session ends: of the one that is there, or of one before it.
    Close {
        session: u8,
    },
    /// The worker may be sent so many more.
    Credit {
        worker: u8,
        more: u8,
    },
    Drain {
        worker: u8,
        draining: bool,
    },
    /// Work comes to a place; nobody hears of it, if the hint is lost.
    Arrive {
        place: u8,
        count: u8,
        lost: bool,
    },
    Claim,
    /// A claim is answered; or it has failed.
    Answer {
        claim: u8,
        fails: bool,
    },
    Accept {
        held: u8,
    },
    /// Five seconds pass.
    Pass,
    Sweep,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let number = any::<u8>;
    prop_oneof![
        3 => (number(), 0..6u8).prop_map(|(worker, credit)| Connect { worker, credit }),
        2 => number().prop_map(|session| Close { session }),
        4 => (number(), 0..4u8).prop_map(|(worker, more)| Credit { worker, more }),
        1 => (number(), any::<bool>()).prop_map(|(worker, draining)| Drain { worker, draining }),
        5 => (number(), 1..6u8, prop::bool::weighted(0.2))
            .prop_map(|(place, count, lost)| Arrive { place, count, lost }),
        6 => Just(Claim),
        6 => (number(), prop::bool::weighted(0.1)).prop_map(|(claim, fails)| Answer { claim, fails }),
        3 => number().prop_map(|held| Accept { held }),
        1 => Just(Pass),
        1 => Just(Sweep),
    ]
}

#[test]
fn a_board_keeps_its_promises() {
    seeded::check(400, &prop::collection::vec(operation(), 1..80), |operations| {
        let mut world = World::new();
        operations.into_iter().for_each(|operation| world.step(operation));
        world.come_to_rest();
        world.assert_nobody_waits_in_vain();
        world.lost.clear();
        world.sweep();
        world.come_to_rest();
        world.assert_nobody_waits_in_vain();
        world.assert_no_run_is_forgotten();
    });
}

/// A board, the queue that it claims from, and what its sessions were promised.
struct World {
    board: Board,
    now: Instant,
    /// How many runs are ready in each place, and the number of the latest run.
    waiting: HashMap<Place, u32>,
    latest: u64,
    /// Places of whose work nobody was told.
    lost: HashSet<Place>,
    claims: Vec<Claim>,
    /// Every session that ever was, with its credit and what it was sent.
    sessions: Vec<(Name, SessionId)>,
    credit: HashMap<SessionId, u64>,
    sent: HashMap<SessionId, u64>,
    /// Runs that were assigned to a session: none of them accepted, nor given back.
    unaccepted: HashMap<(RunId, Fence), SessionId>,
}

impl World {
    fn new() -> Self {
        let (board, waiting, latest, lost, claims, sessions, credit, sent, unaccepted) = Default::default();
        Self { board, now: Instant::now(), waiting, latest, lost, claims, sessions, credit, sent, unaccepted }
    }

    fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Connect { worker, credit } => self.connect(name(worker), credit.into()),
            Operation::Close { session } => {
                let Some((worker, id)) = choose(&self.sessions, session).cloned() else { return };
                let is_there = self.board.get(&worker, id).is_some();
                assert_eq!(self.board.close(&worker, id).is_some(), is_there, "only the one that is there");
                // Its runs are the queue's to mind: its grace, or its next Hello.
                self.unaccepted.retain(|_, of| *of != id);
            }
            Operation::Credit { worker, more } => {
                let worker = name(worker);
                let Some(id) = self.board.find(&worker).map(|live| live.session.id) else { return };
                let total = self.credit[&id] + u64::from(more);
                self.credit.insert(id, total);
                self.board.said(&worker, id, &FromWorker::Credit { total, ended: Vec::new() });
            }
            Operation::Drain { worker, draining } => self.board.drain(&name(worker), draining),
            Operation::Arrive { place, count, lost } => self.arrive(place, count, lost),
            Operation::Claim => self.claim(),
            Operation::Answer { claim, fails } => {
                if !self.claims.is_empty() {
                    let claim = self.claims.remove(usize::from(claim) % self.claims.len());
                    self.answer(&claim, fails);
                }
            }
            Operation::Accept { held } => self.accept(held),
            Operation::Pass => self.pass(),
            Operation::Sweep => self.sweep(),
        }
    }

    fn connect(&mut self, worker: Name, credit: u64) {
        let id = SessionId(uuid::Uuid::new_v4());
        let session =
            Session { worker: worker.clone(), id, server: "s".to_owned(), instance: "i".to_owned() };
        let before = self.board.find(&worker).map(|live| live.session.id);
        let former = self.board.open(session, traits(&worker), credit, false, Vec::new(), self.now);
        assert_eq!(former.map(|live| live.session.id), before, "the newer session wins");
        self.unaccepted.retain(|_, of| Some(*of) != before);
        self.sessions.push((worker, id));
        self.credit.insert(id, credit);
    }

    /// The queue tells of a place when it had nothing before.
    fn arrive(&mut self, place: u8, count: u8, lost: bool) {
        let place = Place::parse(PLACES[usize::from(place) % PLACES.len()]).unwrap();
        let waiting = self.waiting.entry(place.clone()).or_default();
        let empty = std::mem::replace(waiting, *waiting + u32::from(count)) == 0;
        match (empty, lost) {
            (true, true) => _ = self.lost.insert(place),
            (true, false) => self.board.ready(place),
            (false, _) => {}
        }
    }

    fn claim(&mut self) {
        for claim in self.board.claims() {
            let live = self.board.get(&claim.worker, claim.session).expect("who claims is there");
            assert!(!live.draining && claim.max > 0);
            assert!(takes(&claim.worker, &claim.place), "{claim:?} is none of its places");
            let sent = self.sent.get(&claim.session).copied().unwrap_or_default();
            assert!(sent + u64::from(claim.max) <= self.credit[&claim.session], "{claim:?} overdraws");
            let busy = self.claims.iter().any(|other| other.session == claim.session);
            assert!(!busy, "one claim of a session at a time");
            self.claims.push(claim);
        }
    }

    fn answer(&mut self, claim: &Claim, fails: bool) {
        if fails {
            assert_eq!(self.board.claimed(claim, None, self.now), None);
            // As the owner does with its next tick.
            return self.board.ready(claim.place.clone());
        }
        self.lost.remove(&claim.place);
        let waiting = self.waiting.entry(claim.place.clone()).or_default();
        let count = claim.max.min(*waiting);
        *waiting -= count;
        let more = *waiting > 0;
        let deliveries: Vec<Delivery> = (0..count).map(|_| self.delivery(&claim.place)).collect();
        let claimed = Claimed { deliveries: deliveries.clone(), more, unknown: false };
        let there = self.board.get(&claim.worker, claim.session).is_some();
        let worker = claim.worker.clone();
        let expected = match (deliveries.is_empty(), there) {
            (true, _) => None,
            (false, true) => {
                *self.sent.entry(claim.session).or_default() += u64::from(count);
                let held = deliveries.iter().map(|one| ((one.run, one.fence), claim.session));
                self.unaccepted.extend(held);
                Some(Brought::Assign { session: claim.session, worker, deliveries })
            }
            (false, false) => {
                // They go back, and are told of if they are alone there.
                let waiting = self.waiting.entry(claim.place.clone()).or_default();
                let empty = std::mem::replace(waiting, *waiting + count) == 0;
                if empty {
                    self.board.ready(claim.place.clone());
                }
                Some(Brought::Return { worker, deliveries })
            }
        };
        assert_eq!(self.board.claimed(claim, Some(claimed), self.now), expected);
    }

    fn accept(&mut self, held: u8) {
        let held: BTreeSet<_> = {
            let at = usize::from(held).checked_rem(self.unaccepted.len());
            at.and_then(|at| self.unaccepted.iter().nth(at))
                .map(|(key, id)| (*key, *id))
                .into_iter()
                .collect()
        };
        for ((run, fence), id) in held {
            let (worker, _) = self.sessions.iter().find(|(_, other)| *other == id).cloned().unwrap();
            let (session, lease) = self.board.lease(&worker, run, fence).expect("it is held");
            assert_eq!(session, id);
            let accepted = FromWorker::Accepted(vec![lease]);
            assert_eq!(self.board.said(&worker, id, &accepted).len(), 1);
            assert!(self.board.said(&worker, id, &accepted).is_empty(), "once");
            self.unaccepted.remove(&(run, fence));
        }
    }

    fn pass(&mut self) {
        self.now += ACCEPT;
        self.assert_no_run_is_forgotten();
    }

    /// All that was not accepted is found, each once, and nothing else.
    fn assert_no_run_is_forgotten(&mut self) {
        let found = self.board.unaccepted(self.now + ACCEPT);
        let found: HashSet<_> = found.into_iter().map(|(_, lease)| (lease.run, lease.fence)).collect();
        let expected: HashSet<_> = self.unaccepted.drain().map(|(key, _)| key).collect();
        assert_eq!(found, expected);
    }

    fn sweep(&mut self) {
        let some = self.waiting.iter().filter(|(_, count)| **count > 0).map(|(place, _)| place.clone());
        let selectors: Vec<Place> = some.filter(|place| matches!(place, Place::Any(_))).collect();
        self.board.sweep(selectors);
        self.lost.clear();
    }

    /// Every claim is answered, until there is none.
    fn come_to_rest(&mut self) {
        for _ in 0..10_000 {
            match self.claims.pop() {
                Some(claim) => self.answer(&claim, false),
                None => self.claim(),
            }
            if self.claims.is_empty() {
                self.claim();
                if self.claims.is_empty() {
                    return;
                }
            }
        }
        panic!("it claims for ever");
    }

    /// No session could take what waits.
    fn assert_nobody_waits_in_vain(&mut self) {
        for (place, count) in &self.waiting {
            let able =
                self.board.sessions().find(|live| live.free() > 0 && takes(&live.session.worker, place));
            let idle = able.map(|live| &live.session.worker);
            assert!(
                *count == 0 || self.lost.contains(place) || idle.is_none(),
                "{count} wait in {place} beside {idle:?}"
            );
        }
    }

    fn delivery(&mut self, place: &Place) -> Delivery {
        self.latest += 1;
        let run = Run {
            id: RunId::new(DateTime::UNIX_EPOCH, 0),
            task: None,
            group: None,
            place: place.clone(),
            handler: "exec".parse().unwrap(),
            payload: Payload::Inline(Bytes::new()),
            priority: Priority::Normal,
            durability: Durability::Fast,
            policy: Policy::default(),
            overlap: Overlap::Allow,
            created: DateTime::UNIX_EPOCH,
            due: DateTime::UNIX_EPOCH,
        };
        Delivery { run: run.id, fence: Fence(self.latest), attempt: 1, body: run.encode().into() }
    }
}

fn name(worker: u8) -> Name {
    WORKERS[usize::from(worker) % WORKERS.len()].parse().unwrap()
}

fn traits(worker: &Name) -> Traits {
    let role = worker.as_str().split('-').next().unwrap();
    Traits { labels: [("role".to_owned(), role.to_owned())].into(), ..Traits::default() }
}

fn takes(worker: &Name, place: &Place) -> bool {
    match place {
        Place::Worker(name) => name == worker,
        Place::Any(selector) => selector.matches(worker, &traits(worker)),
    }
}

fn choose<T>(list: &[T], at: u8) -> Option<&T> {
    list.get(usize::from(at).checked_rem(list.len())?)
}
