//! Short ways to write times in tables.

use chrono::{DateTime, Utc};
use marabunta_proto::when::{Schedule, When, parse_zone};

/// An instant from RFC 3339.
pub fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// A schedule of a task created at `created`.
pub fn schedule(when: &str, zone: &str, created: DateTime<Utc>) -> Schedule {
    let when = When::parse(when).unwrap_or_else(|error| panic!("{when}: {error}"));
    let zone = parse_zone(zone).unwrap_or_else(|error| panic!("{zone}: {error}"));
    Schedule::new(when, zone, created)
}

/// The next firings as a table writes them: RFC 3339 with the zone's offset, and the date only where it changes.
pub fn firings(when: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(when, zone, utc(after));
    let times = schedule.after(utc(after)).take(count);
    times
        .map(|time| time.with_timezone(&schedule.zone()).format("%Y-%m-%dT%H:%M:%S%:z").to_string())
        .collect()
}
