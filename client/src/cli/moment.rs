//! Moments and spans of time, as people write and read them.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use prost_types::Timestamp;

/// A span such as `1m30s`. The largest is what the wire can carry.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    let span = humantime::parse_duration(text)
        .map_err(|error| format!("{error}; write it like 30s, 5m or 1h30m"))?;
    prost_types::Duration::try_from(span).map_err(|_| "it is longer than 10,000 years".to_owned())?;
    Ok(span)
}

/// `1m30s`
pub fn span(span: Duration) -> String {
    humantime::format_duration(span).to_string().replace(' ', "")
}

/// A span of the wire in words; empty when it is unset or negative.
pub fn wire_span(wire: Option<&prost_types::Duration>) -> Option<String> {
    Duration::try_from(*wire?).ok().map(span)
}

/// A span for the wire.
pub fn to_wire(span: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(span).expect("parse_span let through only what the wire can carry")
}

/// A limit that can be lifted: a span, or `none`.
#[derive(Clone, Copy, Debug)]
pub struct Limit(Option<Duration>);

impl Limit {
    /// The limit for the wire, where no limit is an unset field.
    pub fn to_wire(self) -> Option<prost_types::Duration> {
        self.0.map(to_wire)
    }
}

impl FromStr for Limit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "none" { Ok(Self(None)) } else { parse_span(text).map(|span| Self(Some(span))) }
    }
}

/// A moment: RFC 3339 with an offset, or how long ago it was, such as `2h`.
pub fn parse_moment(text: &str) -> Result<Timestamp, String> {
    if let Ok(span) = humantime::parse_duration(text) {
        let moment = now().checked_sub(span).ok_or("it is before the beginning of time")?;
        return Ok(Timestamp::from(moment));
    }
    // Without an offset a time would be read as UTC, which is rarely what was meant.
    let has_offset =
        text.ends_with(['Z', 'z']) || text.get(19..).is_some_and(|tail| tail.contains(['+', '-']));
    if !has_offset {
        return Err("write it like 2026-03-01T12:00:00Z, 2026-03-01T12:00:00+01:00, or 2h for two hours ago"
            .to_owned());
    }
    text.parse().map_err(|_| "it is not a time of RFC 3339 such as 2026-03-01T12:00:00Z".to_owned())
}

/// RFC 3339 in UTC.
pub fn rfc3339(moment: Option<&Timestamp>) -> Option<String> {
    moment.map(ToString::to_string)
}

/// RFC 3339 in UTC to the second, for tables; empty when unset.
pub fn short(moment: Option<&Timestamp>) -> String {
    moment.map(|moment| Timestamp { nanos: 0, ..*moment }.to_string()).unwrap_or_default()
}

/// From one moment to another, to the millisecond; `None` unless both are known and in this order.
pub fn between(start: Option<&Timestamp>, end: Option<&Timestamp>) -> Option<String> {
    let (start, end) = (SystemTime::try_from(*start?).ok()?, SystemTime::try_from(*end?).ok()?);
    let took = end.duration_since(start).ok()?;
    Some(span(Duration::from_millis(u64::try_from(took.as_millis()).ok()?)))
}

/// The clock of this host: only to turn `2h` ago into a moment.
fn now() -> SystemTime {
    SystemTime::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_and_written_alike() {
        for text in ["1m30s", "2h", "250ms", "0s"] {
            assert_eq!(span(parse_span(text).unwrap()), text);
        }
        for wrong in ["", "10", "-5m", "1x", "none", "99999999999999y"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
        assert!("none".parse::<Limit>().unwrap().to_wire().is_none());
    }

    #[test]
    fn a_moment_needs_its_offset() {
        assert_eq!(parse_moment("2026-03-01T12:00:00+01:00").unwrap().to_string(), "2026-03-01T11:00:00Z");
        assert_eq!(parse_moment("2026-03-01T12:00:00.5Z").unwrap().to_string(), "2026-03-01T12:00:00.500Z");
        for wrong in
            ["2026-03-01T12:00:00", "2026-03-01", "yesterday", "", "2026-02-30T00:00:00Z", "9999999999y"]
        {
            assert!(parse_moment(wrong).is_err(), "{wrong}");
        }
    }
}
