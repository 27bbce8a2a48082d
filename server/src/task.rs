//! A task: the definition of what runs, where and when, and which of its firings take place that were missed. Pure.

mod missed;
mod splay;

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use marabunta_proto::name::Name;
use marabunta_proto::target::Target;
use marabunta_proto::when::When;

pub use missed::left_out;
pub use splay::splay;

use crate::run::{Overlap, Payload, Policy, Priority, RunId, State, TaskId};

/// What a person says of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskSpec {
    pub name: Name,
    pub description: String,
    pub target: Target,
    pub when: When,
    /// The zone in which `when` is read.
    pub timezone: Tz,
    pub handler: Name,
    /// A row of its own, shared by equal ones.
    pub payload: Payload,
    pub policy: Policy,
    pub priority: Priority,
    pub catch_up: CatchUp,
    pub overlap: Overlap,
    /// Each run is delayed by a time from zero up to this, always the same for the same task and place.
    pub splay: Duration,
    /// A missed firing that is later than this is skipped.
    pub start_deadline: Option<Duration>,
}

/// What to do about firings that were missed because no server was up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CatchUp {
    None,
    /// Only the latest one.
    #[default]
    Latest,
    /// All, but at most the latest so many.
    All(u32),
}

/// A task as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    pub id: TaskId,
    /// The spec, or what keeps a row that was written by plain SQL from being read.
    pub spec: TaskSpec,
    pub paused: bool,
    pub created: DateTime<Utc>,
    pub modified: DateTime<Utc>,
    /// What keeps it from firing, in words; empty when all is well.
    pub problem: String,
    /// The moment up to which its firings have been planned.
    pub planned_to: DateTime<Utc>,
    /// The latest run, as far as is known.
    pub last: Option<LastRun>,
}

/// The mirror of a task's latest run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    pub run: RunId,
    pub state: State,
    pub started: Option<DateTime<Utc>>,
}
