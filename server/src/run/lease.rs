//! The right to one attempt, and how it travels: opaque bytes that a worker hands back with what it reports.

use marabunta_proto::name::Name;
use thiserror::Error;

use super::{Durability, RunId};

/// A number that only grows from attempt to attempt of a run; only the latest counts. Never 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

impl Fence {
    /// By so many microseconds a fence may be later than the time: clocks differ, and are set back.
    pub const AHEAD: u64 = 24 * 3600 * 1_000_000;

    /// So long after it was given, in microseconds, the row of its run may still be on its way to the store.
    pub const YOUNG: u64 = 60 * 1_000_000;

    /// Whether it was given a moment before `now`, in microseconds since 1970: that nobody knows its run does not say yet that there is none.
    #[must_use]
    pub fn is_young(self, now: u64) -> bool {
        now < self.0.saturating_add(Self::YOUNG) && self.is_possible(now)
    }

    /// Whether it can have been given by now, in microseconds since 1970, as fences are no later than the time when they are given. One that
    /// cannot, and that nobody knows, is forged.
    #[must_use]
    pub fn is_possible(self, now: u64) -> bool {
        self.0 <= now.saturating_add(Self::AHEAD)
    }
}

/// A worker's right to one attempt. It counts while its fence is the run's latest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Lease {
    pub run: RunId,
    pub fence: Fence,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    pub durability: Durability,
    /// The worker to which it was given.
    pub worker: Name,
}

/// Bytes that are no lease of this installation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the lease is damaged: {0}")]
pub struct LeaseError(&'static str);

const VERSION: u8 = 1;
const HEAD: usize = 1 + 16 + 8 + 4 + 1;

impl Lease {
    /// As bytes: version, run, fence, attempt, durability, worker; numbers big-endian.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let worker = self.worker.as_str().as_bytes();
        let mut bytes = Vec::with_capacity(HEAD + worker.len());
        bytes.push(VERSION);
        bytes.extend(self.run.as_bytes());
        bytes.extend(self.fence.0.to_be_bytes());
        bytes.extend(self.attempt.to_be_bytes());
        bytes.push(u8::from(self.durability == Durability::Durable));
        bytes.extend(worker);
        bytes
    }

    /// From what [`Lease::encode`] made. Bytes that it did not make are refused, but a forged lease is caught by its fence alone.
    pub fn decode(bytes: &[u8]) -> Result<Self, LeaseError> {
        let (head, worker) = bytes.split_at_checked(HEAD).ok_or(LeaseError("it is too short"))?;
        if head[0] != VERSION {
            return Err(LeaseError("its version is unknown"));
        }
        let number =
            |from: usize, to: usize| head[from..to].iter().fold(0u64, |n, byte| n << 8 | u64::from(*byte));
        let durability = match head[29] {
            0 => Durability::Fast,
            1 => Durability::Durable,
            _ => return Err(LeaseError("its class is unknown")),
        };
        let worker = std::str::from_utf8(worker).map_err(|_| LeaseError("its worker is not a name"))?;
        match number(17, 25) {
            0 => Err(LeaseError("its fence is 0")),
            fence => Ok(Self {
                run: RunId::from_bytes(&head[1..17]).map_err(|_| LeaseError("its run is not an id"))?,
                fence: Fence(fence),
                attempt: number(25, 29) as u32,
                durability,
                worker: worker.parse().map_err(|_| LeaseError("its worker is not a name"))?,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        Lease {
            run: RunId::new(crate::clock::wall(), 7),
            fence: Fence(1_767_225_600_000_001),
            attempt: 2,
            durability: Durability::Durable,
            worker: "web-1".parse().unwrap(),
        }
    }

    #[test]
    fn a_lease_survives_the_way_to_a_worker_and_back() {
        let lease = lease();
        assert_eq!(Lease::decode(&lease.encode()), Ok(lease));
    }

    #[test]
    fn a_lease_cut_short_anywhere_is_refused_or_names_another_worker() {
        let whole = lease().encode();
        for length in 0..whole.len() {
            if let Ok(cut) = Lease::decode(&whole[..length]) {
                assert_ne!(cut.worker, lease().worker);
            }
        }
    }
}
