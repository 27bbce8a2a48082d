//! Firings that were missed because no server was up: those that were never planned, and those that were queued ahead.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marabunta_proto::when::Schedule;

use super::{CatchUp, Task, TaskSpec, splay};
use crate::run::Run;

impl CatchUp {
    /// How many missed firings take place, the latest ones.
    #[must_use]
    pub fn keep(self) -> usize {
        match self {
            Self::None => 0,
            Self::Latest => 1,
            Self::All(most) => most as usize,
        }
    }
}

impl TaskSpec {
    /// Why a missed firing does not take place, if it does not. `later`: how many were missed after it; `late`: since when it was to be.
    #[must_use]
    pub fn leaves_out(&self, later: usize, late: Duration) -> Option<&'static str> {
        if later >= self.catch_up.keep() {
            Some("missed: no server was up, and its catch-up leaves it out")
        } else if self.start_deadline.is_some_and(|deadline| late > deadline) {
            Some("missed: its start deadline had passed")
        } else {
            None
        }
    }
}

/// Why a run that was queued ahead and missed does not take place, if it does not. `task`: its task as it is now, if there is one that can be read.
#[must_use]
pub fn left_out(task: Option<&Task>, run: &Run, now: DateTime<Utc>) -> Option<&'static str> {
    const CHANGED: Option<&str> = Some("missed: no server was up, and its task has changed since");
    let Some(task) = task else { return CHANGED };
    let spec = &task.spec;
    let schedule = Schedule::new(spec.when.clone(), spec.timezone, task.created);
    let fire = run.due - splay(task.id, &run.place, spec.splay);
    if task.paused || schedule.next_after(fire - TimeDelta::microseconds(1)) != Some(fire) {
        return CHANGED;
    }
    let later = schedule.after(fire).take(spec.catch_up.keep()).take_while(|fire| *fire <= now).count();
    spec.leaves_out(later, (now - fire).to_std().unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests;
