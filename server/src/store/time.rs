//! Times as text: `2026-03-07 02:30:00.000000`, UTC. `Z` and an offset are refused by the databases, and a seventh digit is rounded by one
//! and cut by another.

use chrono::{DateTime, NaiveDateTime, Utc};

/// The last moment that every database can hold.
const LAST: DateTime<Utc> =
    DateTime::from_timestamp(253_402_300_799, 999_999_000).expect("the year 9999 exists");

/// As text, to the microsecond. What a wrong clock puts before 1970 or after 9999 is moved there.
pub(super) fn text(time: DateTime<Utc>) -> String {
    time.clamp(DateTime::UNIX_EPOCH, LAST).format("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// From text; a fraction may be shorter or missing.
pub(super) fn parse(text: &str) -> Option<DateTime<Utc>> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f").ok().map(|time| time.and_utc())
}

/// What is left of a time once it was stored.
pub(super) fn truncate(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(time.timestamp_micros()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_text_with_six_digits_and_back() {
        for (micros, expected) in [
            (0, "1970-01-01 00:00:00.000000"),
            (1_772_850_600_000_001, "2026-03-07 02:30:00.000001"),
            (-5, "1970-01-01 00:00:00.000000"),
            (253_402_300_799_999_999, "9999-12-31 23:59:59.999999"),
            (300_000_000_000_000_000, "9999-12-31 23:59:59.999999"),
        ] {
            let time = DateTime::from_timestamp_micros(micros).unwrap();
            assert_eq!(text(time), expected, "{micros}");
            assert_eq!(text(parse(expected).unwrap()), expected);
        }
    }

    #[test]
    fn nanoseconds_are_cut_not_rounded() {
        let time = DateTime::from_timestamp(1, 999_999_999).unwrap();
        assert_eq!(text(time), "1970-01-01 00:00:01.999999");
        assert_eq!(parse(&text(time)), Some(truncate(time)));
    }
}
