//! The only place that reads the machine's wall clock.
//!
//! Schedules live on the database's clock and leases on the queue's. This one serves what needs no agreement: the time in a run's id,
//! and, embedded, the wall time itself.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, Utc};

/// The machine's wall time, in UTC. A clock set before 1970 reads as 1970.
#[must_use]
#[allow(clippy::disallowed_methods)]
pub fn wall() -> DateTime<Utc> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    DateTime::from_timestamp(since.as_secs().cast_signed(), since.subsec_nanos()).unwrap_or_default()
}
