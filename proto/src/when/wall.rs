//! From wall time to instants: what the changes of a zone's clock do to a calendar.

use chrono::{DateTime, MappedLocalTime, NaiveDateTime, Offset, SubsecRound, TimeDelta, TimeZone, Utc};
use chrono_tz::{GapInfo, Tz};

use super::calendar::Calendar;

/// No two offsets of a zone differ by more: they lie between -12 h and +14 h.
const LARGEST_CHANGE: TimeDelta = TimeDelta::hours(26);

/// How far ahead changes of the clock are looked for. Later ones cannot bring back a wall time that has passed.
const AHEAD: TimeDelta = TimeDelta::hours(27);

/// No zone changes its offset and changes it back within this time.
const PROBE: TimeDelta = TimeDelta::hours(3);

const SECOND: TimeDelta = TimeDelta::seconds(1);

/// The first instant after `after` whose wall time matches. A wall time that does not exist is never such an instant, one
/// that comes twice is two.
///
/// Walks from one change of the clock to the next: between them wall time is the instant plus a constant.
pub(super) fn next_elapsed(calendar: &Calendar, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut from = after.trunc_subsecs(0) + SECOND;
    loop {
        let offset = offset(zone, from);
        let instant = (calendar.at_or_after(from.naive_utc() + offset)? - offset).and_utc();
        match first_change(zone, from, instant.min(from + AHEAD)) {
            Some(change) => from = change,
            None if instant <= from + AHEAD => return Some(instant),
            // Nothing matches before the clock shows that time, which the changes until then can only bring so near.
            None => from = instant - LARGEST_CHANGE,
        }
    }
}

/// The first instant after `after` that a matching wall time stands for: the first of two; for one that does not exist,
/// the first instant after the gap. All that fall into one gap, and one at its very end, are one instant.
pub(super) fn next_fixed(calendar: &Calendar, zone: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let after = after.trunc_subsecs(0);
    let mut wall = after.naive_utc() + offset(zone, after);
    loop {
        wall = calendar.at_or_after(wall + SECOND)?;
        match first_instant(zone, wall) {
            Some(instant) if instant > after => return Some(instant),
            // The clock shows this for the second time. So it goes until the end of the overlap, an hour or three.
            _ => {}
        }
    }
}

fn first_instant(zone: Tz, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    let instant = match zone.from_local_datetime(&wall) {
        MappedLocalTime::Single(instant) => instant,
        MappedLocalTime::Ambiguous(one, other) => one.min(other),
        MappedLocalTime::None => GapInfo::new(&wall, &zone)?.end?,
    };
    Some(instant.to_utc())
}

/// The first instant in `(from, to]` at which the offset is another than at `from`. Both are whole seconds.
fn first_change(zone: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let before = offset(zone, from);
    let mut low = from;
    while low < to {
        let mut high = (low + PROBE).min(to);
        if offset(zone, high) == before {
            low = high;
            continue;
        }
        while high - low > SECOND {
            let middle = low + TimeDelta::seconds((high - low).num_seconds() / 2);
            match offset(zone, middle) == before {
                true => low = middle,
                false => high = middle,
            }
        }
        return Some(high);
    }
    None
}

fn offset(zone: Tz, instant: DateTime<Utc>) -> TimeDelta {
    let offset = zone.offset_from_utc_datetime(&instant.naive_utc()).fix();
    TimeDelta::seconds(offset.local_minus_utc().into())
}
