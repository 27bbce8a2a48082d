//! By how much each of a task's runs is delayed: the same at each firing and on each server.

use std::time::Duration;

use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};

use crate::run::{Place, TaskId};

/// The delay of a task's runs in this place: from zero up to `splay`, in whole milliseconds.
#[must_use]
pub fn splay(task: TaskId, place: &Place, splay: Duration) -> TimeDelta {
    let most = u64::try_from(splay.as_millis()).unwrap_or(u64::MAX).saturating_add(1);
    let delay = number(task.as_bytes(), &place.to_string()) % most;
    TimeDelta::milliseconds(i64::try_from(delay).unwrap_or(i64::MAX))
}

fn number(task: &[u8], place: &str) -> u64 {
    let digest: [u8; 32] = Sha256::new().chain_update(task).chain_update(place).finalize().into();
    digest[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
