//! What people see of runs: open and ended ones as one list.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use marabunta_proto::name::Name;

use super::{Store, StoreError};
use crate::run::{Counters, Fence, GroupId, IdError, Outcome, Place, Reason, Run, RunId, State};

/// A run and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunView {
    pub run: Run,
    pub state: State,
    /// There exactly for [`State::Error`].
    pub reason: Option<Reason>,
    /// What went wrong, in words; empty when nothing did.
    pub error: String,
    pub counters: Counters,
    /// Of the last attempt, once the run has ended.
    pub exit_code: Option<i32>,
    /// What the handler returned, JSON; empty for commands.
    pub result: Bytes,
    /// The worker of the latest attempt.
    pub worker: Option<Name>,
    /// The server that last had to do with it.
    pub server: String,
    /// When it may start, or might have: [`Run::due`], or the end of its backoff.
    pub ready: DateTime<Utc>,
    /// When the latest attempt started.
    pub started: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
    /// It is to be cancelled.
    pub cancelled: bool,
    /// Oldest first, the one under way last; in [`Store::run`] only.
    pub attempts: Vec<AttemptView>,
}

/// One delivery of a run to a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptView {
    pub fence: Fence,
    /// From 1.
    pub number: u32,
    pub worker: Name,
    pub server: String,
    pub started: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
    /// `None` while it runs.
    pub outcome: Option<Outcome>,
    pub exit_code: Option<i32>,
    pub error: String,
    pub output_bytes: u64,
    pub truncated: bool,
}

/// Which runs; what is empty or `None` does not restrict.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunFilter {
    pub states: Vec<State>,
    /// A task's name or id.
    pub task: Option<String>,
    pub place: Option<Place>,
    /// The worker of the latest attempt.
    pub worker: Option<Name>,
    pub group: Option<GroupId>,
    /// Created at or after.
    pub since: Option<DateTime<Utc>>,
    /// Created before.
    pub until: Option<DateTime<Utc>>,
}

/// Some runs, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RunPage {
    pub runs: Vec<RunView>,
    /// Where the next page starts; `None` on the last.
    pub next: Option<Cursor>,
}

/// A place in the list of runs: right after this one. As text it is opaque and safe in URLs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    created: DateTime<Utc>,
    run: RunId,
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{}", self.created.timestamp_micros(), self.run)
    }
}

impl FromStr for Cursor {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        todo!()
    }
}

impl Store {
    /// A run with its attempts; `None` when there is none, or its history was pruned.
    pub async fn run(&self, run: RunId) -> Result<Option<RunView>, StoreError> {
        todo!()
    }

    /// The runs that match, newest first, at most `limit`, after the cursor.
    pub async fn runs(
        &self,
        filter: &RunFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<RunPage, StoreError> {
        todo!()
    }

    /// The states of these runs, in order; `None` for one that is not known. Cheaper than [`Store::run`].
    pub async fn states(&self, runs: Vec<RunId>) -> Result<Vec<Option<State>>, StoreError> {
        todo!()
    }
}
