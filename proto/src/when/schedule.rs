use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::calendar::Calendar;
use super::{When, wall};

/// The times at which a task fires: its [`When`] in a time zone, counted from its creation where that matters.
///
/// Pure: it knows no clock. Making one costs tens of microseconds, asking it a few.
#[derive(Clone, Debug)]
pub struct Schedule {
    when: When,
    zone: Tz,
    created: DateTime<Utc>,
    /// The dates of a crontab expression; none for the other forms.
    calendar: Option<Calendar>,
}

/// Nothing fires before: where the calendar starts.
const FIRST: DateTime<Utc> = DateTime::from_timestamp(0, 0).expect("1970-01-01 exists");

/// Nothing fires at or after: 2101-01-01, where the calendar ends.
const END: DateTime<Utc> = DateTime::from_timestamp(4_133_980_800, 0).expect("2101-01-01 exists");

impl Schedule {
    /// The schedule of a task that was created at `created`, which `now` and `@every` are counted from. The zone matters
    /// to crontab expressions only.
    pub fn new(when: When, zone: Tz, created: DateTime<Utc>) -> Self {
        let calendar = match &when {
            When::Crontab(crontab) => Some(Calendar::new(crontab)),
            When::Now | When::Every(_) | When::At(_) => None,
        };
        Self { when, zone, created, calendar }
    }

    /// What it was made of.
    pub fn when(&self) -> &When {
        &self.when
    }

    /// The time zone.
    pub fn zone(&self) -> Tz {
        self.zone
    }

    /// The first firing strictly after an instant, in UTC. None if there is none until the end of 2100.
    ///
    /// `now` fires at the creation, so only an earlier `after` finds it; `@every` first fires one duration later.
    pub fn next_after(&self, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let after = after.max(FIRST - TimeDelta::seconds(1));
        if after >= END {
            return None;
        }
        let next = match (&self.when, &self.calendar) {
            (When::Now, _) => Some(self.created).filter(|time| *time > after),
            (When::At(time), _) => Some(*time).filter(|time| *time > after),
            (When::Every(every), _) => next_multiple(self.created, *every, after),
            (When::Crontab(crontab), Some(calendar)) => match crontab.follows_elapsed_time() {
                true => wall::next_elapsed(calendar, self.zone, after),
                false => wall::next_fixed(calendar, self.zone, after),
            },
            (When::Crontab(_), None) => None,
        };
        next.filter(|time| *time < END)
    }

    /// All firings strictly after an instant, in order.
    pub fn after(&self, after: DateTime<Utc>) -> impl Iterator<Item = DateTime<Utc>> {
        std::iter::successors(self.next_after(after), |time| self.next_after(*time))
    }

    /// The last firing in `(after, until]`: the one to make up for when several were missed. Costs the logarithm of the
    /// time between, however many there were.
    pub fn latest(&self, after: DateTime<Utc>, until: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let mut latest = self.next_after(after).filter(|time| *time <= until)?;
        let mut nothing_after = until;
        while latest < nothing_after {
            let middle = latest + (nothing_after - latest) / 2;
            match self.next_after(middle) {
                Some(later) if later <= nothing_after => latest = later,
                _ => nothing_after = middle,
            }
        }
        Some(latest)
    }
}

/// The first of `start + every`, `start + 2 every`, .. that lies after `after`.
fn next_multiple(start: DateTime<Utc>, every: Duration, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let every = i64::try_from(every.as_micros()).ok()?;
    let passed = after.signed_duration_since(start).num_microseconds()?;
    let multiple = passed.div_euclid(every).max(0).checked_add(1)?.checked_mul(every)?;
    start.checked_add_signed(TimeDelta::microseconds(multiple))
}
