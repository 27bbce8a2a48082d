use chrono::{DateTime, DurationRound, SecondsFormat, TimeDelta, Utc};
use thiserror::Error;

/// Why a text is not a time of RFC 3339.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AtError {
    /// A number is outside its range.
    #[error("{part} {value} is not in {low}-{high}")]
    OutOfRange {
        /// Which number: year, month, day, hour, minute, second.
        part: &'static str,
        /// The number found.
        value: u32,
        /// The lowest allowed.
        low: u32,
        /// The highest allowed.
        high: u32,
    },
    /// The day does not exist in that month and year.
    #[error("{date} does not exist in the calendar")]
    NoSuchDay {
        /// The date as written.
        date: String,
    },
    /// The zone is missing or wrong, and a guess would be hours wrong.
    #[error("offset {offset:?} is neither Z nor like +02:00")]
    Offset {
        /// What stands after the time.
        offset: String,
    },
    /// Anything else.
    #[error(
        "{text:?} is not a time of RFC 3339; write it like 2026-03-07T02:30:00Z or 2026-03-07T02:30:00+01:00"
    )]
    Shape {
        /// The text, shortened if it is very long.
        text: String,
    },
}

/// The numbers of a time: name, where its digits start and end, lowest and highest.
const PARTS: [(&str, usize, usize, u32, u32); 6] = [
    ("year", 0, 4, 1970, 2100),
    ("month", 5, 7, 1, 12),
    ("day", 8, 10, 1, 31),
    ("hour", 11, 13, 0, 23),
    ("minute", 14, 16, 0, 59),
    ("second", 17, 19, 0, 59),
];

const SHAPE: &[u8; 19] = b"dddd-dd-ddTdd:dd:dd";

/// Reads a time of the years 1970 to 2100. What is below a microsecond is dropped.
pub(super) fn parse(text: &str) -> Result<DateTime<Utc>, AtError> {
    let shape = || AtError::Shape { text: text.chars().take(40).collect() };
    let fits = |(byte, shape): (u8, &u8)| match shape {
        b'd' => byte.is_ascii_digit(),
        sign => byte == *sign,
    };
    if text.len() < SHAPE.len() || !text.bytes().zip(SHAPE).all(fits) {
        return Err(shape());
    }
    for (part, start, end, low, high) in PARTS {
        let value = text[start..end].parse().map_err(|_| shape())?;
        if !(low..=high).contains(&value) {
            return Err(AtError::OutOfRange { part, value, low, high });
        }
    }
    let offset = text[SHAPE.len()..].trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    if !is_offset(offset) {
        return Err(AtError::Offset { offset: offset.chars().take(16).collect() });
    }
    let date = &text[..10];
    if date.parse::<chrono::NaiveDate>().is_err() {
        return Err(AtError::NoSuchDay { date: date.to_owned() });
    }
    let time = DateTime::parse_from_rfc3339(text).map_err(|_| shape())?.to_utc();
    time.duration_trunc(TimeDelta::microseconds(1)).map_err(|_| shape())
}

/// Writes the instant in UTC.
pub(super) fn format(time: &DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

fn is_offset(text: &str) -> bool {
    let numbers = |hours: &str, minutes: &str| {
        let two_digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        two_digits(hours) && hours < "24" && two_digits(minutes) && minutes < "60"
    };
    text == "Z"
        || text
            .strip_prefix(['+', '-'])
            .and_then(|rest| rest.split_once(':'))
            .is_some_and(|(hours, minutes)| numbers(hours, minutes))
}
