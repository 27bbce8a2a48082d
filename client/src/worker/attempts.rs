//! What this worker has in charge, and what to do when something happens to it. All of it is synchronous and pure: the daemon tells
//! what happened and carries out the [`Action`]s it gets back.
//!
//! An attempt is accepted, waits for a slot, runs, ends, and is kept until the server has given a verdict on its end:
//!
//! ```text
//! Assign -> Waiting -> Running -> Ended -> (verdict) forgotten
//!    \-> Behind (an older attempt of the same run is still being stopped, or its end has no verdict)
//! ```
//!
//! - A command that an earlier daemon has started and that its supervisor still has is taken over as `Running`.
//! - A host never runs the same run twice at once. A run that is given again while it runs keeps running under the new lease.
//! - If it had ended, the old lease is asked first. Was the end recorded, then the new attempt is a new one and starts; was the old
//!   lease stale, then the end is reported once more, with the new lease, and nothing is executed twice.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;

/// Ends without a verdict beyond which no more work is taken: they are all named in Hello, which has to stay a small message.
const UNSETTLED_LIMIT: usize = 10_000;

/// This worker's own name of an attempt. It stays when the lease changes, and across a restart of the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub u64);

/// The right to an attempt, opaque to the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lease(pub Bytes);

/// One attempt to run, as the server gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub lease: Lease,
    pub run: String,
    pub handler: String,
    pub payload: Payload,
    /// No limit when `None`.
    pub timeout: Option<Duration>,
    /// Counted from 1.
    pub attempt: u32,
    /// Empty for an on-demand run.
    pub task: String,
}

/// The payload of an assignment, or the SHA-256 by which it can be fetched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Inline(Bytes),
    Hash([u8; 32]),
}

/// Why an attempt is stopped, or never started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Somebody cancelled the run: it ends as cancelled.
    Cancel,
    /// The worker stops: the run ends as lost, so that it is queued again without spending a retry.
    Drain,
    /// It is no longer this worker's: nothing is reported.
    Abandon,
    /// The worker goes: a command goes on without it and nothing is reported of it yet, all else ends as by `Drain`.
    Leave,
}

/// What the server says of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Recorded,
    Stale,
    Invalid,
    Retry,
}

/// What the daemon has to do, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reports of this attempt will come, under this lease.
    Open {
        key: Key,
        run: String,
        lease: Lease,
    },
    /// Reports of this attempt go under another lease from now on.
    Relet {
        key: Key,
        lease: Lease,
    },
    /// Tell the server that the attempt is taken in charge.
    Accept(Lease),
    Start(Key, Assignment),
    /// Stop what runs; a later `Stop` replaces the reason of an earlier one.
    Stop(Key, Stop),
    /// Report the end of an attempt that was never started.
    Drop(Key, Stop),
    /// The lease is no longer held, whether its end has its verdict or it was given up: tell the server's book-keeping.
    Settled(Lease),
    /// Nothing more is reported of this attempt.
    Forget(Key),
}

#[derive(Debug)]
enum State {
    Waiting(Assignment),
    Behind(Key, Assignment),
    Running,
    Stopping,
    Abandoned,
    Ended,
}

#[derive(Debug)]
struct Held {
    run: String,
    lease: Lease,
    state: State,
}

/// All attempts in charge. Searched linearly: they are as many as slots, and [`UNSETTLED_LIMIT`] more at the very most.
#[derive(Debug)]
pub struct Attempts {
    slots: usize,
    prefetch: usize,
    held: BTreeMap<Key, Held>,
    next: u64,
    draining: bool,
    /// The spool cannot take results safely.
    trouble: bool,
}

impl Attempts {
    /// `next` is the first key to give out.
    pub fn new(slots: usize, prefetch: usize, next: Key) -> Self {
        Self { slots, prefetch, held: BTreeMap::new(), next: next.0, draining: false, trouble: false }
    }

    /// Takes back an attempt that ended before the daemon was restarted and whose end has no verdict.
    pub fn restore(&mut self, key: Key, run: String, lease: Lease) {
        self.next = self.next.max(key.0 + 1);
        self.held.insert(key, Held { run, lease, state: State::Ended });
    }

    /// Takes over an attempt that was started before the daemon was restarted, and has not been seen to end. `stop`: what it was told.
    pub fn adopt(&mut self, key: Key, run: String, lease: Lease, stop: Option<Stop>) {
        self.next = self.next.max(key.0 + 1);
        let state = match stop {
            None => State::Running,
            Some(Stop::Abandon) => State::Abandoned,
            Some(Stop::Cancel | Stop::Drain | Stop::Leave) => State::Stopping,
        };
        self.held.insert(key, Held { run, lease, state });
    }

    /// The server gave an attempt. While draining it is given back at once.
    pub fn assign(&mut self, assignment: Assignment) -> Vec<Action> {
        let lease = assignment.lease.clone();
        if self.by_lease(&lease).is_some() {
            return vec![Action::Accept(lease)];
        }
        let newest = self.held.iter().rev().find(|(_, held)| held.run == assignment.run).map(|(&key, _)| key);
        if let Some(key) = newest
            && let Some(held) = self.held.get_mut(&key)
            && matches!(held.state, State::Waiting(_) | State::Behind(..) | State::Running)
        {
            held.lease = lease.clone();
            if let State::Waiting(old) | State::Behind(_, old) = &mut held.state {
                *old = assignment;
            }
            return vec![Action::Relet { key, lease: lease.clone() }, Action::Accept(lease)];
        }
        let (key, run) = (Key(self.next), assignment.run.clone());
        self.next += 1;
        if self.draining {
            self.held.insert(key, Held { run: run.clone(), lease: lease.clone(), state: State::Ended });
            return vec![Action::Open { key, run, lease }, Action::Drop(key, Stop::Drain)];
        }
        let state = match newest {
            Some(other) => State::Behind(other, assignment),
            None => State::Waiting(assignment),
        };
        self.held.insert(key, Held { run: run.clone(), lease: lease.clone(), state });
        let mut actions = vec![Action::Open { key, run, lease: lease.clone() }, Action::Accept(lease)];
        actions.extend(self.start());
        actions
    }

    /// What ran has ended; its end was handed to the reporter unless it was abandoned.
    pub fn ended(&mut self, key: Key) -> Vec<Action> {
        let Some(held) = self.held.get_mut(&key) else { return self.start() };
        if matches!(held.state, State::Abandoned) {
            return self.forget(key);
        }
        held.state = State::Ended;
        self.start()
    }

    /// The server's verdict on what was reported under `lease`. One on a lease that has been replaced since says nothing.
    /// [`Verdict::Recorded`] and [`Verdict::Invalid`] are verdicts on the end, [`Verdict::Stale`] may come with messages too.
    pub fn judged(&mut self, key: Key, lease: &Lease, verdict: Verdict) -> Vec<Action> {
        let Some(held) = self.held.get(&key).filter(|held| held.lease == *lease) else { return Vec::new() };
        match (verdict, &held.state) {
            (Verdict::Retry, _) => Vec::new(),
            (Verdict::Recorded, _) => self.forget(key),
            (_, State::Ended) => match self.behind(key) {
                Some((other, lease)) => {
                    self.held.remove(&other);
                    self.held.get_mut(&key).expect("it was just found").lease = lease.clone();
                    vec![Action::Forget(other), Action::Relet { key, lease }]
                }
                None => self.forget(key),
            },
            _ => self.abandon(lease),
        }
    }

    /// The run was cancelled. Of what has ended already the end is reported as it was.
    pub fn cancel(&mut self, lease: &Lease) -> Vec<Action> {
        let Some(key) = self.by_lease(lease) else { return Vec::new() };
        self.stop(key, Stop::Cancel)
    }

    /// The attempt is no longer this worker's.
    pub fn abandon(&mut self, lease: &Lease) -> Vec<Action> {
        let Some(key) = self.by_lease(lease) else { return Vec::new() };
        let held = self.held.get_mut(&key).expect("it was just found");
        match held.state {
            State::Running | State::Stopping | State::Abandoned => {
                held.state = State::Abandoned;
                vec![Action::Stop(key, Stop::Abandon)]
            }
            State::Waiting(_) | State::Behind(..) | State::Ended => self.forget(key),
        }
    }

    /// Takes nothing more; what has not been started ends as lost.
    pub fn drain(&mut self) -> Vec<Action> {
        self.draining = true;
        let waiting = |held: &Held| matches!(held.state, State::Waiting(_) | State::Behind(..));
        let keys: Vec<Key> =
            self.held.iter().filter(|(_, held)| waiting(held)).map(|(&key, _)| key).collect();
        keys.into_iter().flat_map(|key| self.stop(key, Stop::Drain)).collect()
    }

    /// Stops all that has not ended.
    pub fn stop_all(&mut self, why: Stop) -> Vec<Action> {
        let leases: Vec<(Key, Lease)> = self
            .held
            .iter()
            .filter(|(_, held)| !matches!(held.state, State::Ended))
            .map(|(&key, held)| (key, held.lease.clone()))
            .collect();
        leases
            .into_iter()
            .flat_map(
                |(key, lease)| if why == Stop::Abandon { self.abandon(&lease) } else { self.stop(key, why) },
            )
            .collect()
    }

    /// Tells whether results can be kept safely.
    pub fn set_trouble(&mut self, trouble: bool) {
        self.trouble = trouble;
    }

    /// How many more assignments there is room for.
    pub fn free(&self) -> u64 {
        let busy = self.busy();
        if self.draining || self.trouble || self.held.len() - busy >= UNSETTLED_LIMIT {
            return 0;
        }
        (self.slots + self.prefetch).saturating_sub(busy) as u64
    }

    /// How many attempts have not ended.
    pub fn busy(&self) -> usize {
        self.held.values().filter(|held| !matches!(held.state, State::Ended)).count()
    }

    /// The leases to name in Hello: of all that has not been given up or given back.
    pub fn holding(&self) -> Vec<Lease> {
        let given_up = |held: &&Held| !matches!(held.state, State::Abandoned);
        self.held.values().filter(given_up).map(|held| held.lease.clone()).collect()
    }

    fn stop(&mut self, key: Key, why: Stop) -> Vec<Action> {
        let held = self.held.get_mut(&key).expect("the key was just found");
        match held.state {
            State::Waiting(_) | State::Behind(..) => {
                held.state = State::Ended;
                vec![Action::Drop(key, why)]
            }
            State::Running | State::Stopping => {
                held.state = State::Stopping;
                vec![Action::Stop(key, why)]
            }
            State::Abandoned | State::Ended => Vec::new(),
        }
    }

    fn forget(&mut self, key: Key) -> Vec<Action> {
        let settled = self.held.remove(&key).map(|held| Action::Settled(held.lease));
        for held in self.held.values_mut() {
            if let State::Behind(other, assignment) = &held.state
                && *other == key
            {
                held.state = State::Waiting(assignment.clone());
            }
        }
        let mut actions: Vec<_> = settled.into_iter().chain([Action::Forget(key)]).collect();
        actions.extend(self.start());
        actions
    }

    fn start(&mut self) -> Vec<Action> {
        let executing =
            |held: &Held| matches!(held.state, State::Running | State::Stopping | State::Abandoned);
        let mut taken: Vec<String> =
            self.held.values().filter(|held| executing(held)).map(|held| held.run.clone()).collect();
        let mut actions = Vec::new();
        for (&key, held) in &mut self.held {
            if taken.len() >= self.slots {
                break;
            }
            if let State::Waiting(assignment) = &held.state
                && !taken.contains(&held.run)
            {
                actions.push(Action::Start(key, assignment.clone()));
                held.state = State::Running;
                taken.push(held.run.clone());
            }
        }
        actions
    }

    fn behind(&self, key: Key) -> Option<(Key, Lease)> {
        let found =
            self.held.iter().find(|(_, held)| matches!(held.state, State::Behind(other, _) if other == key));
        found.map(|(&key, held)| (key, held.lease.clone()))
    }

    fn by_lease(&self, lease: &Lease) -> Option<Key> {
        self.held.iter().find(|(_, held)| held.lease == *lease).map(|(&key, _)| key)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
