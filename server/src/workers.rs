//! The workers as people see them: what is stored of each, and whether it is connected.

use std::sync::Arc;

use marabunta_proto::name::Name;
use marabunta_proto::selector::Selector;
use tokio_util::task::TaskTracker;
use tracing::warn;

use crate::batch::Batcher;
use crate::dispatch::Hello;
use crate::panics::Panics;
use crate::queue::{Hint, Queue, QueueError, Session};
use crate::store::{Registered, Registration, Store, StoreError, WorkerRow};
use thiserror::Error;

/// The registry of workers. Cloning is cheap.
#[derive(Clone)]
pub struct Workers {
    queue: Arc<dyn Queue>,
    store: Store,
    registrations: Batcher<Registration, Registered>,
}

/// What is known of a worker while the store is away.
const UNKNOWN: Registered = Registered { draining: false, matches_others: false };

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
    /// Starts the writer of registrations: thousands may connect at once, and none is to wait for a transaction of each other.
    pub fn spawn(tracker: &TaskTracker, panics: &Panics, queue: Arc<dyn Queue>, store: Store) -> Self {
        let registry = store.clone();
        let registrations = Batcher::spawn(tracker, panics, move |workers: Vec<Registration>| {
            let store = registry.clone();
            async move {
                store.register(&workers).await.unwrap_or_else(|error| {
                    warn!(workers = workers.len(), %error, "failed to register workers");
                    vec![UNKNOWN; workers.len()]
                })
            }
        });
        Self { queue, store, registrations }
    }

    /// Notes that a worker connects. While the store is away it is not to be drained, as far as is known.
    pub async fn register(&self, hello: &Hello) -> Registered {
        let registration = Registration {
            name: hello.worker.clone(),
            traits: hello.traits.clone(),
            slots: hello.slots,
            version: hello.version.clone(),
        };
        // The writer is gone when the server stops, and then no session is opened.
        let registered = self.registrations.write(vec![registration]).await;
        registered.ok().and_then(|all| all.first().copied()).unwrap_or(UNKNOWN)
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
