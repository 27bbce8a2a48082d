//! Sizes and spans of time as a configuration writes them, always with a unit: `64MiB`, `30s`.

use std::time::Duration;

use marabunta_proto::duration::{self, DurationError};
use serde::{Deserialize, Deserializer, de};

/// Bytes, written `512B`, `64KiB`, `10MB`: binary units (KiB, MiB, GiB, TiB) or decimal ones (kB, MB, GB, TB).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A span of time, written `500ms`, `30s`, `1h30m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// What is wrong with a quantity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    #[error("{0:?} is not a size; a size is a whole number and a unit, such as 64MiB")]
    Size(String),
    #[error("{0:?} has no unit; B, KiB, MiB, GiB, TiB, kB, MB, GB and TB are sizes, such as 64MiB")]
    SizeWithoutUnit(String),
    #[error("{unit:?} in {text:?} is no unit of size; use B, KiB, MiB, GiB, TiB, kB, MB, GB or TB")]
    SizeUnit { text: String, unit: String },
    #[error("{0:?} is more bytes than can be counted")]
    SizeTooLarge(String),
    #[error("{text:?} is not a span of time, such as 30s or 1h30m: {why}")]
    Span { text: String, why: DurationError },
}

impl std::str::FromStr for ByteSize {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = (&text[..digits], text[digits..].trim_start());
        if number.is_empty() {
            return Err(QuantityError::Size(text.into()));
        }
        let factor: u64 = match unit {
            "" => return Err(QuantityError::SizeWithoutUnit(text.into())),
            "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            unit => return Err(QuantityError::SizeUnit { text: text.into(), unit: unit.into() }),
        };
        let bytes = number.parse::<u64>().ok().and_then(|number| number.checked_mul(factor));
        bytes.map(Self).ok_or_else(|| QuantityError::SizeTooLarge(text.into()))
    }
}

impl std::str::FromStr for Span {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        duration::parse(text).map(Self).map_err(|why| QuantityError::Span { text: text.into(), why })
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_unit() {
        let rows = [
            ("0B", 0),
            ("512B", 512),
            ("1KiB", 1024),
            ("64 MiB", 64 << 20),
            ("2kB", 2000),
            ("1TiB", 1 << 40),
        ];
        for (text, bytes) in rows {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
    }

    #[test]
    fn wrong_sizes_and_spans_say_what_is_wrong() {
        let rows = [
            ("", "\"\" is not a size"),
            ("MiB", "is not a size"),
            ("-1MiB", "is not a size"),
            ("64", "has no unit"),
            ("64 mib", "\"mib\" in \"64 mib\" is no unit of size"),
            ("1.5GiB", "\".5GiB\""),
            ("30s", "\"s\" in \"30s\" is no unit of size"),
            ("99999999999999999999B", "more bytes"),
            ("99999999TiB", "more bytes"),
        ];
        for (text, expected) in rows {
            let error = text.parse::<ByteSize>().expect_err(text).to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
        for text in ["", "30", "30x", "-5s", "64MiB", "s"] {
            let error = text.parse::<Span>().expect_err(text).to_string();
            assert!(error.contains(&format!("{text:?} is not a span of time")), "{error}");
        }
        for text in ["3651d", "18446744073709551615s"] {
            let error = text.parse::<Span>().unwrap_err().to_string();
            assert!(error.contains("longer than"), "{error}");
        }
    }
}
