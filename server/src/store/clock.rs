//! The time of an embedded store: anchored to the wall clock once, then advanced by the monotonic one, so that a clock that is set does not
//! fire a day's schedules at once.

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::time::Instant;
use tracing::warn;

use crate::clock;

/// A difference from the wall clock worth a warning.
const NOTICED: TimeDelta = TimeDelta::seconds(2);
/// How long the difference must stand until it is followed.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct SteadyClock(Mutex<Anchor>);

#[derive(Debug)]
struct Anchor {
    wall: DateTime<Utc>,
    at: Instant,
    /// Since when the wall clock has been elsewhere.
    apart_since: Option<Instant>,
}

impl SteadyClock {
    pub fn new() -> Self {
        Self(Mutex::new(Anchor { wall: clock::wall(), at: Instant::now(), apart_since: None }))
    }

    pub fn now(&self) -> DateTime<Utc> {
        let mut anchor = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        super::time::truncate(anchor.now(clock::wall(), Instant::now()))
    }
}

impl Anchor {
    /// The steadied time, when the wall clock shows `wall` at the instant `at`.
    fn now(&mut self, wall: DateTime<Utc>, at: Instant) -> DateTime<Utc> {
        let passed = TimeDelta::from_std(at.saturating_duration_since(self.at)).unwrap_or(TimeDelta::MAX);
        let steady = self.wall.checked_add_signed(passed).unwrap_or(wall);
        let apart = wall - steady;
        if apart.abs() <= NOTICED {
            self.apart_since = None;
            return steady;
        }
        let since = *self.apart_since.get_or_insert_with(|| {
            warn!(
                seconds = apart.num_seconds(),
                "the wall clock was set; it is followed if it stays so for 60 s"
            );
            at
        });
        if at.saturating_duration_since(since) < PATIENCE {
            return steady;
        }
        warn!(seconds = apart.num_seconds(), "following the wall clock");
        *self = Self { wall, at, apart_since: None };
        wall
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_is_followed_after_a_minute_only() {
        let (wall, at) = (DateTime::UNIX_EPOCH, Instant::now());
        let mut anchor = Anchor { wall, at, apart_since: None };
        // Seconds passed, seconds the wall clock is ahead, seconds the steady one is ahead.
        for (passed, ahead, followed) in
            [(1, 0, 0), (2, 2, 0), (3, 3600, 0), (62, 3600, 0), (63, 3600, 3600), (64, 3600, 3600)]
        {
            let steady = anchor.now(
                wall + TimeDelta::seconds(passed + ahead),
                at + Duration::from_secs(passed.unsigned_abs()),
            );
            assert_eq!(steady, wall + TimeDelta::seconds(passed + followed), "after {passed} s");
        }
    }

    #[test]
    fn a_clock_that_comes_back_is_never_followed() {
        let (wall, at) = (DateTime::UNIX_EPOCH, Instant::now());
        let mut anchor = Anchor { wall, at, apart_since: None };
        for (passed, ahead) in [(1, 3600), (50, 0), (55, 3600), (100, 3600)] {
            let steady = anchor.now(
                wall + TimeDelta::seconds(passed + ahead),
                at + Duration::from_secs(passed.unsigned_abs()),
            );
            assert_eq!(steady, wall + TimeDelta::seconds(passed), "after {passed} s");
        }
    }
}
