//! Payloads: stored once each, whoever uses them.

use bytes::Bytes;

use super::{Store, StoreError};
use crate::run::{Payload, PayloadHash};

impl Store {
    /// Makes each of these JSON texts fit to travel: kept in the store if it is longer than [`Payload::INLINE`], as it is otherwise. In order.
    pub async fn intern(&self, payloads: Vec<Bytes>) -> Result<Vec<Payload>, StoreError> {
        todo!()
    }

    /// The payload with this hash.
    pub async fn payload(&self, hash: PayloadHash) -> Result<Option<Bytes>, StoreError> {
        todo!()
    }
}
