//! Open runs: what has been accepted and has not ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use marabunta_proto::name::Name;

use super::{Store, StoreError};
use crate::run::{Counters, Fence, Key, Run, RunId, State};

/// A run to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRun {
    pub run: Run,
    /// The server that accepted it.
    pub server: String,
    /// A second run with the same key within a day is not accepted.
    pub key: Option<Key>,
}

/// What became of a [`NewRun`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    New,
    /// Its id is open already, or has ended.
    Duplicate,
    /// Its key was used, for this run; `same`: of the same request.
    Repeated {
        run: RunId,
        same: bool,
    },
}

/// A worker accepted an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub run: RunId,
    pub fence: Fence,
    /// From 1.
    pub attempt: u32,
    pub worker: Name,
    pub server: String,
}

/// An accepted run that has not ended, with what it has behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenRun {
    pub run: Run,
    /// [`State::Todo`], [`State::Queued`] or [`State::Running`].
    pub state: State,
    pub counters: Counters,
    /// The number of the latest attempt known; 0 before the first.
    pub attempt: u32,
    pub fence: Option<Fence>,
    /// The worker of the latest attempt known.
    pub worker: Option<Name>,
    /// When it may start: [`Run::due`], or the end of its backoff.
    pub ready: DateTime<Utc>,
    /// It is to be cancelled.
    pub cancelled: bool,
}

impl Store {
    /// Accepts runs, each once; committed on return. One answer per run, in order.
    pub async fn insert_runs(&self, runs: Vec<NewRun>) -> Result<Vec<Inserted>, StoreError> {
        todo!()
    }

    /// Notes that attempts have begun, at the store's time. What is older than what is known, or concerns a run that is not open, changes
    /// nothing; a call that is lost is made up for by the attempt's end.
    pub async fn mark_running(&self, started: Vec<Started>) -> Result<(), StoreError> {
        todo!()
    }

    /// Notes that open runs are to be cancelled, so that a rebuilt queue knows it too.
    pub async fn request_cancel(&self, runs: Vec<RunId>) -> Result<(), StoreError> {
        todo!()
    }

    /// Removes runs that never started, without a trace: what was queued ahead of a task that changed or is gone.
    pub async fn withdraw(&self, runs: Vec<RunId>) -> Result<(), StoreError> {
        todo!()
    }

    /// All open runs by id, from `after` on, at most `limit`: to rebuild a queue.
    pub async fn open_runs(&self, after: Option<RunId>, limit: u32) -> Result<Vec<OpenRun>, StoreError> {
        todo!()
    }

    /// The same, but only what should be in the queue and has seen no change for so long: to be reconciled with it.
    pub async fn unsettled(
        &self,
        older_than: Duration,
        after: Option<RunId>,
        limit: u32,
    ) -> Result<Vec<OpenRun>, StoreError> {
        todo!()
    }
}
