//! Facts about the whole installation.

use uuid::Uuid;

use super::{Store, StoreError};
use crate::run::Fence;

impl Store {
    /// The number of shards of the queue: `default` at the very first call, and the same for ever.
    pub async fn shards(&self, default: u16) -> Result<u16, StoreError> {
        todo!()
    }

    /// The id of the installation, made at the very first call.
    pub async fn installation(&self) -> Result<Uuid, StoreError> {
        todo!()
    }

    /// No fence below this may be given out.
    pub async fn fence_floor(&self) -> Result<Fence, StoreError> {
        todo!()
    }

    /// Raises the floor to this, unless it is higher.
    pub async fn raise_fence_floor(&self, floor: Fence) -> Result<(), StoreError> {
        todo!()
    }
}
