//! The rules of the clock once more, as slowly and plainly as they can be written, and compared on every change of some
//! eccentric zones.

use std::collections::BTreeSet;

use chrono::{DateTime, Datelike, NaiveDateTime, Offset, TimeDelta, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use crate::times::{Dice, schedule, utc};

const ZONES: [Tz; 10] = [
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::America__Sao_Paulo,
    Tz::Africa__Casablanca,
    Tz::Africa__Cairo,
    Tz::Antarctica__Casey,
    Tz::Australia__Lord_Howe,
    Tz::Pacific__Apia,
    Tz::Asia__Gaza,
    Tz::America__Caracas,
];

/// How much before and after a change is compared.
const AROUND: TimeDelta = TimeDelta::hours(36);

const STEP: TimeDelta = TimeDelta::hours(6);

const MINUTE: TimeDelta = TimeDelta::minutes(1);

/// A random expression, kept as sets so that the model shares no code with the parser.
struct Expression {
    text: String,
    elapsed: bool,
    minutes: BTreeSet<u32>,
    hours: BTreeSet<u32>,
    days: BTreeSet<u32>,
}

impl Expression {
    fn random(dice: &mut Dice) -> Self {
        let (minute, minutes) = field(dice, 0, 59, 20, 4);
        let (hour, hours) = field(dice, 0, 23, 3, 12);
        let (day, days) = match dice.below(3) {
            0 => field(dice, 1, 31, 2, 20),
            _ => ("*".to_owned(), (1..=31).collect()),
        };
        let elapsed = minute.starts_with('*') || hour.starts_with('*');
        Self { text: format!("{minute} {hour} {day} * *"), elapsed, minutes, hours, days }
    }

    fn matches(&self, wall: NaiveDateTime) -> bool {
        self.minutes.contains(&wall.minute())
            && self.hours.contains(&wall.hour())
            && self.days.contains(&wall.day())
    }

    /// The firings from the minute `start` on and before `end`, minute by minute.
    ///
    /// A fixed time fires in the minute in which the clock first shows it or, leaping, something later.
    fn firings(&self, zone: Tz, start: DateTime<Utc>, end: DateTime<Utc>) -> Vec<DateTime<Utc>> {
        let mut found = Vec::new();
        let mut next_shown = wall(zone, start);
        let mut instant = start;
        while instant < end {
            let now = wall(zone, instant);
            let mut fires = self.elapsed && self.matches(now);
            while next_shown <= now {
                fires |= !self.elapsed && self.matches(next_shown);
                next_shown += MINUTE;
            }
            if fires {
                found.push(instant);
            }
            instant += MINUTE;
        }
        found
    }
}

/// A field as text and as a set: `*`, `*/n`, or a few values.
fn field(dice: &mut Dice, low: u32, high: u32, smallest_step: u32, most: u32) -> (String, BTreeSet<u32>) {
    if dice.below(3) == 0 {
        let step = smallest_step + dice.below(4);
        return (format!("*/{step}"), (low..=high).step_by(step as usize).collect());
    }
    let values: BTreeSet<u32> = (0..=dice.below(most)).map(|_| low + dice.below(high - low + 1)).collect();
    let list: Vec<String> = values.iter().map(u32::to_string).collect();
    (list.join(","), values)
}

fn wall(zone: Tz, instant: DateTime<Utc>) -> NaiveDateTime {
    instant.with_timezone(&zone).naive_local()
}

/// The changes of a zone's clock, up to [`STEP`] early.
fn changes(zone: Tz) -> impl Iterator<Item = DateTime<Utc>> {
    let offset = move |time: DateTime<Utc>| zone.offset_from_utc_datetime(&time.naive_utc()).fix();
    let end = utc("2030-01-01T00:00:00Z");
    std::iter::successors(Some(utc("2005-01-01T00:00:00Z")), |time| Some(*time + STEP))
        .take_while(move |time| *time < end)
        .filter(move |time| offset(*time) != offset(*time + STEP))
}

#[test]
fn firings_around_every_change_of_the_clock_are_those_of_a_walk_minute_by_minute() {
    let mut dice = Dice::new(20_260_329);
    let mut compared = 0;
    for zone in ZONES {
        for change in changes(zone) {
            let (start, end) = (change - AROUND, change + AROUND);
            let expression = Expression::random(&mut dice);
            let schedule = schedule(&expression.text, zone.name(), start);
            let before = start - TimeDelta::seconds(1);
            let found: Vec<_> = schedule.after(before).take_while(|time| *time < end).collect();
            let expected = expression.firings(zone, start, end);
            assert_eq!(found, expected, "{} in {zone} around {change}", expression.text);

            // Asked at any instant, not only at the last firing, the answer is the next one.
            let instant = start + TimeDelta::seconds(dice.below(72 * 3600).into());
            let next = schedule.next_after(instant).filter(|time| *time < end);
            let expected_next = expected.iter().copied().find(|time| *time > instant);
            assert_eq!(next, expected_next, "{} in {zone} after {instant}", expression.text);
            assert_eq!(schedule.latest(before, end - MINUTE), expected.last().copied());
            compared += 1;
        }
    }
    assert!(compared > 300, "only {compared} changes");
}
