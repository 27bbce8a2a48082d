//! Workers: every one that ever connected.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use marabunta_proto::name::Name;
use marabunta_proto::selector::Selector;

use super::{Store, StoreError};

/// What a worker says of itself when it connects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    pub name: Name,
    pub labels: BTreeMap<String, String>,
    pub slots: u32,
    pub handlers: Vec<Name>,
    pub version: String,
}

/// A worker as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerRow {
    pub registration: Registration,
    /// When it first connected.
    pub registered: DateTime<Utc>,
    /// When it last connected.
    pub connected: DateTime<Utc>,
    pub draining: bool,
}

/// Some workers, by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WorkerPage {
    pub workers: Vec<WorkerRow>,
    /// Where the next page starts: after this name. `None` on the last.
    pub next: Option<Name>,
}

impl Store {
    /// A worker has connected. Answers whether it is to be drained.
    pub async fn register(&self, worker: Registration) -> Result<bool, StoreError> {
        todo!()
    }

    /// The workers that match, by name, at most `limit`.
    pub async fn workers(
        &self,
        selector: &Selector,
        after: Option<&Name>,
        limit: u32,
    ) -> Result<WorkerPage, StoreError> {
        todo!()
    }

    pub async fn worker(&self, name: &Name) -> Result<Option<WorkerRow>, StoreError> {
        todo!()
    }

    /// From now on it gets nothing new, or gets work again. `false`: no such worker.
    pub async fn set_draining(&self, name: &Name, draining: bool) -> Result<bool, StoreError> {
        todo!()
    }

    /// The names of all registered workers that match, in order.
    pub async fn matching(&self, selector: &Selector) -> Result<Vec<Name>, StoreError> {
        todo!()
    }
}
