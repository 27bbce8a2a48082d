//! Payloads that come by hash: fetched once, kept while there is room, the least recently used going first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use marabunta_proto::v1::FetchPayloadRequest;
use sha2::{Digest as _, Sha256};
use tokio::{
    sync::{OnceCell, watch},
    time::{Instant, sleep},
};
use tonic::Code;

use super::backoff::Backoff;
use crate::connect::Connection;

/// Bytes of payloads kept in memory.
const ROOM: usize = 32 << 20;
/// Payloads kept, however small.
const COUNT: usize = 4_096;

/// Why a payload cannot be had.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum FetchError {
    #[error("the server no longer has the payload")]
    NotFound,
    #[error("the payload that the server sent does not have the hash it was asked for")]
    Damaged,
}

/// The payloads at hand, and the way to others. Clones share them.
#[derive(Clone, Debug)]
pub struct Payloads {
    cache: Arc<Mutex<Cache>>,
    connection: watch::Receiver<Option<Connection>>,
}

type Hash = [u8; 32];

#[derive(Debug, Default)]
struct Cache {
    /// Attempts that want the same payload at the same time share its cell, and so its fetch.
    cells: HashMap<Hash, (Arc<OnceCell<Bytes>>, u64)>,
    clock: u64,
}

impl Payloads {
    /// Fetches over the connection of the session that is live.
    pub fn new(connection: watch::Receiver<Option<Connection>>) -> Self {
        Self { cache: Arc::default(), connection }
    }

    /// The payload with this SHA-256. Waits for a server as long as it takes.
    pub async fn get(&self, hash: [u8; 32]) -> Result<Bytes, FetchError> {
        let cell = self.lock().cell(hash);
        let data = cell.get_or_try_init(|| self.fetch(hash)).await?.clone();
        self.lock().shrink();
        Ok(data)
    }

    async fn fetch(&self, hash: Hash) -> Result<Bytes, FetchError> {
        let (mut connection, mut backoff) = (self.connection.clone(), Backoff::default());
        loop {
            let Ok(live) = connection.wait_for(Option::is_some).await.map(|live| live.clone()) else {
                // The daemon is ending and drops this attempt.
                return std::future::pending().await;
            };
            let Some(live) = live else { continue };
            let request = FetchPayloadRequest { hash: Bytes::copy_from_slice(&hash) };
            match live.dispatch().fetch_payload(request).await {
                Ok(response) => {
                    let data = response.into_inner().data;
                    let right = Sha256::digest(&data).as_slice() == hash;
                    return if right { Ok(data) } else { Err(FetchError::Damaged) };
                }
                Err(status) if status.code() == Code::NotFound => return Err(FetchError::NotFound),
                Err(status) => {
                    tracing::warn!(error = status.message(), "failed to fetch a payload; trying again");
                    sleep(backoff.next(Instant::now())).await;
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // Nothing panics while it is held; and if, a cache is no worse for it.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cache {
    fn cell(&mut self, hash: Hash) -> Arc<OnceCell<Bytes>> {
        self.clock += 1;
        let entry = self.cells.entry(hash).or_default();
        entry.1 = self.clock;
        entry.0.clone()
    }

    /// Drops what nobody waits for, oldest use first, until the rest fits.
    fn shrink(&mut self) {
        let size = |cell: &OnceCell<Bytes>| cell.get().map_or(0, Bytes::len);
        let mut bytes: usize = self.cells.values().map(|(cell, _)| size(cell)).sum();
        while bytes > ROOM || self.cells.len() > COUNT {
            let oldest = self.cells.iter().filter(|(_, (cell, _))| Arc::strong_count(cell) == 1);
            let Some((&hash, _)) = oldest.min_by_key(|(_, (_, used))| *used) else { return };
            let dropped = self.cells.remove(&hash).map_or(0, |(cell, _)| size(&cell));
            bytes -= dropped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_what_is_being_fetched_stays() {
        let mut cache = Cache::default();
        let data = Bytes::from(vec![0; ROOM / 2]);
        let fetching = cache.cell([0; 32]);
        for number in 1..=2 {
            cache.cell([number; 32]).set(data.clone()).unwrap();
        }
        cache.cell([1; 32]);
        cache.cell([3; 32]).set(Bytes::from_static(b"x")).unwrap();
        cache.shrink();
        let mut left: Vec<u8> = cache.cells.keys().map(|hash| hash[0]).collect();
        left.sort_unstable();
        assert_eq!(left, [0, 1, 3]);
        drop(fetching);
    }
}
