//! Where runs are kept: opened as the configuration says.

use std::fs::{DirBuilder, File, TryLockError};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use thiserror::Error;

use crate::config::Backend;
use crate::panics::Panics;
use crate::queue::embedded::Embedded;
use crate::queue::redis::{RedisOptions, RedisQueue};
use crate::queue::{Limits, Queue, QueueError};
use crate::store::{Store, StoreError, StoreOptions, StoreUrl, StoreUrlError};

/// Store and queue.
pub(super) struct Kept {
    pub store: Store,
    pub queue: Arc<dyn Queue>,
    /// For the log, without a secret.
    pub shown: String,
    /// Held while the directory is this server's.
    _lock: Option<File>,
}

/// Why nothing can be kept.
#[derive(Debug, Error)]
pub enum BackendError {
    #[error("open the data directory {path}: {problem}")]
    Data { path: String, problem: String },
    #[error(transparent)]
    Url(#[from] StoreUrlError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

/// Opens them; `server` is this server's id.
pub(super) async fn open(
    backend: Backend,
    limits: Limits,
    server: String,
    panics: Panics,
) -> Result<Kept, BackendError> {
    let options = StoreOptions { panics: panics.clone(), ..StoreOptions::default() };
    match backend {
        Backend::Embedded(directory) => {
            let lock = own(&directory)?;
            let url = StoreUrl::Sqlite(directory.join("marabunta.db"));
            let store = Store::open(&url, &options).await?;
            store.shards(1).await?;
            let queue: Arc<dyn Queue> = Arc::new(Embedded::new(limits));
            Ok(Kept {
                store,
                queue,
                shown: format!("embedded, in {}", directory.display()),
                _lock: Some(lock),
            })
        }
        Backend::Shared { mysql, redis, prefix } => {
            let url = StoreUrl::mysql(&mysql.0)?;
            let store = Store::open(&url, &options).await?;
            let shards = store.shards(1).await?;
            let redis =
                RedisOptions { shards, limits, panics, ..RedisOptions::new(redis.0, prefix.clone(), server) };
            let queue: Arc<dyn Queue> = Arc::new(RedisQueue::connect(redis).await?);
            Ok(Kept { store, queue, shown: format!("{url:?} and redis, prefix {prefix}"), _lock: None })
        }
    }
}

/// Makes the directory this server's alone.
fn own(directory: &Path) -> Result<File, BackendError> {
    let failed = |problem: String| BackendError::Data { path: directory.display().to_string(), problem };
    let io = |error: std::io::Error| failed(error.to_string());
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io)?;
    let lock = File::create(directory.join("lock")).map_err(io)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(failed("another server uses it; give this one its own".into())),
        Err(TryLockError::Error(error)) => Err(io(error)),
    }
}
