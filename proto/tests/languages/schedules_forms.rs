//! What schedules look like when stored, and the forms that are no crontab.

use chrono::{DateTime, TimeDelta, Utc};
use marabunta_proto::when::{When, preview};

use crate::times::{schedule, utc};

#[test]
fn every_schedule_has_one_canonical_form() {
    for (text, canonical) in [
        ("now", "now"),
        ("  now  ", "now"),
        ("* * * * *", "* * * * *"),
        ("  0   2  * *   MON-FRI ", "0 2 * * 1-5"),
        ("00 02 * * mon,TUE,Wed", "0 2 * * 1-3"),
        ("0 0 * * 7", "0 0 * * 0"),
        ("0 0 * * FRI-SUN", "0 0 * * 0,5,6"),
        ("0 0 1 JAN-MAR,DEC *", "0 0 1 1-3,12 *"),
        ("5,1,5,3 * * * *", "1,3,5 * * * *"),
        ("0-59/15 9-17 * * *", "0,15,30,45 9-17 * * *"),
        ("1-59/2 * * * *", "1-59/2 * * * *"),
        ("*/15 * * * *", "*/15 * * * *"),
        ("*/1 * * * *", "* * * * *"),
        ("0-59 * * * *", "0-59 * * * *"),
        ("*/30,7 * * * *", "*/30,7 * * * *"),
        ("*/30,*/15 * * * *", "*/15 * * * *"),
        ("7,*/30 * * * *", "0,7,30 * * * *"),
        ("0 0 1-31 * 0-7", "0 0 1-31 * 0-6"),
        ("0 0 1 1-12 *", "0 0 1 * *"),
        ("0 0 1 1-11/2 *", "0 0 1 */2 *"),
        ("0 0 * * * *", "0 * * * *"),
        ("0 */5 * * * *", "*/5 * * * *"),
        ("*/10 * * * * *", "*/10 * * * * *"),
        ("0,30 0 4 * * *", "*/30 0 4 * * *"),
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@every 1h30m10s", "@every 1h30m10s"),
        ("@every   90m", "@every 1h30m"),
        ("@every 1500ms", "@every 1s500ms"),
        ("@at 2026-03-07T02:30:00+01:00", "@at 2026-03-07T01:30:00Z"),
        ("@at 2026-03-07T02:30:00.2500004Z", "@at 2026-03-07T02:30:00.250Z"),
    ] {
        let when = When::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(when.to_string(), canonical, "{text}");
        assert_eq!(When::parse(canonical), Ok(when), "{text}");
    }
}

#[test]
fn intervals_count_from_the_creation_and_start_one_interval_later() {
    let created = utc("2026-03-07T10:00:00.123456Z");
    let schedule = schedule("@every 90s", "UTC", created);
    let later = |seconds| Some(created + TimeDelta::seconds(seconds));
    for (after, next) in [
        (created - TimeDelta::days(400), later(90)),
        (created - TimeDelta::seconds(1), later(90)),
        (created, later(90)),
        (created + TimeDelta::milliseconds(89_999), later(90)),
        (created + TimeDelta::seconds(90), later(180)),
        (created + TimeDelta::seconds(90) + TimeDelta::nanoseconds(1), later(180)),
        (created + TimeDelta::seconds(90_000), later(90_090)),
    ] {
        assert_eq!(schedule.next_after(after), next, "after {after}");
    }
}

#[test]
fn what_fires_once_is_over_after_it() {
    let created = utc("2026-03-07T10:00:00Z");
    for (when, time) in
        [("now", "2026-03-07T10:00:00Z"), ("@at 2026-05-01T00:00:00+02:00", "2026-04-30T22:00:00Z")]
    {
        let (schedule, time) = (schedule(when, "UTC", created), utc(time));
        assert_eq!(schedule.next_after(time - TimeDelta::microseconds(1)), Some(time), "{when}");
        assert_eq!(schedule.next_after(time), None, "{when}");
        assert_eq!(schedule.after(utc("1999-01-01T00:00:00Z")).count(), 1, "{when}");
    }
}

#[test]
fn the_last_of_many_missed_firings_is_found() {
    let created = utc("2026-03-07T10:00:00Z");
    for (when, after, until, latest) in [
        ("* * * * * *", "2020-01-01T00:00:00Z", "2026-01-01T00:00:00Z", Some("2026-01-01T00:00:00Z")),
        ("0 2 * * *", "2020-01-01T00:00:00Z", "2026-01-01T01:59:59Z", Some("2025-12-31T02:00:00Z")),
        ("0 2 * * *", "2026-01-01T02:00:00Z", "2026-01-02T01:59:59Z", None),
        ("0 2 * * *", "2026-01-01T01:59:59Z", "2026-01-01T02:00:00Z", Some("2026-01-01T02:00:00Z")),
        ("0 0 29 2 *", "1990-01-01T00:00:00Z", "2026-01-01T00:00:00Z", Some("2024-02-29T00:00:00Z")),
        ("now", "2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z", Some("2026-03-07T10:00:00Z")),
        ("@every 7s", "2026-01-01T00:00:00Z", "2026-03-07T10:01:00Z", Some("2026-03-07T10:00:56Z")),
        ("0 2 * * *", "2026-02-01T00:00:00Z", "2026-01-01T00:00:00Z", None),
    ] {
        let found = schedule(when, "UTC", created).latest(utc(after), utc(until));
        assert_eq!(found, latest.map(utc), "{when} in ({after}, {until}]");
    }
}

#[test]
fn the_ends_of_time_are_answered_too() {
    let (first, last) = (DateTime::<Utc>::MIN_UTC, DateTime::<Utc>::MAX_UTC);
    for when in [
        "now",
        "* * * * *",
        "0 2 29 2 *",
        "* * * * * *",
        "@every 1s",
        "@every 3650d",
        "@at 2026-03-07T10:00:00Z",
    ] {
        for zone in ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Africa/Casablanca"] {
            for created in [first, utc("2026-03-07T10:00:00Z"), last] {
                let schedule = schedule(when, zone, created);
                assert_eq!(schedule.next_after(last), None, "{when} in {zone}");
                assert_eq!(schedule.next_after(utc("2100-12-31T23:59:59Z")), None, "{when} in {zone}");
                assert_eq!(schedule.after(utc("2101-01-01T00:00:00Z")).count(), 0, "{when} in {zone}");
                let next = schedule.next_after(first);
                assert!(
                    next.is_none_or(|time| time > utc("1969-12-31T23:59:59Z")),
                    "{when} in {zone}: {next:?}"
                );
            }
        }
    }
}

#[test]
fn a_calendar_that_only_meets_gaps_ends() {
    // 02:xx of 26 March when it is a Sunday: each time the clock leaps over it.
    let schedule = schedule("* 2 */25 3 SUN", "Europe/Berlin", utc("2026-01-01T00:00:00Z"));
    let found: Vec<_> = schedule.after(utc("2026-01-01T00:00:00Z")).collect();
    let first_of_march = |time: &DateTime<Utc>| time.to_string().contains("-03-01 ");
    assert!(found.iter().all(first_of_march), "{found:?}");
}

#[test]
fn a_preview_shows_the_offset_of_the_zone() {
    let after = utc("2026-03-07T00:00:00Z");
    let show = |when, zone, count| -> Vec<String> {
        let times = preview(when, zone, after, count).expect("a right schedule");
        times.iter().map(DateTime::to_rfc3339).collect()
    };
    assert_eq!(
        show("*/15 9-17 * * MON-FRI", "America/New_York", 5),
        [
            "2026-03-09T09:00:00-04:00",
            "2026-03-09T09:15:00-04:00",
            "2026-03-09T09:30:00-04:00",
            "2026-03-09T09:45:00-04:00",
            "2026-03-09T10:00:00-04:00",
        ]
    );
    assert_eq!(
        show("@every 1d", "Europe/Berlin", 2),
        ["2026-03-08T01:00:00+01:00", "2026-03-09T01:00:00+01:00"]
    );
    assert_eq!(show("now", "Asia/Tokyo", 5), ["2026-03-07T09:00:00+09:00"]);
    assert_eq!(show("@at 2026-03-06T00:00:00Z", "UTC", 5), [""; 0]);
    assert_eq!(show("@daily", "UTC", 0), [""; 0]);
}
