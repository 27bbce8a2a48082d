use std::fmt;

use super::WhenError;
use super::field::{Field, Unit};

/// A crontab expression of 5 fields, or of 6 with the seconds first.
///
/// The display is canonical: macros, names, the order and repetition within a list and a second field that is `0` do not
/// show, so two expressions that match the same times by the same rules have the same text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Crontab {
    pub(super) second: Field,
    pub(super) minute: Field,
    pub(super) hour: Field,
    pub(super) day_of_month: Field,
    pub(super) month: Field,
    pub(super) day_of_week: Field,
}

/// The most days each month ever has, from January.
const LENGTHS: [u32; 12] = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

impl Crontab {
    /// Reads 5 or 6 fields with spaces between them.
    pub(super) fn parse(text: &str) -> Result<Self, WhenError> {
        let fields: Vec<&str> = text.split(' ').filter(|field| !field.is_empty()).collect();
        let (second, fields) = match fields.as_slice() {
            fields @ [_, _, _, _, _] => ("0", fields),
            [second, fields @ ..] if fields.len() == 5 => (*second, fields),
            _ => return Err(WhenError::FieldCount { found: fields.len() }),
        };
        let field =
            |unit, text| Field::parse(unit, text).map_err(|problem| WhenError::Field { unit, problem });
        let crontab = Self {
            second: field(Unit::Second, second)?,
            minute: field(Unit::Minute, fields[0])?,
            hour: field(Unit::Hour, fields[1])?,
            day_of_month: field(Unit::DayOfMonth, fields[2])?,
            month: field(Unit::Month, fields[3])?,
            day_of_week: field(Unit::DayOfWeek, fields[4])?,
        };
        match crontab.ever_fires() {
            true => Ok(crontab),
            false => Err(WhenError::NeverFires {
                days: crontab.day_of_month.to_string(),
                months: crontab.month.to_string(),
            }),
        }
    }

    /// The fields that `@hourly` and its like stand for; the `@` is not part of the name.
    pub(super) fn abbreviated(name: &str) -> Option<&'static str> {
        Some(match name {
            "hourly" => "0 * * * *",
            "daily" | "midnight" => "0 0 * * *",
            "weekly" => "0 0 * * 0",
            "monthly" => "0 0 1 * *",
            "yearly" | "annually" => "0 0 1 1 *",
            _ => return None,
        })
    }

    /// Whether the expression follows elapsed time through changes of the clock, rather than being a fixed time of day.
    pub fn follows_elapsed_time(&self) -> bool {
        self.minute.starts_with_star() || self.hour.starts_with_star()
    }

    /// Whether a day must match both day fields. Otherwise one of the two is enough.
    pub fn days_must_both_match(&self) -> bool {
        self.day_of_month.starts_with_star() || self.day_of_week.starts_with_star()
    }

    /// False if no day of the month exists in any of the months. Every date that exists falls on each day of the week
    /// in some year, also 29 February, so the day of week never decides this.
    fn ever_fires(&self) -> bool {
        let exists = |day| self.month.values().any(|month| day <= LENGTHS[month as usize - 1]);
        !self.days_must_both_match() || self.day_of_month.values().any(exists)
    }
}

impl fmt::Display for Crontab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.second.values().eq([0]) {
            write!(f, "{} ", self.second)?;
        }
        let Self { minute, hour, day_of_month, month, day_of_week, .. } = self;
        write!(f, "{minute} {hour} {day_of_month} {month} {day_of_week}")
    }
}
