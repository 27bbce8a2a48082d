//! Messages: output, notes and progress of attempts.

use bytes::Bytes;
use chrono::{DateTime, Utc};

use super::{Store, StoreError};
use crate::run::{Fence, RunId};

/// What a message is. The numbers are part of the SQL interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    Stdout = 1,
    Stderr = 2,
    Note = 3,
    Progress = 4,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    pub kind: MessageKind,
    /// Bytes, not text.
    pub data: Bytes,
    /// When the worker says it arose.
    pub time: DateTime<Utc>,
}

/// Messages of one attempt, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageBatch {
    pub run: RunId,
    pub fence: Fence,
    /// The number of the first one, counted from 0 over the whole attempt.
    pub first: u64,
    pub messages: Vec<Message>,
}

/// A message and its place in its run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMessage {
    pub fence: Fence,
    /// Counted from 0 over the whole attempt.
    pub number: u64,
    pub message: Message,
}

impl Store {
    /// Keeps messages; committed on return. What is there already is left as it is.
    pub async fn append(&self, batches: Vec<MessageBatch>) -> Result<(), StoreError> {
        todo!()
    }

    /// A run's messages in order, after this one, at most `limit`. Attempts are in the order of their fences.
    pub async fn messages(
        &self,
        run: RunId,
        after: Option<(Fence, u64)>,
        limit: u32,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        todo!()
    }
}
