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

/// The next firings as tables write them: RFC 3339 with the offset of the zone.
pub fn firings(when: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(when, zone, utc(after));
    let times = schedule.after(utc(after)).take(count);
    times
        .map(|time| time.with_timezone(&schedule.zone()).format("%Y-%m-%dT%H:%M:%S%:z").to_string())
        .collect()
}

/// Seeded numbers that look random (SplitMix64), so that a failure comes again.
pub struct Dice(u64);

impl Dice {
    /// The same seed throws the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to `limit - 1`.
    pub fn below(&mut self, limit: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % u64::from(limit)) as u32
    }
}
