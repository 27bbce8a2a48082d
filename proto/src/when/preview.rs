use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Schedule, When, WhenError, zone};

/// The first `count` times after `after` at which a task would fire, with the zone's offset, as if it were created at
/// `after`. So `now` gives `after` itself; a time in the past gives none.
pub fn preview(
    when: &str,
    zone: &str,
    after: DateTime<Utc>,
    count: usize,
) -> Result<Vec<DateTime<Tz>>, WhenError> {
    let when = When::parse(when)?;
    let zone = zone::parse(zone)?;
    let from = match when {
        When::Now => after - TimeDelta::microseconds(1),
        _ => after,
    };
    let schedule = Schedule::new(when, zone, after);
    Ok(schedule.after(from).take(count).map(|time| time.with_timezone(&zone)).collect())
}
