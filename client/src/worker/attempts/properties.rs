//! Whatever a server sends in whatever order: no run is executed twice at once or again after its end, every lease that was accepted is
//! held until it is settled, and nothing is kept for ever.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::tests::given;
use super::*;

// The crate of the tests stands above this one, so its source is used and not the crate.
#[path = "../../../../tests/src/support/seeded.rs"]
mod seeded;

const RUNS: [&str; 3] = ["a", "b", "c"];
const SLOTS: usize = 2;

#[derive(Debug, Clone, Copy)]
enum Operation {
    /// A new attempt of a run is given.
    Assign {
        run: u8,
    },
    /// One is given once more.
    Repeat {
        run: u8,
    },
    /// What executes ends.
    End {
        executing: u8,
    },
    /// The server says what it makes of an end; or of messages, and then only that they are stale.
    Judge {
        reported: u8,
        verdict: u8,
    },
    Cancel {
        lease: u8,
    },
    Abandon {
        lease: u8,
    },
    Drain,
}

fn operation() -> impl Strategy<Value = Operation> {
    use Operation::*;
    let number = any::<u8>;
    prop_oneof![
        8 => number().prop_map(|run| Assign { run }),
        2 => number().prop_map(|run| Repeat { run }),
        6 => number().prop_map(|executing| End { executing }),
        8 => (number(), number()).prop_map(|(reported, verdict)| Judge { reported, verdict }),
        2 => number().prop_map(|lease| Cancel { lease }),
        2 => number().prop_map(|lease| Abandon { lease }),
        1 => Just(Drain),
    ]
}

#[test]
fn attempts_keep_their_promises() {
    seeded::check(1000, &prop::collection::vec(operation(), 1..100), |operations| {
        let mut world = World::new();
        operations.into_iter().for_each(|operation| world.step(operation));
        world.come_to_rest();
    });
}

/// The attempts, and the daemon and the reporter around them.
struct World {
    attempts: Attempts,
    /// The number of the latest attempt of each run.
    given: BTreeMap<&'static str, u32>,
    /// What executes, and of which run.
    executing: BTreeMap<Key, String>,
    /// What of it was told to stop without a report.
    abandoned: BTreeSet<Key>,
    /// What the reporter knows: under which lease each is reported, and whether its end is among it.
    reporter: BTreeMap<Key, (Lease, bool)>,
    accepted: BTreeSet<Lease>,
}

impl World {
    fn new() -> Self {
        let (given, executing, abandoned, reporter, accepted) = Default::default();
        let attempts = Attempts::new(SLOTS, 2, Key(1));
        Self { attempts, given, executing, abandoned, reporter, accepted }
    }

    fn step(&mut self, operation: Operation) {
        match operation {
            Operation::Assign { run } => {
                let run = RUNS[usize::from(run) % RUNS.len()];
                let attempt = self.given.entry(run).and_modify(|attempt| *attempt += 1).or_insert(1);
                let actions = self.attempts.assign(given(&format!("{run}/{attempt}")));
                self.act(actions);
            }
            Operation::Repeat { run } => {
                if let Some((run, attempt)) = choose(self.given.iter(), run) {
                    let actions = self.attempts.assign(given(&format!("{run}/{attempt}")));
                    self.act(actions);
                }
            }
            Operation::End { executing } => {
                if let Some(key) = choose(self.executing.keys(), executing).copied() {
                    self.end(key);
                }
            }
            Operation::Judge { reported, verdict } => {
                let Some((&key, (lease, ended))) = choose(self.reporter.iter(), reported) else { return };
                let verdict = match verdict % 4 {
                    0 => Verdict::Stale,
                    _ if !ended => Verdict::Retry,
                    1 | 2 => Verdict::Recorded,
                    _ => Verdict::Invalid,
                };
                self.judge(key, lease.clone(), verdict);
            }
            Operation::Cancel { lease } => {
                if let Some(lease) = choose(self.accepted.iter(), lease).cloned() {
                    let actions = self.attempts.cancel(&lease);
                    self.act(actions);
                }
            }
            Operation::Abandon { lease } => {
                if let Some(lease) = choose(self.accepted.iter(), lease).cloned() {
                    let actions = self.attempts.abandon(&lease);
                    self.act(actions);
                }
            }
            Operation::Drain => {
                let actions = self.attempts.drain();
                self.act(actions);
            }
        }
        self.check();
    }

    fn end(&mut self, key: Key) {
        self.executing.remove(&key);
        if !self.abandoned.remove(&key)
            && let Some((_, ended)) = self.reporter.get_mut(&key)
        {
            *ended = true;
        }
        let actions = self.attempts.ended(key);
        self.act(actions);
    }

    fn judge(&mut self, key: Key, lease: Lease, verdict: Verdict) {
        let actions = self.attempts.judged(key, &lease, verdict);
        self.act(actions);
    }

    fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Open { key, lease, .. } => {
                    assert!(self.reporter.insert(key, (lease, false)).is_none(), "{key:?} is new");
                }
                Action::Relet { key, lease } => {
                    self.reporter.get_mut(&key).expect("it is reported of").0 = lease;
                }
                Action::Accept(lease) => _ = self.accepted.insert(lease),
                Action::Start(key, assignment) => {
                    let twice = self.executing.values().any(|run| *run == assignment.run);
                    assert!(!twice, "{} is executed twice at once", assignment.run);
                    assert_eq!(self.reporter[&key], (assignment.lease, false), "it was not executed before");
                    self.executing.insert(key, assignment.run);
                    assert!(self.executing.len() <= SLOTS);
                }
                Action::Stop(key, why) => {
                    assert!(self.executing.contains_key(&key), "{key:?} executes");
                    if why == Stop::Abandon {
                        self.abandoned.insert(key);
                    } else {
                        assert!(!self.abandoned.contains(&key), "the stronger reason stays");
                    }
                }
                Action::Drop(key, _) => {
                    let (_, ended) = self.reporter.get_mut(&key).expect("it is reported of");
                    assert!(!std::mem::replace(ended, true) && !self.executing.contains_key(&key));
                }
                Action::Settled(_) => {}
                Action::Forget(key) => _ = self.reporter.remove(&key),
            }
        }
    }

    fn check(&mut self) {
        let holding: BTreeSet<Lease> = self.attempts.holding().into_iter().collect();
        for (key, (lease, ended)) in &self.reporter {
            if !self.abandoned.contains(key) {
                assert!(holding.contains(lease), "{lease:?} is reported on and not held (ended: {ended})");
            }
        }
        assert!(
            self.attempts.busy()
                >= self.executing.keys().filter(|key| self.reporter.contains_key(key)).count()
        );
        assert!(self.attempts.free() as usize <= SLOTS + 2);
    }

    /// What executes ends, what is reported is recorded: nothing is left.
    fn come_to_rest(&mut self) {
        for _ in 0..1000 {
            if let Some(key) = self.executing.keys().next().copied() {
                self.end(key);
            } else if let Some((&key, (lease, true))) = self.reporter.iter().find(|(_, (_, ended))| *ended) {
                let lease = lease.clone();
                self.judge(key, lease, Verdict::Recorded);
            } else {
                break;
            }
        }
        assert_eq!((self.attempts.busy(), self.attempts.holding()), (0, vec![]), "{:?}", self.attempts);
        assert!(self.reporter.is_empty(), "{:?}", self.reporter);
    }
}

fn choose<T>(mut list: impl ExactSizeIterator<Item = T>, at: u8) -> Option<T> {
    let at = usize::from(at).checked_rem(list.len())?;
    list.nth(at)
}
