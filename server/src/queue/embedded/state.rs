//! All that the queue knows, and the one function that moves a run from stage to stage.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::enter::Keys;
use super::open::{Open, Slot, Stage};
use super::overlap::Line;
use super::results::Results;
use super::sessions::Sessions;
use super::unsure::Unsure;
use crate::queue::{EndingCause, Hint, Limits, Phase, Record};
use crate::run::{Fence, Place, Priority, RunId};
use marabunta_proto::name::Name;

/// Every open run, its indexes, the sessions, and what is kept for a while.
///
/// Each run is in `runs` and in the index of its [`Stage`]; whoever is waiting and can expire is in `expiry` too.
pub(super) struct State {
    pub limits: Limits,
    pub runs: HashMap<RunId, Open>,
    pub ready: BTreeMap<Place, BTreeSet<(Reverse<Priority>, u64, RunId)>>,
    pub due: BTreeSet<(Instant, RunId)>,
    pub expiry: BTreeSet<(Instant, RunId)>,
    pub endings: BTreeSet<(Instant, RunId)>,
    pub in_flight: HashMap<Name, BTreeSet<RunId>>,
    pub slots: HashMap<Slot, Line>,
    pub sessions: Sessions,
    pub unsure: Unsure,
    pub keys: Keys,
    pub results: Results,
    /// The latest fence that was given.
    pub fence: u64,
    /// The latest turn that was given.
    pub turn: u64,
    /// Until when somebody has the right to rebuild.
    pub rebuilding: Option<Instant>,
    pub empty_handed: bool,
    /// When silence was last looked for.
    pub reaped: Option<Instant>,
    /// What is to be told when the lock is free again.
    pub hints: Vec<Hint>,
    started: Instant,
    /// Wall time of `started`, in microseconds since 1970.
    wall: u64,
}

impl State {
    /// Nothing. `wall`: microseconds since 1970, the least fence.
    pub fn new(limits: Limits, now: Instant, wall: u64) -> Self {
        Self {
            results: Results::new(limits.results),
            keys: Keys::new(limits.keys),
            limits,
            runs: HashMap::new(),
            ready: BTreeMap::new(),
            due: BTreeSet::new(),
            expiry: BTreeSet::new(),
            endings: BTreeSet::new(),
            in_flight: HashMap::new(),
            slots: HashMap::new(),
            sessions: Sessions::default(),
            unsure: Unsure::default(),
            fence: 0,
            turn: 0,
            rebuilding: None,
            empty_handed: true,
            reaped: None,
            hints: Vec::new(),
            started: now,
            wall,
        }
    }

    /// The next fence: higher than any before, and no lower than the time, so that one who forgot all does not start low.
    pub fn next_fence(&mut self, now: Instant) -> Fence {
        self.fence = (self.fence + 1).max(self.micros(now));
        Fence(self.fence)
    }

    /// The time, in microseconds since 1970, as far as this process has it.
    pub fn micros(&self, now: Instant) -> u64 {
        let elapsed = u64::try_from((now - self.started).as_micros()).unwrap_or(u64::MAX);
        self.wall.saturating_add(elapsed)
    }

    /// Puts an open run into a stage and into its index. It must not be in one.
    pub fn settle_in(&mut self, mut open: Open, stage: Stage) {
        let run = open.entry.run;
        if matches!(stage, Stage::Ready | Stage::Behind) && open.turn == 0 {
            self.turn += 1;
            open.turn = self.turn;
        }
        open.stage = stage;
        self.index(&open);
        if open.followed {
            self.hints.push(Hint::Changed(run));
        }
        self.runs.insert(run, open);
    }

    /// Moves a run to another stage; it must be open.
    pub fn go(&mut self, run: RunId, stage: Stage) {
        if let Some(open) = self.take(run) {
            self.settle_in(open, stage);
        }
    }

    /// Takes a run out of everything but its slot.
    pub fn take(&mut self, run: RunId) -> Option<Open> {
        let open = self.runs.remove(&run)?;
        self.unindex(&open);
        Some(open)
    }

    /// Removes a run; whoever waits behind it is next.
    pub fn remove(&mut self, run: RunId) -> Option<Open> {
        let open = self.take(run)?;
        if let Some((_, slot)) = open.slot() {
            self.leave_slot(run, &slot);
        }
        if open.followed {
            self.hints.push(Hint::Changed(run));
        }
        Some(open)
    }

    /// The run will not be claimed any more; its end is offered from `offer` on.
    pub fn end(&mut self, run: RunId, cause: EndingCause, offer: Instant) {
        self.go(run, Stage::Ending { cause, offer });
    }

    /// What is known of a run.
    pub fn record(&self, open: &Open, now: Instant) -> Record {
        Record {
            run: open.entry.run,
            phase: self.phase(open, now),
            fence: open.fence,
            attempt: open.attempt,
            counters: open.counters,
            cancelled: open.cancelled,
            body: open.entry.body.clone(),
        }
    }

    /// How long until the next run is due, expires or ends, at most an hour.
    pub fn next(&self, now: Instant) -> Option<Duration> {
        let next = self.nearest()?.saturating_duration_since(now);
        Some(next.min(Duration::from_secs(3600)))
    }

    fn nearest(&self) -> Option<Instant> {
        [&self.due, &self.expiry, &self.endings]
            .into_iter()
            .filter_map(|set| set.first())
            .map(|(at, _)| *at)
            .min()
    }

    fn phase(&self, open: &Open, now: Instant) -> Phase {
        match (open.stage, &open.holder) {
            (Stage::Due(at), _) => Phase::Due(at.saturating_duration_since(now)),
            (Stage::Behind, _) => Phase::Behind,
            (Stage::InFlight { accepted }, Some((worker, session))) => Phase::InFlight {
                worker: worker.clone(),
                session: *session,
                server: self.sessions.server_of(worker, *session),
                accepted,
            },
            (Stage::Ready | Stage::InFlight { .. }, _) => Phase::Ready,
            (Stage::Ending { .. }, _) => Phase::Ending,
            (Stage::Missed { .. }, _) => Phase::Missed,
        }
    }

    fn index(&mut self, open: &Open) {
        let run = open.entry.run;
        let nearest = self.nearest();
        match open.stage {
            Stage::Due(at) => _ = self.due.insert((at, run)),
            Stage::Ending { offer, .. } | Stage::Missed { offer } => _ = self.endings.insert((offer, run)),
            Stage::Behind => self.stand_in_line(open),
            Stage::Ready => {
                let place = self.ready.entry(open.entry.place.clone()).or_default();
                if place.is_empty() {
                    self.hints.push(Hint::Ready(open.entry.place.clone()));
                }
                place.insert((Reverse(open.entry.priority), open.turn, run));
            }
            Stage::InFlight { .. } => {
                if let Some((worker, _)) = &open.holder {
                    self.in_flight.entry(worker.clone()).or_default().insert(run);
                }
            }
        }
        if let (true, Some(at)) = (open.stage.is_waiting(), open.expires) {
            self.expiry.insert((at, run));
        }
        if self.nearest() < nearest || nearest.is_none() && self.nearest().is_some() {
            self.hints.push(Hint::Due);
        }
    }

    fn unindex(&mut self, open: &Open) {
        let run = open.entry.run;
        match open.stage {
            Stage::Due(at) => _ = self.due.remove(&(at, run)),
            Stage::Ending { offer, .. } | Stage::Missed { offer } => _ = self.endings.remove(&(offer, run)),
            Stage::Behind => self.leave_line(open),
            Stage::Ready => {
                if let Some(place) = self.ready.get_mut(&open.entry.place) {
                    place.remove(&(Reverse(open.entry.priority), open.turn, run));
                    if place.is_empty() {
                        self.ready.remove(&open.entry.place);
                    }
                }
            }
            Stage::InFlight { .. } => {
                if let Some((worker, _)) = &open.holder
                    && let Some(runs) = self.in_flight.get_mut(worker)
                {
                    runs.remove(&run);
                    if runs.is_empty() {
                        self.in_flight.remove(worker);
                    }
                }
            }
        }
        if let Some(at) = open.expires {
            self.expiry.remove(&(at, run));
        }
    }
}
