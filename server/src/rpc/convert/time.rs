//! Instants and spans.

use std::time::Duration;

use chrono::{DateTime, Utc};
use marabunta_proto::duration;

use super::Invalid;

/// Seconds of 1970-01-01 and 2101-01-01, the years that are understood.
const YEARS: std::ops::Range<i64> = 0..4_133_980_800;

pub fn timestamp(time: DateTime<Utc>) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: time.timestamp(), nanos: time.timestamp_subsec_nanos().cast_signed() }
}

pub fn instant(field: &str, time: prost_types::Timestamp) -> Result<DateTime<Utc>, Invalid> {
    let known = YEARS.contains(&time.seconds);
    let nanos = u32::try_from(time.nanos).ok().filter(|_| known);
    nanos.and_then(|nanos| DateTime::from_timestamp(time.seconds, nanos)).ok_or_else(|| {
        let value = format!("{} s and {} ns since 1970", time.seconds, time.nanos);
        Invalid::value(field, value, "it must lie in the years 1970 to 2100, its nanos in 0 to 999,999,999")
    })
}

pub fn proto_duration(span: Duration) -> prost_types::Duration {
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX);
    prost_types::Duration { seconds, nanos: span.subsec_nanos().cast_signed() }
}

/// A span of 0 to 3,650 days, exact to the millisecond.
pub fn span(field: &str, span: prost_types::Duration) -> Result<Duration, Invalid> {
    let wrong = |right: &str| {
        let value = format!("{} s and {} ns", span.seconds, span.nanos);
        Invalid::value(field, value, right)
    };
    let (Ok(seconds), Ok(nanos)) = (u64::try_from(span.seconds), u32::try_from(span.nanos)) else {
        return Err(wrong("it must not be negative"));
    };
    if nanos >= 1_000_000_000 {
        return Err(wrong("its nanos must be below 1,000,000,000"));
    }
    if seconds > duration::MAX.as_secs() {
        return Err(wrong("at most 3650d are allowed"));
    }
    let millis = seconds * 1000 + u64::from(nanos / 1_000_000);
    Ok(Duration::from_millis(millis))
}

/// The same, at least 1 ms.
pub fn positive(field: &str, value: prost_types::Duration) -> Result<Duration, Invalid> {
    let read = span(field, value)?;
    if read.is_zero() {
        let value = format!("{} s and {} ns", value.seconds, value.nanos);
        return Err(Invalid::value(field, value, "at least 1 ms is needed; leave it out for no limit"));
    }
    Ok(read)
}
