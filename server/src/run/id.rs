//! Ids. A run's id says when it was made and in which shard of the queue it lives; a fired run's id is the same whoever fires it.

use std::fmt;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use uuid::Uuid;

use super::Place;
use crate::planted::{self, Bug};

/// A run: a version 8 UUID (RFC 9562) of 48 bits of milliseconds since 1970, 12 bits of shard, and 62 bits that are random or, for a fired
/// run, a hash of task, fire time and place, so that the primary key itself guarantees one firing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(Uuid);

/// A task.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(Uuid);

/// The runs of one `all(..)`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupId(Uuid);

/// SHA-256 of a payload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PayloadHash([u8; 32]);

/// A text or bytes that are no id.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{0}` is not an id: write it as 8-4-4-4-12 hexadecimal digits in lower case")]
pub struct IdError(String);

impl RunId {
    /// A new id in this shard (below 4096), for a run that nobody else makes.
    #[must_use]
    pub fn new(now: DateTime<Utc>, shard: u16) -> Self {
        Self::build(now, shard, Uuid::new_v4().as_u128())
    }

    /// The id of a task's firing at this moment in this place: the same on each server that computes it.
    #[must_use]
    pub fn fired(task: TaskId, fire: DateTime<Utc>, place: &Place, shard: u16) -> Self {
        let mut hash = Sha256::new();
        hash.update(task.0.as_bytes());
        hash.update(fire.timestamp_micros().to_be_bytes());
        hash.update(place.to_string().as_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut tail = [0; 16];
        tail.copy_from_slice(&digest[..16]);
        if planted::is(Bug::DoubleFiring) {
            return Self::new(fire, shard);
        }
        Self::build(fire, shard, u128::from_be_bytes(tail))
    }

    fn build(time: DateTime<Utc>, shard: u16, tail: u128) -> Self {
        let ms = u128::try_from(time.timestamp_millis()).unwrap_or(0) & 0xffff_ffff_ffff;
        let bits = ms << 80 | u128::from(shard & 0xfff) << 64 | tail & 0xffff_ffff_ffff_ffff;
        Self(uuid::Builder::from_custom_bytes(bits.to_be_bytes()).into_uuid())
    }

    /// The shard of the queue in which it lives.
    #[must_use]
    pub fn shard(self) -> u16 {
        ((self.0.as_u128() >> 64) & 0xfff) as u16
    }

    /// The moment in its id, in milliseconds since 1970: when it was made, or its fire time.
    #[must_use]
    pub fn millis(self) -> u64 {
        (self.0.as_u128() >> 80) as u64
    }
}

impl GroupId {
    /// A new group.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }

    /// The group of a request with this idempotency key: the same each time.
    #[must_use]
    pub fn keyed(key: &str) -> Self {
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// The group of a task's firing at this moment: the same on each server that computes it.
    #[must_use]
    pub fn fired(task: TaskId, fire: DateTime<Utc>) -> Self {
        let mut hash = Sha256::new();
        hash.update(task.0.as_bytes());
        hash.update(fire.timestamp_micros().to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&digest[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }
}

impl Default for GroupId {
    fn default() -> Self {
        Self::new()
    }
}

impl TaskId {
    /// A new task.
    #[must_use]
    pub fn new() -> Self {
        Self(Uuid::new_v4())
    }
}

impl Default for TaskId {
    fn default() -> Self {
        Self::new()
    }
}

impl PayloadHash {
    /// The hash of these bytes.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self(Sha256::digest(data).into())
    }

    /// From its 32 bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
        bytes.try_into().map(Self).map_err(|_| IdError(format!("{} bytes", bytes.len())))
    }

    /// Its 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for PayloadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for PayloadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! uuid_id {
    ($($id:ident),*) => {$(
        impl $id {
            /// From the 16 bytes by which the store keeps it.
            pub fn from_bytes(bytes: &[u8]) -> Result<Self, IdError> {
                Uuid::from_slice(bytes).map(Self).map_err(|_| IdError(format!("{} bytes", bytes.len())))
            }

            /// The 16 bytes by which the store keeps it.
            #[must_use]
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// As an UUID.
            #[must_use]
            pub fn uuid(self) -> Uuid {
                self.0
            }
        }

        impl std::str::FromStr for $id {
            type Err = IdError;

            /// Only the canonical spelling: lower case, with hyphens, not nil.
            fn from_str(text: &str) -> Result<Self, IdError> {
                let bad = || IdError(text.chars().take(64).collect());
                let id = Uuid::try_parse(text).map_err(|_| bad())?;
                if id.is_nil() || id.to_string() != text { Err(bad()) } else { Ok(Self(id)) }
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

uuid_id!(RunId, TaskId, GroupId);
