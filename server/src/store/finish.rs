//! How attempts and runs end: the fence is checked here too, and a run leaves the open ones in the transaction that records its end.

use marabunta_proto::name::Name;

use super::{Store, StoreError};
use crate::run::{AttemptEnd, Fence, Next, Reason, Run, State};

/// An attempt has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedAttempt {
    pub run: Run,
    pub fence: Fence,
    /// From 1.
    pub number: u32,
    pub worker: Name,
    /// The server that records it.
    pub server: String,
    pub end: AttemptEnd,
    pub next: Next,
}

/// A run has ended without an attempt that ended it: expired, skipped, cancelled while it waited, lost or buried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedRun {
    pub run: Run,
    /// Final.
    pub state: State,
    /// There exactly for [`State::Error`].
    pub reason: Option<Reason>,
    /// Why, in words.
    pub error: String,
    /// The server that records it.
    pub server: String,
}

/// What became of an [`EndedAttempt`] or [`EndedRun`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Committed now.
    Recorded,
    /// Committed before: the same end once more.
    Already,
    /// A later attempt is known, or the run has ended otherwise: nothing was changed.
    Stale,
    /// Neither open nor ended, and not of the class that is accepted unseen.
    Unknown,
}

impl Store {
    /// Records ends of attempts; committed on return. One answer each, in order.
    ///
    /// An attempt that was recorded as lost is replaced by its worker's own account of the same fence, as long as no later attempt is
    /// known. A fast run whose row is not there yet is recorded from [`EndedAttempt::run`].
    pub async fn end_attempts(&self, ended: Vec<EndedAttempt>) -> Result<Vec<Recorded>, StoreError> {
        todo!()
    }

    /// Records ends of runs; committed on return. One answer each, in order. A run that is skipped, and a fast one, need not be open.
    pub async fn end_runs(&self, ended: Vec<EndedRun>) -> Result<Vec<Recorded>, StoreError> {
        todo!()
    }
}
