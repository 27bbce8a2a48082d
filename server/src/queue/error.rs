//! Why a call of the queue failed.

use thiserror::Error;

/// None of these says that nothing was done.
#[derive(Debug, Clone, Error)]
pub enum QueueError {
    /// Not reachable, or no answer in time: try again.
    #[error("the queue is unavailable: {0}")]
    Unavailable(String),
    /// Out of memory: it takes nothing in, but gives out.
    #[error("the queue is full: {0}")]
    Full(String),
    /// The server's settings or data are not what this program needs: not to be retried.
    #[error("the queue cannot be used: {0}")]
    Unusable(String),
}
