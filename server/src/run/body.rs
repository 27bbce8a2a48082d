//! A run as the bytes that the queue carries. Unknown fields are skipped, so servers of two versions share a queue.

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use marabunta_proto::target::Target;
use prost::Message;
use thiserror::Error;

use super::{
    Durability, GroupId, Overlap, Payload, PayloadHash, Place, Policy, Priority, Run, RunId, TaskId, TaskRef,
};

/// Bytes that are not a run.
#[derive(Debug, Error)]
pub enum BodyError {
    #[error("decode a queued run: {0}")]
    Encoding(#[from] prost::DecodeError),
    #[error("decode a queued run: its {0} is missing or wrong")]
    Field(&'static str),
}

#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(bytes = "bytes", tag = "1")]
    task_id: Bytes,
    #[prost(string, tag = "2")]
    task_name: String,
    #[prost(bytes = "bytes", tag = "3")]
    group: Bytes,
    #[prost(string, tag = "4")]
    place: String,
    #[prost(string, tag = "5")]
    handler: String,
    #[prost(bytes = "bytes", tag = "6")]
    inline: Bytes,
    #[prost(bytes = "bytes", tag = "7")]
    stored: Bytes,
    #[prost(uint32, tag = "8")]
    priority: u32,
    #[prost(bool, tag = "9")]
    durable: bool,
    #[prost(uint32, tag = "10")]
    retries: u32,
    #[prost(uint64, tag = "11")]
    backoff_ms: u64,
    #[prost(uint32, tag = "12")]
    max_lost: u32,
    #[prost(uint64, optional, tag = "13")]
    timeout_ms: Option<u64>,
    #[prost(uint64, optional, tag = "14")]
    expires_ms: Option<u64>,
    #[prost(uint32, tag = "15")]
    overlap: u32,
    #[prost(int64, tag = "16")]
    created_us: i64,
    #[prost(int64, tag = "17")]
    due_us: i64,
}

impl Run {
    /// All but the id, as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (inline, stored) = match &self.payload {
            Payload::Inline(data) => (data.clone(), Bytes::new()),
            Payload::Stored(hash) => (Bytes::new(), Bytes::copy_from_slice(hash.as_bytes())),
        };
        Body {
            task_id: self
                .task
                .as_ref()
                .map_or_else(Bytes::new, |task| Bytes::copy_from_slice(task.id.as_bytes())),
            task_name: self.task.as_ref().map_or_else(String::new, |task| task.name.to_string()),
            group: self
                .group
                .as_ref()
                .map_or_else(Bytes::new, |group| Bytes::copy_from_slice(group.as_bytes())),
            place: self.place.to_string(),
            handler: self.handler.to_string(),
            inline,
            stored,
            priority: self.priority as u32,
            durable: self.durability == Durability::Durable,
            retries: self.policy.retries,
            backoff_ms: millis(self.policy.backoff),
            max_lost: self.policy.max_lost,
            timeout_ms: self.policy.timeout.map(millis),
            expires_ms: self.policy.expires.map(millis),
            overlap: self.overlap as u32,
            created_us: self.created.timestamp_micros(),
            due_us: self.due.timestamp_micros(),
        }
        .encode_to_vec()
    }

    /// From what [`Run::encode`] made.
    pub fn decode(id: RunId, bytes: &[u8]) -> Result<Self, BodyError> {
        let body = Body::decode(bytes)?;
        let task = match &body.task_id[..] {
            [] => None,
            id => Some(TaskRef {
                id: TaskId::from_bytes(id).map_err(|_| BodyError::Field("task"))?,
                name: body.task_name.parse().map_err(|_| BodyError::Field("task"))?,
            }),
        };
        let group = match &body.group[..] {
            [] => None,
            id => Some(GroupId::from_bytes(id).map_err(|_| BodyError::Field("group"))?),
        };
        Ok(Self {
            id,
            task,
            group,
            place: Place::parse(&body.place).ok_or(BodyError::Field("place"))?,
            handler: body.handler.parse().map_err(|_| BodyError::Field("handler"))?,
            payload: match &body.stored[..] {
                [] => Payload::Inline(body.inline),
                hash => {
                    Payload::Stored(PayloadHash::from_bytes(hash).map_err(|_| BodyError::Field("payload"))?)
                }
            },
            priority: Priority::from_number(body.priority.into()).ok_or(BodyError::Field("priority"))?,
            durability: if body.durable { Durability::Durable } else { Durability::Fast },
            policy: Policy {
                retries: body.retries,
                backoff: Duration::from_millis(body.backoff_ms),
                max_lost: body.max_lost,
                timeout: body.timeout_ms.map(Duration::from_millis),
                expires: body.expires_ms.map(Duration::from_millis),
            },
            overlap: Overlap::from_number(body.overlap.into()).ok_or(BodyError::Field("overlap"))?,
            created: time(body.created_us).ok_or(BodyError::Field("creation time"))?,
            due: time(body.due_us).ok_or(BodyError::Field("due time"))?,
        })
    }
}

impl Place {
    /// From its canonical text; `None` for an `all(..)`, which is no place, and for what is no target.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.parse().ok()? {
            Target::Worker(name) => Some(Self::Worker(name)),
            Target::Any(selector) => Some(Self::Any(selector)),
            Target::All(_) => None,
        }
    }
}

impl Overlap {
    /// The policy with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        [Self::Allow, Self::Skip, Self::Queue, Self::Replace].get(usize::try_from(number).ok()?).copied()
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn time(micros: i64) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros)
}
