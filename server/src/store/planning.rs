//! What the planner needs: which tasks are due or were changed, and one transaction that records what it made of them.

use chrono::{DateTime, Utc};

use super::{Inserted, NewRun, Store, StoreError};
use crate::run::{RunId, State, TaskId};
use crate::task::TaskSpec;

/// Whether there is anything to plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peek {
    pub now: DateTime<Utc>,
    /// A task is to be looked at by the moment asked for.
    pub due: bool,
    /// A task was created or edited since it was planned, perhaps by plain SQL.
    pub changed: bool,
    /// There are runs queued ahead of a task that is gone.
    pub orphaned: bool,
}

/// Tasks to plan, locked until [`PlanBatch::commit`] or drop: others plan others meanwhile. Embedded, every other write waits as well, so
/// nothing else may be written to the store before it is committed.
pub struct PlanBatch {
    /// The store's time.
    pub now: DateTime<Utc>,
    /// Empty: nothing is due, or others have it.
    pub tasks: Vec<PlanTask>,
}

/// A task to plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanTask {
    pub id: TaskId,
    /// Or what is wrong with the row, for [`Planned::problem`].
    pub spec: Result<TaskSpec, String>,
    /// It is not what was planned before.
    pub changed: bool,
    pub paused: bool,
    /// It was paused when it was planned before: what it missed since then is not caught up.
    pub resumed: bool,
    pub created: DateTime<Utc>,
    /// Up to when its firings have been planned; `None` for one never planned.
    pub planned_to: Option<DateTime<Utc>>,
    /// What is queued ahead of it and not due yet, to be withdrawn and planned again; only when it was changed.
    pub ahead: Vec<RunId>,
}

/// What the planner made of a [`PlanTask`].
#[derive(Debug, Clone, PartialEq)]
pub struct Planned {
    pub task: TaskId,
    pub runs: Vec<NewRun>,
    /// Firings that do not take place, each with the reason.
    pub skipped: Vec<(NewRun, String)>,
    /// Those of [`PlanTask::ahead`] that the queue has given up.
    pub withdrawn: Vec<RunId>,
    /// When to look at it again; `None`: not before it is edited.
    pub next: Option<DateTime<Utc>>,
    /// Up to when its firings are planned now.
    pub planned_to: DateTime<Utc>,
    /// What keeps it from firing, in words; empty when all is well.
    pub problem: String,
}

/// A task's latest run, to be shown beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    pub task: TaskId,
    pub run: RunId,
    pub state: State,
    pub started: Option<DateTime<Utc>>,
    /// How many attempts failed so far.
    pub retried: u32,
}

impl Store {
    /// One cheap statement: is there anything to plan up to `until`?
    pub async fn peek(&self, until: DateTime<Utc>) -> Result<Peek, StoreError> {
        todo!()
    }

    /// Locks tasks that were changed or are to be looked at by `until`, at most `limit`, passing over those that others have locked:
    /// to be called until [`Store::peek`] sees nothing more.
    pub async fn plan_batch(&self, until: DateTime<Utc>, limit: u32) -> Result<PlanBatch, StoreError> {
        todo!()
    }

    /// Locks this one task, waiting for whoever has it, to plan a change made through the API at once. No task: it is gone.
    pub async fn plan_task(&self, task: TaskId) -> Result<PlanBatch, StoreError> {
        todo!()
    }

    /// Runs queued ahead whose task is gone: to be withdrawn from the queue, then by [`Store::withdraw`].
    pub async fn orphans(&self, limit: u32) -> Result<Vec<RunId>, StoreError> {
        todo!()
    }

    /// Shows the latest runs beside their tasks. A task that is gone is passed over.
    pub async fn mirror(&self, latest: Vec<Mirror>) -> Result<(), StoreError> {
        todo!()
    }
}

impl PlanBatch {
    /// Records all of it at once. What became of each run, in the order of `planned` and of [`Planned::runs`].
    pub async fn commit(self, planned: Vec<Planned>) -> Result<Vec<Inserted>, StoreError> {
        todo!()
    }
}
