//! Time. The only place that reads the machine's wall clock.
//!
//! Schedules live on the store's clock and leases on the queue's. [`StoreClock`] follows the former from reading to reading by the
//! monotonic clock, so that accepting a run costs no round trip and a jump of this machine's clock changes nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;

/// The machine's wall time, in UTC. A clock set before 1970 reads as 1970.
#[must_use]
#[allow(clippy::disallowed_methods)]
pub fn wall() -> DateTime<Utc> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    DateTime::from_timestamp(since.as_secs().cast_signed(), since.subsec_nanos()).unwrap_or_default()
}

/// The store's time, as of its latest reading.
#[derive(Clone)]
pub struct StoreClock {
    read: Arc<Mutex<(DateTime<Utc>, Instant)>>,
}

impl StoreClock {
    /// A clock that was just read.
    #[must_use]
    pub fn new(now: DateTime<Utc>) -> Self {
        Self { read: Arc::new(Mutex::new((now, Instant::now()))) }
    }

    /// Another reading.
    pub fn set(&self, now: DateTime<Utc>) {
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = (now, Instant::now());
    }

    /// The time now, in whole microseconds, as the store keeps it.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        let (read, at) = *self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let now = read + TimeDelta::from_std(at.elapsed()).unwrap_or(TimeDelta::MAX);
        DateTime::from_timestamp_micros(now.timestamp_micros()).unwrap_or(now)
    }
}
