//! Two daemons with one name, each started again whenever the other has taken over: a cloned host. Left alone they would end each other's
//! attempts for ever; so after a few swaps the one that is there stays.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use marabunta_proto::name::Name;
use tokio::time::Instant;

/// What is more than this many swaps within [`WINDOW`] is no change of hosts.
const SWAPS: usize = 3;
const WINDOW: Duration = Duration::from_secs(60);

/// The latest swaps of each name, as this server has seen them: it had, or has, one of the two sessions.
#[derive(Default)]
pub(super) struct Flapping {
    swaps: HashMap<Name, Swaps>,
}

#[derive(Default)]
struct Swaps {
    at: VecDeque<Instant>,
    /// The daemon that stays.
    instance: String,
}

impl Flapping {
    /// Another daemon of this name, `instance`, has taken over. `true`: from now on the name is in quarantine.
    pub fn swapped(&mut self, worker: &Name, instance: &str, now: Instant) -> bool {
        let swaps = self.swaps.entry(worker.clone()).or_default();
        swaps.forget(now);
        swaps.at.push_back(now);
        instance.clone_into(&mut swaps.instance);
        swaps.at.len() == SWAPS + 1
    }

    /// Whether this daemon must stay away for now: the name is in quarantine, and another has it.
    pub fn refuses(&mut self, worker: &Name, instance: &str, now: Instant) -> bool {
        let Some(swaps) = self.swaps.get_mut(worker) else { return false };
        swaps.forget(now);
        swaps.at.len() > SWAPS && swaps.instance != instance
    }

    /// The daemon that stayed has gone: the name is free.
    pub fn left(&mut self, worker: &Name) {
        self.swaps.remove(worker);
    }

    /// Forgets the names that have come to rest.
    pub fn tick(&mut self, now: Instant) {
        self.swaps.retain(|_, swaps| {
            swaps.forget(now);
            !swaps.at.is_empty()
        });
    }
}

impl Swaps {
    fn forget(&mut self, now: Instant) {
        while self.at.front().is_some_and(|at| now.duration_since(*at) >= WINDOW) {
            self.at.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_three_swaps_within_a_minute_the_one_that_is_there_stays() {
        let (mut flapping, worker) = (Flapping::default(), Name::parse_worker("w").unwrap());
        let second = |n| Duration::from_secs(n);
        let start = Instant::now();
        for (at, instance) in [(0, "b"), (10, "a"), (20, "b")] {
            assert!(!flapping.swapped(&worker, instance, start + second(at)), "swap to {instance}");
            assert!(!flapping.refuses(&worker, "a", start + second(at)));
        }
        assert!(flapping.swapped(&worker, "a", start + second(30)), "the fourth is one too many");
        assert!(flapping.refuses(&worker, "b", start + second(31)));
        assert!(!flapping.refuses(&worker, "a", start + second(31)), "it may come back itself");
        assert!(!flapping.refuses(&Name::parse_worker("x").unwrap(), "b", start));
        assert!(!flapping.refuses(&worker, "b", start + second(60)), "the first is a minute ago");
        flapping.tick(start + second(90));
        assert!(flapping.swaps.is_empty());
    }

    #[test]
    fn a_name_whose_daemon_has_gone_is_free() {
        let (mut flapping, worker) = (Flapping::default(), Name::parse_worker("w").unwrap());
        for _ in 0..5 {
            flapping.swapped(&worker, "a", Instant::now());
        }
        assert!(flapping.refuses(&worker, "b", Instant::now()));
        flapping.left(&worker);
        assert!(!flapping.refuses(&worker, "b", Instant::now()));
    }
}
