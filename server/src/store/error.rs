//! Why a call of the store failed.

use thiserror::Error;

/// None of these says that nothing was done.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Not reachable, no answer in time, or too many conflicts in a row: try again.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Another task has this name.
    #[error("a task named `{0}` exists already")]
    Conflict(String),
    /// The task was changed by somebody else since it was read: read it again.
    #[error("the task was changed in the meantime")]
    Changed,
    /// What the call names is not there.
    #[error("the store has no {0}")]
    NotFound(String),
    /// A row holds what this program never writes.
    #[error("the store holds a damaged row: {0}")]
    Corrupt(String),
    /// The database, its settings or the request are not what this program can work with: not to be retried.
    #[error("the store cannot be used: {0}")]
    Unusable(String),
}
