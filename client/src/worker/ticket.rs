//! What a daemon leaves with the supervisor of an attempt, for the daemon that adopts it.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use super::attempts::{Key, Lease, Stop};

/// In protobuf, so that fields can be added: whoever reads it may be of another version.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Ticket {
    #[prost(uint64, tag = "1")]
    key: u64,
    /// The run's id.
    #[prost(string, tag = "2")]
    pub run: String,
    /// The latest.
    #[prost(bytes = "bytes", tag = "3")]
    lease: Bytes,
    #[prost(message, optional, tag = "4")]
    pub started: Option<prost_types::Timestamp>,
    /// The run's own time limit, if its command may not take longer.
    #[prost(uint64, optional, tag = "5")]
    limit_micros: Option<u64>,
    /// Why it was told to stop, if it was.
    #[prost(enumeration = "Reason", tag = "6")]
    reason: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
enum Reason {
    None = 0,
    Cancel = 1,
    Drain = 2,
    Abandon = 3,
}

impl Ticket {
    pub fn new(key: Key, run: String, lease: Lease, started: prost_types::Timestamp) -> Self {
        Self { key: key.0, run, lease: lease.0, started: Some(started), limit_micros: None, reason: 0 }
    }

    /// `None` if it is not one of ours.
    pub fn read(bytes: &Bytes) -> Option<Self> {
        Self::decode(bytes.clone()).ok().filter(|ticket| ticket.key > 0 && !ticket.lease.is_empty())
    }

    pub fn bytes(&self) -> Bytes {
        self.encode_to_vec().into()
    }

    pub fn key(&self) -> Key {
        Key(self.key)
    }

    pub fn lease(&self) -> Lease {
        Lease(self.lease.clone())
    }

    pub fn limit(&self) -> Option<Duration> {
        self.limit_micros.map(Duration::from_micros)
    }

    pub fn set_limit(&mut self, limit: Duration) {
        self.limit_micros = u64::try_from(limit.as_micros()).ok();
    }

    pub fn stop(&self) -> Option<Stop> {
        match Reason::try_from(self.reason) {
            Ok(Reason::None) => None,
            Ok(Reason::Cancel) => Some(Stop::Cancel),
            Ok(Reason::Drain) => Some(Stop::Drain),
            // Of a reason that this version does not know nothing can be reported.
            Ok(Reason::Abandon) | Err(_) => Some(Stop::Abandon),
        }
    }

    /// Takes over what has changed since; whether anything has.
    pub fn update(&mut self, lease: &Lease, stop: Option<Stop>) -> bool {
        let reason = match stop {
            None => Reason::None,
            Some(Stop::Cancel) => Reason::Cancel,
            Some(Stop::Drain | Stop::Leave) => Reason::Drain,
            Some(Stop::Abandon) => Reason::Abandon,
        };
        let new = Self { lease: lease.0.clone(), reason: reason.into(), ..self.clone() };
        let changed = new != *self;
        *self = new;
        changed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_tells_the_next_daemon_all_that_the_last_one_knew() {
        let lease = |name: &str| Lease(Bytes::copy_from_slice(name.as_bytes()));
        let mut ticket = Ticket::new(Key(7), "r".into(), lease("a"), prost_types::Timestamp::default());
        ticket.set_limit(Duration::from_millis(1500));
        assert!(!ticket.update(&lease("a"), None));
        for stop in [Stop::Cancel, Stop::Drain, Stop::Abandon] {
            assert!(ticket.update(&lease("b"), Some(stop)), "{stop:?}");
            let read = Ticket::read(&ticket.bytes()).unwrap();
            assert_eq!((read.key(), read.lease(), read.stop()), (Key(7), lease("b"), Some(stop)));
            assert_eq!((read.limit(), read.run.as_str()), (Some(Duration::from_millis(1500)), "r"));
        }
    }

    #[test]
    fn what_is_no_ticket_is_none() {
        for bytes in [&b""[..], b"\xff\xff", b"hello"] {
            assert_eq!(Ticket::read(&Bytes::from_static(bytes)), None, "{bytes:?}");
        }
    }
}
