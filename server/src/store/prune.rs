//! Keeping history bounded.

use std::time::Duration;

use super::{Store, StoreError};

/// How much history is kept; `None` does not restrict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// For so long after its end.
    pub age: Option<Duration>,
    /// The latest so many.
    pub count: Option<u64>,
}

impl Store {
    /// Removes one small batch of ended runs that are no longer to be kept, with their attempts and messages, and what only they needed.
    /// Answers how many runs; to be called until it is 0.
    pub async fn prune(&self, retention: Retention) -> Result<u64, StoreError> {
        todo!()
    }
}
