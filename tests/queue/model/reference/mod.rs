//! What the queue is supposed to do, as plainly as it can be written: a list of runs and a list of sessions, gone through from one end
//! to the other. It shares no code with either queue; the real ones are held against it.

mod attempts;
mod enter;
mod sessions;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use marabunta_proto::name::Name;
use marabunta_server::queue::{
    Cancelled, Census, Ending, EndingCause, Entry, Phase, Record, Session, SessionId,
};
use marabunta_server::run::{Counters, Fence, Overlap, Place, RunId};

pub use sessions::Met;
pub use time::{Clock, Moment, Ticked, Uncertain};

/// One shard.
#[derive(Debug, Clone)]
pub struct Shard {
    pub clock: Clock,
    runs: BTreeMap<RunId, Run>,
    /// Who has the slot of a place and a key.
    slots: BTreeMap<Slot, RunId>,
    sessions: BTreeMap<Name, Known>,
    keys: BTreeMap<String, (RunId, [u8; 16])>,
    /// Runs of which it is kept that they have ended, and whether with a result.
    results: BTreeMap<RunId, bool>,
    /// The latest turn, and the latest fence.
    turn: u64,
    fence: u64,
    /// Silence was looked for before.
    reaped: bool,
}

type Slot = String;

#[derive(Debug, Clone)]
struct Run {
    entry: Entry,
    stage: Stage,
    turn: u64,
    fence: u64,
    attempt: u32,
    counters: Counters,
    cancelled: bool,
    missed: bool,
    restored: bool,
    expires: Option<Moment>,
    holder: Option<(Name, SessionId)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Due(Moment),
    Behind,
    Ready,
    InFlight { accepted: bool },
    Ending { cause: EndingCause, offer: Moment },
    Missed { offer: Moment },
}

#[derive(Debug, Clone)]
struct Known {
    session: Session,
    life: Life,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Live(Moment),
    Closed(Moment),
    /// Until when it is not offered again.
    Silent(Moment),
}

impl Stage {
    fn waits(self) -> bool {
        matches!(self, Self::Due(_) | Self::Behind | Self::Ready)
    }
}

impl Run {
    fn slot(&self) -> Option<Slot> {
        let (_, key) = self.entry.overlap.as_ref()?;
        Some(key.clone())
    }

    fn policy(&self) -> Option<Overlap> {
        self.entry.overlap.as_ref().map(|(policy, _)| *policy)
    }
}

impl Shard {
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            runs: BTreeMap::new(),
            slots: BTreeMap::new(),
            sessions: BTreeMap::new(),
            keys: BTreeMap::new(),
            results: BTreeMap::new(),
            turn: 0,
            fence: 0,
            reaped: false,
        }
    }

    pub fn open_runs(&self) -> impl Iterator<Item = RunId> {
        self.runs.keys().copied()
    }

    /// What it says of a run; the time until it is due is that of the last thing that could be known.
    pub fn record(&self, run: RunId) -> Option<Record> {
        let open = self.runs.get(&run)?;
        let phase = match (open.stage, &open.holder) {
            (Stage::Due(_), _) => Phase::Due(Duration::ZERO),
            (Stage::Behind, _) => Phase::Behind,
            (Stage::Ready, _) => Phase::Ready,
            (Stage::InFlight { accepted }, Some((worker, session))) => {
                let known = self.sessions.get(worker).filter(|known| known.session.id == *session);
                let server = known.map_or_else(String::new, |known| known.session.server.clone());
                Phase::InFlight { worker: worker.clone(), session: *session, server, accepted }
            }
            (Stage::InFlight { .. }, None) => unreachable!("somebody has what is in flight"),
            (Stage::Ending { .. }, _) => Phase::Ending,
            (Stage::Missed { .. }, _) => Phase::Missed,
        };
        Some(Record {
            run,
            phase,
            fence: (open.fence > 0).then_some(Fence(open.fence)),
            attempt: open.attempt,
            counters: open.counters,
            cancelled: open.cancelled,
            body: open.entry.body.clone(),
        })
    }

    pub fn census(&self) -> Census {
        let count = |is: fn(&Stage) -> bool| self.runs.values().filter(|run| is(&run.stage)).count() as u64;
        let heads = self.runs.keys().filter(|run| {
            let (own, ready) = (&self.runs[run], self.ready(&self.runs[run].entry.place));
            let next = ready.into_iter().find(|other| self.runs[other].entry.priority == own.entry.priority);
            own.stage == Stage::Ready && next == Some(**run)
        });
        Census {
            delayed: count(|stage| matches!(stage, Stage::Due(_))),
            behind: count(|stage| *stage == Stage::Behind),
            ready: count(|stage| *stage == Stage::Ready),
            in_flight: count(|stage| matches!(stage, Stage::InFlight { .. })),
            ending: count(|stage| matches!(stage, Stage::Ending { .. } | Stage::Missed { .. })),
            oldest: heads.min().copied(),
        }
    }

    /// How many runs a worker has.
    pub fn holding(&self, worker: &Name) -> u64 {
        self.in_flight(worker).len() as u64
    }

    /// What is ready in a place: the most urgent first, then by turn.
    pub fn ready(&self, place: &Place) -> Vec<RunId> {
        let ready =
            self.runs.iter().filter(|(_, run)| run.stage == Stage::Ready && run.entry.place == *place);
        let mut ready: Vec<(&RunId, &Run)> = ready.collect();
        ready.sort_by_key(|(id, run)| (std::cmp::Reverse(run.entry.priority), run.turn, **id));
        ready.into_iter().map(|(id, _)| *id).collect()
    }

    /// Every shared place with something ready.
    pub fn selectors(&self) -> BTreeSet<Place> {
        let ready = self.runs.values().filter(|run| run.stage == Stage::Ready);
        ready.map(|run| run.entry.place.clone()).filter(|place| matches!(place, Place::Any(_))).collect()
    }

    pub fn cancel(&mut self, run: RunId, now: Moment) -> Cancelled {
        let Some(open) = self.runs.get_mut(&run) else { return Cancelled::Unknown };
        match open.stage {
            Stage::InFlight { .. } => open.cancelled = true,
            Stage::Ending { .. } => {}
            _ => {
                open.stage = Stage::Ending {
                    cause: EndingCause::Cancelled,
                    offer: now.after(self.clock.limits.offer),
                };
            }
        }
        let record = self.record(run).expect("it is open");
        match self.runs[&run].stage {
            Stage::Ending { cause, .. } => Cancelled::Ending(Ending { record, cause }),
            _ => Cancelled::InFlight(record),
        }
    }

    pub fn withdraw(&mut self, run: RunId) -> bool {
        let Some(open) = self.runs.get(&run) else { return true };
        let gone = (open.stage.waits() || matches!(open.stage, Stage::Missed { .. })) && open.attempt == 0;
        if gone {
            self.remove(run);
        }
        gone
    }

    fn in_flight(&self, worker: &Name) -> Vec<RunId> {
        let has = |run: &Run| {
            matches!(run.stage, Stage::InFlight { .. })
                && run.holder.as_ref().is_some_and(|(holder, _)| holder == worker)
        };
        self.runs.iter().filter(|(_, run)| has(run)).map(|(id, _)| *id).collect()
    }

    /// Puts a run into a stage; whoever waits for a worker or a slot has its turn from the first time on.
    fn put(&mut self, run: RunId, stage: Stage) {
        let open = self.runs.get_mut(&run).expect("it is open");
        if matches!(stage, Stage::Ready | Stage::Behind) && open.turn == 0 {
            self.turn += 1;
            open.turn = self.turn;
        }
        open.stage = stage;
    }

    /// Removes a run; who waits for its slot is next.
    fn remove(&mut self, run: RunId) {
        let Some(open) = self.runs.remove(&run) else { return };
        let Some(slot) = open.slot().filter(|slot| self.slots.get(slot) == Some(&run)) else { return };
        match self.line(&slot).first() {
            None => _ = self.slots.remove(&slot),
            Some(next) => {
                self.slots.insert(slot, *next);
                self.put(*next, Stage::Ready);
            }
        }
    }

    /// Who waits for a slot, in turn.
    fn line(&self, slot: &Slot) -> Vec<RunId> {
        let waits = |run: &Run| run.stage == Stage::Behind && run.slot().as_ref() == Some(slot);
        let mut line: Vec<_> = self.runs.iter().filter(|(_, run)| waits(run)).collect();
        line.sort_by_key(|(id, run)| (run.turn, **id));
        line.into_iter().map(|(id, _)| *id).collect()
    }
}
