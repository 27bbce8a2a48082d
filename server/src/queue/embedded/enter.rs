//! How runs enter: from a submitter or a schedule, and from the store after everything was lost.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use super::open::{Open, Stage};
use super::state::State;
use crate::queue::{Admission, Entry, Restored, SessionId};
use crate::run::{Key, Place, RunId};

/// Idempotency keys that were used, each for a while.
pub(super) struct Keys {
    keep: Duration,
    used: HashMap<String, (RunId, [u8; 16])>,
    /// By age: when each goes.
    ages: VecDeque<(Instant, String)>,
}

impl Keys {
    pub fn new(keep: Duration) -> Self {
        Self { keep, used: HashMap::new(), ages: VecDeque::new() }
    }

    fn get(&mut self, key: &str, now: Instant) -> Option<(RunId, [u8; 16])> {
        while self.ages.front().is_some_and(|(until, _)| *until <= now) {
            if let Some((_, old)) = self.ages.pop_front() {
                self.used.remove(&old);
            }
        }
        self.used.get(key).copied()
    }

    fn put(&mut self, key: &Key, run: RunId, now: Instant) {
        if self.get(&key.text, now).is_none() {
            self.used.insert(key.text.clone(), (run, key.request));
            self.ages.push_back((now + self.keep, key.text.clone()));
        }
    }
}

impl State {
    pub fn enqueue(&mut self, entry: Entry, now: Instant) -> Admission {
        let run = entry.run;
        if self.runs.contains_key(&run) || self.results.has(run, now) {
            return Admission::Duplicate;
        }
        if let Some(key) = &entry.key
            && let Some((first, request)) = self.keys.get(&key.text, now)
        {
            return match first == run {
                true => Admission::Duplicate,
                false => Admission::Repeated { run: first, same: request == key.request },
            };
        }
        if self.is_full(&entry) {
            return Admission::Full;
        }
        if let Some(key) = &entry.key {
            self.keys.put(key, run, now);
        }
        self.enter(Open::new(entry, now), now);
        Admission::Queued
    }

    /// Enters runs of the store again; those that have a slot by right go before those that must ask.
    pub fn restore(&mut self, mut runs: Vec<Restored>, now: Instant) -> usize {
        runs.sort_by_key(|run| (run.held.is_none(), run.attempt == 0));
        let mut entered = 0;
        for restored in runs {
            let run = restored.entry.run;
            // One that has ended without a result is for the store to know.
            if !self.runs.contains_key(&run) && self.results.get(run, now).is_none() {
                self.restore_one(restored, now);
                entered += 1;
            }
        }
        entered
    }

    fn restore_one(&mut self, restored: Restored, now: Instant) {
        let run = restored.entry.run;
        if let Some(key) = &restored.entry.key {
            self.keys.put(key, run, now);
        }
        self.fence = self.fence.max(restored.fence.map_or(0, |fence| fence.0));
        let mut open = Open::new(restored.entry, now);
        open.counters = restored.counters;
        open.attempt = restored.attempt;
        open.fence = restored.fence;
        open.missed = restored.missed;
        open.restored = true;
        if (open.attempt > 0 || restored.held.is_some())
            && let Some((_, slot)) = open.slot()
        {
            self.has_slot(run, &slot);
        }
        if restored.unsure {
            self.unsure.add(run, now + self.limits.life);
        }
        match restored.held {
            None => {
                // A live worker may have what waits for it.
                if let Place::Worker(worker) = open.entry.place.clone()
                    && open.entry.delay.is_zero()
                    && self.sessions.live(&worker).is_some()
                {
                    self.sessions.expect_back(&worker, now + self.limits.life);
                }
                self.enter(open, now);
            }
            Some(worker) => {
                self.sessions.expect_back(&worker, now + self.limits.life);
                open.expires = None;
                open.holder = Some((worker, SessionId::NONE));
                self.settle_in(open, Stage::InFlight { accepted: true });
            }
        }
    }

    fn enter(&mut self, open: Open, now: Instant) {
        let (run, delay, due) = (open.entry.run, open.entry.delay, open.stage);
        self.runs.insert(run, open);
        match delay.is_zero() {
            true => self.release(run, now),
            false => self.go(run, due),
        }
    }

    fn is_full(&self, entry: &Entry) -> bool {
        let most = self.limits.waiting;
        let waiting = self.ready.get(&entry.place).is_some_and(|place| place.len() >= most);
        waiting
            || entry
                .overlap
                .as_ref()
                .is_some_and(|(_, key)| self.slots.get(key).is_some_and(|line| line.waiters.len() >= most))
    }
}
