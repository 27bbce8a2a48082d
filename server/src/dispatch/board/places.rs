//! Where there may be work, and which of this server's workers could take it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use marabunta_proto::name::Name;
use marabunta_proto::selector::{Selector, Traits};

use crate::run::Place;

/// A place is ready (to be looked at), blocked (it may have work, but nobody here could take any when it was looked at), or neither.
#[derive(Default)]
pub(super) struct Places {
    own_ready: BTreeSet<Name>,
    own_blocked: HashSet<Name>,
    any: BTreeMap<Selector, Any>,
    matching: HashMap<Name, BTreeSet<Selector>>,
}

#[derive(Default)]
struct Any {
    workers: BTreeSet<Name>,
    ready: bool,
    blocked: bool,
    /// A sweep did not find it though it was blocked.
    missed: bool,
}

impl Places {
    /// A worker has come, perhaps with other traits than before. All that it could take from may have work.
    pub fn add(&mut self, worker: &Name, traits: &Traits) {
        self.remove(worker);
        let mut matching = BTreeSet::new();
        for (selector, any) in &mut self.any {
            if selector.matches(worker, traits) {
                any.workers.insert(worker.clone());
                any.ready = true;
                matching.insert(selector.clone());
            }
        }
        self.matching.insert(worker.clone(), matching);
        self.own_ready.insert(worker.clone());
    }

    /// All that a worker could take from may have work.
    pub fn again(&mut self, worker: &Name) {
        let Some(matching) = self.matching.get(worker) else { return };
        self.own_ready.insert(worker.clone());
        for selector in matching {
            if let Some(any) = self.any.get_mut(selector) {
                any.ready = true;
            }
        }
    }

    /// A worker has gone.
    pub fn remove(&mut self, worker: &Name) {
        for selector in self.matching.remove(worker).unwrap_or_default() {
            if let Some(any) = self.any.get_mut(&selector) {
                any.workers.remove(worker);
            }
        }
        self.own_ready.remove(worker);
        self.own_blocked.remove(worker);
    }

    /// There may be work there. `workers` are all that are connected: a selector never seen is held against each.
    pub fn ready<'a, I>(&mut self, place: Place, workers: impl FnOnce() -> I)
    where
        I: Iterator<Item = (&'a Name, &'a Traits)>,
    {
        match place {
            Place::Worker(worker) => {
                if self.matching.contains_key(&worker) {
                    self.own_ready.insert(worker);
                }
            }
            Place::Any(selector) => {
                if !self.any.contains_key(&selector) {
                    let matching = workers().filter(|(name, traits)| selector.matches(name, traits));
                    let workers: BTreeSet<_> = matching.map(|(name, _)| name.clone()).collect();
                    for worker in &workers {
                        self.matching.entry(worker.clone()).or_default().insert(selector.clone());
                    }
                    self.any.insert(selector.clone(), Any { workers, ..Any::default() });
                }
                if let Some(any) = self.any.get_mut(&selector) {
                    any.ready = true;
                }
            }
        }
    }

    /// Forgets the selectors that are not among these and have nothing to look at. One that is blocked is spared once: its work may have come
    /// after the list was made.
    pub fn keep(&mut self, selectors: &[Place]) {
        let kept: HashSet<&Selector> = selectors
            .iter()
            .filter_map(|place| if let Place::Any(selector) = place { Some(selector) } else { None })
            .collect();
        let gone: Vec<_> = self
            .any
            .iter_mut()
            .filter(|(selector, any)| !any.ready && !kept.contains(selector))
            .filter_map(|(selector, any)| {
                let spared = any.blocked && !std::mem::replace(&mut any.missed, true);
                (!spared).then(|| selector.clone())
            })
            .collect();
        for selector in gone {
            for worker in self.any.remove(&selector).unwrap_or_default().workers {
                if let Some(matching) = self.matching.get_mut(&worker) {
                    matching.remove(&selector);
                }
            }
        }
    }

    /// The workers whose own place is ready; none is any more.
    pub fn take_own(&mut self) -> BTreeSet<Name> {
        std::mem::take(&mut self.own_ready)
    }

    /// The worker cannot take from its own place.
    pub fn block_own(&mut self, worker: Name) {
        self.own_blocked.insert(worker);
    }

    /// Lets `claim` see the `any(..)` places that are ready, each with its workers, starting with another one each round; none is ready any more, and those
    /// are blocked where it says that nobody could take anything.
    pub fn take_any(
        &mut self,
        round: u64,
        mut claim: impl FnMut(&Selector, &mut dyn Iterator<Item = &Name>) -> bool,
    ) {
        for (selector, any) in &mut self.any {
            if std::mem::take(&mut any.ready) {
                let first = usize::try_from(round).unwrap_or(0).checked_rem(any.workers.len()).unwrap_or(0);
                let mut rotated = any.workers.iter().skip(first).chain(any.workers.iter().take(first));
                if !claim(selector, &mut rotated) {
                    (any.blocked, any.missed) = (true, false);
                }
            }
        }
    }

    /// This worker can take work: where it could and nobody was able to, is ready again.
    pub fn unblock(&mut self, worker: &Name) {
        if self.own_blocked.remove(worker) {
            self.own_ready.insert(worker.clone());
        }
        for selector in self.matching.get(worker).into_iter().flatten() {
            if let Some(any) = self.any.get_mut(selector).filter(|any| any.blocked) {
                (any.blocked, any.ready) = (false, true);
            }
        }
    }
}
