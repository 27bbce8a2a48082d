//! The one clock of the campaign.

use std::fmt;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// A moment in microseconds of CLOCK_MONOTONIC, which all processes of a machine share and nobody sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// Later than everything.
    pub const NEVER: Self = Self(u64::MAX);

    pub fn now() -> Self {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has a monotonic clock");
        Self(u64::try_from(Duration::from(now).as_micros()).expect("half a million years fit"))
    }

    /// When a wall clock of this machine, as the database's and Redis' are, showed so many microseconds since 1970: as good as nobody has set it
    /// since.
    pub fn of_wall(micros: i64) -> Self {
        let now = clock_gettime(ClockId::CLOCK_REALTIME).expect("every Linux has a wall clock");
        let now = i64::try_from(Duration::from(now).as_micros()).expect("it fits for 290,000 years");
        let ago = now.saturating_sub(micros);
        let since_boot = i64::try_from(Self::now().0).unwrap_or(i64::MAX);
        Self(u64::try_from(since_boot.saturating_sub(ago)).unwrap_or_default())
    }

    /// The time from an earlier moment to this one; nothing if it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(micros(span)))
    }

    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(micros(span)))
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3} s", Duration::from_micros(self.0).as_secs_f64())
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
