//! Overlap: of the runs with one key, one has the slot from its release until its end; the others skip, wait or replace it.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::open::{Open, Slot, Stage};
use super::state::State;
use crate::queue::{EndingCause, Hint};
use crate::run::{Overlap, RunId};

/// Who has a slot, and who waits for it.
#[derive(Debug)]
pub(super) struct Line {
    pub holder: RunId,
    /// First come, first served: by turn.
    pub waiters: BTreeSet<(u64, RunId)>,
}

impl State {
    /// A run is due: it becomes ready unless its policy says otherwise.
    pub fn release(&mut self, run: RunId, now: Instant) {
        let Some((policy, slot)) = self.runs.get(&run).and_then(Open::slot) else {
            return self.go(run, Stage::Ready);
        };
        match policy {
            _ if self.has_slot(run, &slot) => self.go(run, Stage::Ready),
            Overlap::Skip => self.end(run, EndingCause::Overlapped, now),
            Overlap::Replace => {
                self.replace(&slot, now);
                self.go(run, Stage::Behind);
            }
            Overlap::Allow | Overlap::Queue => self.go(run, Stage::Behind),
        }
    }

    /// Whether this run has the slot; takes it if nobody has.
    pub fn has_slot(&mut self, run: RunId, slot: &Slot) -> bool {
        let line = Line { holder: run, waiters: BTreeSet::new() };
        self.slots.entry(slot.clone()).or_insert(line).holder == run
    }

    /// Gives the slot to the next in line, if this run has it.
    pub fn leave_slot(&mut self, run: RunId, slot: &Slot) {
        let Some(line) = self.slots.get_mut(slot).filter(|line| line.holder == run) else { return };
        match line.waiters.first().copied() {
            None => _ = self.slots.remove(slot),
            Some((_, next)) => {
                line.holder = next;
                self.go(next, Stage::Ready);
            }
        }
    }

    pub(super) fn stand_in_line(&mut self, open: &Open) {
        if let Some((_, slot)) = open.slot()
            && let Some(line) = self.slots.get_mut(&slot)
        {
            line.waiters.insert((open.turn, open.entry.run));
        }
    }

    pub(super) fn leave_line(&mut self, open: &Open) {
        if let Some((_, slot)) = open.slot()
            && let Some(line) = self.slots.get_mut(&slot)
        {
            line.waiters.remove(&(open.turn, open.entry.run));
        }
    }

    /// Ends all that wait in this line, and asks its holder to end. The slot stays taken until the holder has ended.
    fn replace(&mut self, slot: &Slot, now: Instant) {
        let Some(line) = self.slots.get(slot) else { return };
        let holder = line.holder;
        for (_, waiter) in line.waiters.clone() {
            self.end(waiter, EndingCause::Replaced, now);
        }
        match self.runs.get(&holder).map(|open| open.stage) {
            Some(Stage::InFlight { .. }) => self.ask_to_cancel(holder),
            Some(stage) if stage.is_waiting() => self.end(holder, EndingCause::Replaced, now),
            _ => {}
        }
    }

    /// Marks a run in flight and tells the server of its session.
    pub fn ask_to_cancel(&mut self, run: RunId) {
        let Some(open) = self.runs.get_mut(&run) else { return };
        open.cancelled = true;
        if let (Some((worker, _)), Some(fence)) = (&open.holder, open.fence) {
            self.hints.push(Hint::Cancel { worker: worker.clone(), run, fence });
        }
        if open.followed {
            self.hints.push(Hint::Changed(run));
        }
    }
}
