//! Durations as people write them: `1h30m10s`, `500ms`, `7d`.
//!
//! Units are `d h m s ms`, a day being 24 hours; the larger stands first, each at most once, with whole numbers and
//! nothing between. That is stricter than what most tools read, because a duration that can be misread (`5`, `1M`,
//! `1.5y`) ends up as a schedule that is wrong.

use std::time::Duration;

use thiserror::Error;

/// The longest duration: 3,650 days.
pub const MAX: Duration = Duration::from_secs(3_650 * 86_400);

/// Unit and its length in milliseconds, from the longest.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a duration of 0 to [`MAX`], exact to the millisecond.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.is_empty() {
        return Err(DurationError::Empty);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (number, after) = split(rest, |b| b.is_ascii_digit());
        if number.is_empty() {
            return Err(DurationError::Number { rest: start_of(rest) });
        }
        let (unit, after) = split(after, |b| b.is_ascii_alphabetic());
        if unit.is_empty() {
            return Err(DurationError::NoUnit { number: start_of(number) });
        }
        if !UNITS.iter().any(|(name, _)| *name == unit) {
            return Err(DurationError::Unit { unit: start_of(unit) });
        }
        let Some((_, length)) = units.find(|(name, _)| *name == unit) else {
            return Err(DurationError::Order { unit: unit.to_owned() });
        };
        total = number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*length)?.checked_add(total))
            .filter(|total| *total <= MAX.as_millis() as u64)
            .ok_or(DurationError::TooLong)?;
        rest = after;
    }
    Ok(Duration::from_millis(total))
}

/// The one way a duration is written: `1h30m10s`; zero is `0s`. What is below a millisecond is dropped.
pub fn format(duration: Duration) -> String {
    let mut rest = duration.as_millis();
    let mut text = String::new();
    for (unit, length) in UNITS {
        let number = rest / u128::from(length);
        rest %= u128::from(length);
        if number > 0 {
            text += &format!("{number}{unit}");
        }
    }
    match text.is_empty() {
        true => "0s".to_owned(),
        false => text,
    }
}

/// Why a text is not a duration.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// There is nothing.
    #[error("duration is empty; write it like 1h30m10s")]
    Empty,
    /// A number was due.
    #[error("duration has {rest:?} where a number must stand; write it like 1h30m10s, without sign or space")]
    Number {
        /// What stands there.
        rest: String,
    },
    /// A number stands alone.
    #[error("duration {number} has no unit; add d, h, m, s or ms")]
    NoUnit {
        /// The number.
        number: String,
    },
    /// A unit that does not exist.
    #[error("duration has the unit {unit:?}; the units are d, h, m, s and ms")]
    Unit {
        /// The unit.
        unit: String,
    },
    /// A unit twice, or after a smaller one.
    #[error("duration has the unit {unit:?} twice or after a smaller one; the order is d h m s ms")]
    Order {
        /// The unit.
        unit: String,
    },
    /// More than [`MAX`].
    #[error("duration is longer than 3650d")]
    TooLong,
}

/// Splits where the first byte that does not belong stands; only ASCII belongs, so the cut is between characters.
fn split(text: &str, belongs: impl Fn(u8) -> bool) -> (&str, &str) {
    let cut = text.bytes().position(|b| !belongs(b)).unwrap_or(text.len());
    text.split_at(cut)
}

fn start_of(text: &str) -> String {
    text.chars().take(16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written_in_one_form() {
        for (text, millis, canonical) in [
            ("1h30m10s", 5_410_000, "1h30m10s"),
            ("500ms", 500, "500ms"),
            ("90m", 5_400_000, "1h30m"),
            ("0s", 0, "0s"),
            ("36h", 129_600_000, "1d12h"),
            ("3650d", 315_360_000_000, "3650d"),
            ("1m1ms", 60_001, "1m1ms"),
        ] {
            let duration = parse(text).expect(text);
            assert_eq!(duration.as_millis(), millis, "{text}");
            assert_eq!(format(duration), canonical, "{text}");
            assert_eq!(parse(canonical), Ok(duration), "{text}");
        }
    }

    #[test]
    fn what_can_be_misread_is_refused() {
        for (text, message) in [
            ("", "duration is empty; write it like 1h30m10s"),
            ("5", "duration 5 has no unit; add d, h, m, s or ms"),
            ("1h30", "duration 30 has no unit; add d, h, m, s or ms"),
            (
                "-5m",
                "duration has \"-5m\" where a number must stand; write it like 1h30m10s, without sign or space",
            ),
            (
                "1h 30m",
                "duration has \" 30m\" where a number must stand; write it like 1h30m10s, without sign or space",
            ),
            ("1e9h", "duration has the unit \"e\"; the units are d, h, m, s and ms"),
            ("1M", "duration has the unit \"M\"; the units are d, h, m, s and ms"),
            ("1.5h", "duration 1 has no unit; add d, h, m, s or ms"),
            ("10s5m", "duration has the unit \"m\" twice or after a smaller one; the order is d h m s ms"),
            ("1h1h", "duration has the unit \"h\" twice or after a smaller one; the order is d h m s ms"),
            ("3651d", "duration is longer than 3650d"),
            ("99999999999999999999999s", "duration is longer than 3650d"),
            ("18446744073709551615d", "duration is longer than 3650d"),
            (
                "\u{0661}s",
                "duration has \"\u{0661}s\" where a number must stand; write it like 1h30m10s, without sign or space",
            ),
        ] {
            let error = parse(text).expect_err(text);
            assert_eq!(error.to_string(), message, "{text:?}");
        }
    }
}
