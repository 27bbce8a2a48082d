//! The doors' side of following.

use std::sync::Arc;

use thiserror::Error;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::warn;

use super::View;
use super::watch::Watch;
use crate::queue::{Cancelled, Queue, QueueError};
use crate::run::{BodyError, RunId};
use crate::settle::Settler;
use crate::store::{Cursor, RunFilter, RunPage, Store, StoreError};

/// Reads, lists, follows and cancels runs. Cloning is cheap.
#[derive(Clone)]
pub struct Follow {
    pub(super) queue: Arc<dyn Queue>,
    pub(super) store: Store,
    pub(super) watch: Watch,
    settler: Settler,
}

/// Why a question about runs was not answered.
#[derive(Debug, Error)]
pub enum FollowError {
    #[error("no run `{0}`: it never was, or its history was pruned")]
    NotFound(RunId),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Body(#[from] BodyError),
}

impl Follow {
    /// Starts to pass hints on to followers, until `stop`.
    #[must_use]
    pub fn spawn(tracker: &TaskTracker, settler: &Settler, stop: CancellationToken) -> Self {
        let watch = Watch::spawn(tracker, settler.queue.hints(), stop);
        Self { queue: settler.queue.clone(), store: settler.store.clone(), watch, settler: settler.clone() }
    }

    /// Some runs, newest first. The states are the store's: of what is under way they may be a moment behind.
    pub async fn list(
        &self,
        filter: &RunFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<RunPage, FollowError> {
        Ok(self.store.runs(filter, after, limit).await?)
    }

    /// Cancels a run wherever it is, and answers with the run as it then is.
    pub async fn cancel(&self, run: RunId) -> Result<View, FollowError> {
        if let Err(error) = self.store.request_cancel(vec![run]).await {
            warn!(%run, %error, "failed to store that a run is to be cancelled");
        }
        match self.queue.cancel(vec![run]).await?.pop() {
            Some(Cancelled::Ending(ending)) => self.settler.conclude(vec![ending]).await,
            Some(Cancelled::InFlight(_) | Cancelled::Unknown) | None => {}
        }
        self.view(run).await
    }
}
