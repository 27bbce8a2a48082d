//! Moments and spans of time, as people write and read them.

use std::{
    str::FromStr,
    time::{Duration, SystemTime},
};

use chrono::{DateTime, Utc};
use marabunta_proto::duration;
use prost_types::Timestamp;

/// A span such as `1m30s`, as everywhere in marabunta.
pub fn parse_span(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// A span of the wire in words; empty when it is unset or negative.
pub fn wire_span(wire: Option<&prost_types::Duration>) -> Option<String> {
    Duration::try_from(*wire?).ok().map(duration::format)
}

/// A span for the wire.
pub fn to_wire(span: Duration) -> prost_types::Duration {
    prost_types::Duration::try_from(span).expect("the longest span is far below the 10,000 years of the wire")
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
    if let Ok(span) = duration::parse(text) {
        return Ok(Timestamp::from(SystemTime::from(now()) - span));
    }
    let moment = parse_rfc3339(text).map_err(|error| format!("{error}, or 2h for two hours ago"))?;
    Ok(Timestamp::from(SystemTime::from(moment)))
}

/// A moment of RFC 3339, which has an offset: without one it would be read as UTC, which is rarely what was meant.
pub fn parse_rfc3339(text: &str) -> Result<DateTime<Utc>, String> {
    let moment = DateTime::parse_from_rfc3339(text);
    let moment = moment.map_err(|error| format!("{error}; write it like 2026-03-01T12:00:00+01:00"))?;
    Ok(moment.to_utc())
}

/// The clock of this host: for what is said relative to now, and nothing else.
#[allow(clippy::disallowed_methods, reason = "the person at the terminal means the clock of this host")]
pub fn now() -> DateTime<Utc> {
    SystemTime::now().into()
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
    Some(duration::format(took))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_can_be_lifted() {
        assert!("none".parse::<Limit>().unwrap().to_wire().is_none());
        assert_eq!("1m30s".parse::<Limit>().unwrap().to_wire().unwrap().seconds, 90);
        for wrong in ["", "None", "10", "-5m"] {
            assert!(wrong.parse::<Limit>().is_err(), "{wrong}");
        }
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
