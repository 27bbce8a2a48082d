//! One record of the log, in protobuf, so that fields can be added. Each says by itself whose it is: any segment can be read, and
//! removed, alone.

use bytes::Bytes;
use marabunta_proto::v1::{AttemptEnd, MessageBatch};
use prost::Message as _;

/// No worker counts its attempts, and no attempt its messages, beyond this.
const MOST: u64 = u64::MAX >> 1;

#[derive(Clone, PartialEq, prost::Message)]
pub struct Record {
    /// The worker's own number of the attempt.
    #[prost(uint64, tag = "1")]
    pub key: u64,
    /// The lease at the time of writing; empty in `Forgotten`.
    #[prost(bytes = "bytes", tag = "2")]
    pub lease: Bytes,
    #[prost(oneof = "Body", tags = "3, 4, 5, 6")]
    pub body: Option<Body>,
}

/// Leases inside the bodies are empty: the record's, or that of a later `Relet`, counts.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Body {
    #[prost(message, tag = "3")]
    Messages(MessageBatch),
    #[prost(message, tag = "4")]
    End(End),
    /// From here on the attempt has the record's lease.
    #[prost(bool, tag = "5")]
    Relet(bool),
    /// Whatever was written of the attempt is settled.
    #[prost(bool, tag = "6")]
    Forgotten(bool),
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct End {
    /// The run's id.
    #[prost(string, tag = "1")]
    pub run: String,
    #[prost(message, optional, tag = "2")]
    pub end: Option<AttemptEnd>,
}

impl Record {
    /// Reads what a log holds; `None` for what no worker wrote.
    pub fn read(body: &[u8]) -> Option<Self> {
        let record = Self::decode(body).ok()?;
        let last = match &record.body {
            Some(Body::Messages(batch)) => batch.first.checked_add(batch.messages.len() as u64)?,
            _ => 0,
        };
        (record.key.max(last) < MOST).then_some(record)
    }
}
