//! The workers as people see them: what is stored of each, and whether it is connected.

use std::sync::Arc;

use marabunta_proto::name::Name;
use marabunta_proto::selector::Selector;
use tracing::warn;

use crate::dispatch::Hello;
use crate::queue::{Hint, Queue, QueueError, Session};
use crate::store::{Registered, Registration, Store, StoreError, WorkerRow};
use thiserror::Error;

/// The registry of workers. Cloning is cheap.
#[derive(Clone)]
pub struct Workers {
    pub queue: Arc<dyn Queue>,
    pub store: Store,
}

/// A worker and its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    pub row: WorkerRow,
    /// `None`: not connected.
    pub session: Option<Session>,
    /// How many attempts the queue has given it.
    pub holding: u64,
}

/// Why a question about workers was not answered.
#[derive(Debug, Error)]
pub enum WorkersError {
    #[error("no worker named `{0}` ever connected")]
    NotFound(Name),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl Workers {
    /// Notes that a worker connects. While the store is away it is not to be drained, as far as is known.
    pub async fn register(&self, hello: &Hello) -> Registered {
        let registration = Registration {
            name: hello.worker.clone(),
            labels: hello.labels.clone(),
            slots: hello.slots,
            handlers: hello.handlers.clone(),
            version: hello.version.clone(),
        };
        self.store.register(registration).await.unwrap_or_else(|error| {
            warn!(worker = %hello.worker, %error, "failed to register a worker");
            Registered { draining: false, matches_others: false }
        })
    }

    /// Some workers by name, after this one, at most `limit`; and where the next page starts.
    pub async fn list(
        &self,
        selector: &Selector,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<(Vec<WorkerView>, Option<Name>), WorkersError> {
        let page = self.store.workers(selector, after, limit).await?;
        Ok((self.view(page.workers).await?, page.next))
    }

    /// One worker.
    pub async fn get(&self, name: &Name) -> Result<WorkerView, WorkersError> {
        let row = self.store.worker(name).await?.ok_or_else(|| WorkersError::NotFound(name.clone()))?;
        let mut views = self.view(vec![row]).await?;
        views.pop().ok_or_else(|| WorkersError::NotFound(name.clone()))
    }

    /// Gives a worker nothing new, or work again; at once, wherever it is connected.
    pub async fn drain(&self, name: &Name, draining: bool) -> Result<WorkerView, WorkersError> {
        if !self.store.set_draining(name, draining).await? {
            return Err(WorkersError::NotFound(name.clone()));
        }
        self.queue.announce(Hint::Drain { worker: name.clone(), draining }).await?;
        self.get(name).await
    }

    async fn view(&self, rows: Vec<WorkerRow>) -> Result<Vec<WorkerView>, WorkersError> {
        let names: Vec<Name> = rows.iter().map(|row| row.registration.name.clone()).collect();
        let sessions = self.queue.sessions(names.clone()).await?;
        let holding = self.queue.holding(names).await?;
        let views = rows.into_iter().zip(sessions).zip(holding);
        Ok(views.map(|((row, session), holding)| WorkerView { row, session, holding }).collect())
    }
}
