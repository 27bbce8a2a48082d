//! The connection to a database.

use std::path::PathBuf;

use chrono::{DateTime, Utc};
use thiserror::Error;

use super::StoreError;

/// Where the store is.
#[derive(Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file, created when missing. One process at a time.
    Sqlite(PathBuf),
    /// `mysql://user:password@host:port/database`, MySQL or MariaDB. Its `Debug` hides the password.
    Mysql(String),
}

/// How to connect.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Connections to MySQL at the most, or readers of SQLite.
    pub connections: u32,
}

/// The database, by way of a pool. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Store;

/// A text that is no URL of a store.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct StoreUrlError(String);

impl StoreUrl {
    /// A MySQL URL that names host and database. No error quotes the URL: it may hold a password.
    pub fn mysql(text: &str) -> Result<Self, StoreUrlError> {
        todo!()
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { connections: 16 }
    }
}

impl Store {
    /// Connects and brings the tables to this program's version. Several servers may do so at once.
    pub async fn open(url: &StoreUrl, options: &StoreOptions) -> Result<Self, StoreError> {
        todo!()
    }

    /// The store's time, in microseconds: the database's, or for SQLite that of this process, steadied.
    pub async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        todo!()
    }

    /// Whether this process is the only one to use the store.
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        todo!()
    }

    /// Waits for what is under way and closes all connections.
    pub async fn close(&self) {
        todo!()
    }
}
