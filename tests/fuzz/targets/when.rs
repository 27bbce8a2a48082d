//! Schedules: what is read means one thing, fires some day, and the next firing always lies ahead.

#![no_main]

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::{TZ_VARIANTS, Tz};
use libfuzzer_sys::fuzz_target;
use marabunta_proto::when::{Schedule, When, parse_zone};

/// How many firings are walked through.
const FIRINGS: usize = 20;

// The first bytes choose the zone, the creation and the moment that is asked about.
fuzz_target!(|data: &[u8]| {
    let Some((head, text)) = data.split_at_checked(10) else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    parse_zone(text).map_or_else(|error| drop(error.to_string()), |zone| assert_eq!(zone.name(), text));
    let when = match When::parse(text) {
        Ok(when) => when,
        Err(error) => return assert!(error.to_string().len() < 4096),
    };
    let canonical = when.to_string();
    assert_eq!(When::parse(&canonical), Ok(when.clone()), "{canonical}");

    let zone = TZ_VARIANTS[usize::from(u16::from_be_bytes([head[0], head[1]])) % TZ_VARIANTS.len()];
    let (created, after) = (moment(&head[2..6]), moment(&head[6..10]));
    fires(when, zone, created, after);
});

/// A second between 1906 and 2106.
fn moment(bytes: &[u8]) -> DateTime<Utc> {
    let number = bytes.iter().fold(0i64, |number, byte| number << 8 | i64::from(*byte));
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds((number - (1 << 30) * 2) * 1471)
}

fn fires(when: When, zone: Tz, created: DateTime<Utc>, after: DateTime<Utc>) {
    if let When::Crontab(_) = when {
        let schedule = Schedule::new(when.clone(), zone, created);
        assert!(schedule.next_after(DateTime::UNIX_EPOCH).is_some(), "`{when}` never fires in {zone}");
    }
    let schedule = Schedule::new(when, zone, created);
    let firings: Vec<_> = schedule.after(after).take(FIRINGS).collect();
    let mut before = after;
    for firing in &firings {
        assert!(*firing > before, "{} in {zone} after {before}: {firing}", schedule.when());
        let between = before + (*firing - before) / 2;
        assert_eq!(
            schedule.next_after(between),
            Some(*firing),
            "{} in {zone} after {between}",
            schedule.when()
        );
        before = *firing;
    }
    assert_eq!(schedule.latest(after, before), firings.last().copied(), "{} in {zone}", schedule.when());
}
