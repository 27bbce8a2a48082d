use std::fmt::Write;

use chrono::{NaiveDateTime, TimeDelta};
use cron::Schedule;

use super::Crontab;
use super::field::Field;

/// A crontab expression on a clock without zone, evaluated by the crate `cron`.
///
/// That crate counts days of the week from 1 (Sunday), wants seconds and joins the two day fields by AND. So fields are
/// handed over as plain values, and an OR becomes two schedules. It would skip times that a zone leaves out, so it sees
/// wall time as if it were UTC.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    schedule: Schedule,
    /// The same by day of the week, if either day field is enough.
    or: Option<Schedule>,
}

impl Calendar {
    pub(super) fn new(crontab: &Crontab) -> Self {
        let days = ordinals(&crontab.day_of_month, 0);
        let weekdays = ordinals(&crontab.day_of_week, 1);
        if crontab.days_must_both_match() {
            return Self { schedule: schedule(crontab, &days, &weekdays), or: None };
        }
        Self { schedule: schedule(crontab, &days, "*"), or: Some(schedule(crontab, "*", &weekdays)) }
    }

    /// The first match at or after a wall time, which is a whole second; none after the year 2100.
    pub(super) fn at_or_after(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let before = (wall - TimeDelta::seconds(1)).and_utc();
        let first = |schedule: &Schedule| schedule.after(&before).next().map(|time| time.naive_utc());
        match (first(&self.schedule), self.or.as_ref().and_then(first)) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

fn schedule(crontab: &Crontab, days: &str, weekdays: &str) -> Schedule {
    let [second, minute, hour, month] =
        [&crontab.second, &crontab.minute, &crontab.hour, &crontab.month].map(|field| ordinals(field, 0));
    format!("{second} {minute} {hour} {days} {month} {weekdays}")
        .parse()
        .expect("plain values within their ranges are an expression of the crate cron")
}

fn ordinals(field: &Field, shift: u32) -> String {
    if field.is_full() {
        return "*".to_owned();
    }
    let mut list = String::new();
    for value in field.values() {
        let comma = if list.is_empty() { "" } else { "," };
        write!(list, "{comma}{}", value + shift).expect("a string can be written to");
    }
    list
}
