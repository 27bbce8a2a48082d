use std::fmt;

use thiserror::Error;

/// What a field of a crontab expression counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Unit {
    Second,
    Minute,
    Hour,
    DayOfMonth,
    Month,
    DayOfWeek,
}

impl Unit {
    /// The values that may be written. 7 is Sunday, as 0 is.
    fn range(self) -> (u32, u32) {
        match self {
            Self::Second | Self::Minute => (0, 59),
            Self::Hour => (0, 23),
            Self::DayOfMonth => (1, 31),
            Self::Month => (1, 12),
            Self::DayOfWeek => (0, 7),
        }
    }

    /// The names of the values, from the lowest.
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Month => {
                &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
            }
            Self::DayOfWeek => &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"],
            _ => &[],
        }
    }

    fn named(self, text: &str) -> Option<u32> {
        let index = self.names().iter().position(|name| name.eq_ignore_ascii_case(text))?;
        Some(self.range().0 + index as u32)
    }

    /// How many different values there are.
    fn count(self) -> u32 {
        let (low, high) = self.range();
        if self == Self::DayOfWeek { 7 } else { high - low + 1 }
    }

    /// The values that `*/step` stands for, as a set of bits.
    fn every(self, step: u32) -> u64 {
        let low = self.range().0;
        (low..low + self.count()).step_by(step as usize).fold(0, |bits, value| bits | 1 << value)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::DayOfMonth => "day of month",
            Self::Month => "month",
            Self::DayOfWeek => "day of week",
        })
    }
}

/// One field of a crontab expression: a set of values, and whether it was written with a leading `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Field {
    unit: Unit,
    /// Bit n stands for the value n; days of the week are 0 to 6.
    bits: u64,
    /// The `*` of a minute, an hour or a day changes the meaning beyond the set of values.
    star: bool,
}

impl Field {
    /// Reads one field: a list of values, ranges and steps.
    pub fn parse(unit: Unit, text: &str) -> Result<Self, FieldProblem> {
        let mut bits = 0;
        for item in text.split(',') {
            bits |= parse_item(unit, item)?;
        }
        let star = match unit {
            // Here `*` is a mere abbreviation, so the set alone decides how the field is written.
            Unit::Second | Unit::Month => {
                bits.count_ones() > 1 && (1..=unit.count()).any(|step| unit.every(step) == bits)
            }
            _ => text.starts_with('*'),
        };
        Ok(Self { unit, bits, star })
    }

    /// Whether the field was written with a leading `*`, `*/2` too.
    pub fn starts_with_star(&self) -> bool {
        self.star
    }

    /// Whether every value of the unit matches.
    pub fn is_full(&self) -> bool {
        self.bits == self.unit.every(1)
    }

    /// The values that match, from the lowest. Days of the week are 0 (Sunday) to 6.
    pub fn values(&self) -> impl Iterator<Item = u32> + use<> {
        let bits = self.bits;
        (0..u64::BITS).filter(move |value| bits & (1 << value) != 0)
    }
}

/// Why a field is refused. Reads well after the field's name and a colon.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FieldProblem {
    /// A value outside the unit's range.
    #[error("{value} is not in {low}-{high}")]
    OutOfRange {
        /// The value as written.
        value: String,
        /// The lowest allowed.
        low: u32,
        /// The highest allowed.
        high: u32,
    },
    /// Neither a number nor a name.
    #[error("{found:?} is neither `*` nor a number in {low}-{high}{}", named(.names))]
    NotAValue {
        /// What stands there.
        found: String,
        /// The lowest number allowed.
        low: u32,
        /// The highest number allowed.
        high: u32,
        /// The names allowed.
        names: &'static [&'static str],
    },
    /// Nothing beside a comma.
    #[error("the list has an empty item; write values with one comma between them")]
    EmptyItem,
    /// A range from high to low.
    #[error("the range {range} runs backwards; write it as two: a-{high},{low}-b")]
    Backwards {
        /// The range as written.
        range: String,
        /// The lowest value of the unit.
        low: u32,
        /// The highest value of the unit.
        high: u32,
    },
    /// A step of zero, none or more than the unit has values.
    #[error("the step {step:?} is not in 1-{limit}")]
    Step {
        /// The step as written.
        step: String,
        /// The largest allowed.
        limit: u32,
    },
    /// A step after a single value, which crons read differently.
    #[error("{item} has a step but no range; write {value}-{high}/n")]
    StepWithoutRange {
        /// The item as written.
        item: String,
        /// The value before the step.
        value: u32,
        /// The highest value of the unit.
        high: u32,
    },
}

fn named(names: &[&str]) -> String {
    match names {
        [first, .., last] => format!(" nor a name in {first}-{last}"),
        _ => String::new(),
    }
}

fn parse_item(unit: Unit, item: &str) -> Result<u64, FieldProblem> {
    let (range, step) = match item.split_once('/') {
        Some((range, step)) => (range, Some(parse_step(unit, step)?)),
        None => (item, None),
    };
    if range == "*" {
        return Ok(unit.every(step.unwrap_or(1)));
    }
    if item.is_empty() {
        return Err(FieldProblem::EmptyItem);
    }
    let (unit_low, unit_high) = unit.range();
    let (low, high) = match (range.split_once('-'), step) {
        (Some((low, high)), _) => {
            let low = parse_value(unit, low, item)?;
            (low, parse_end(unit, low, high, item)?)
        }
        (None, None) => {
            let value = parse_value(unit, range, item)?;
            (value, value)
        }
        (None, Some(_)) => {
            let value = parse_value(unit, range, item)?;
            return Err(FieldProblem::StepWithoutRange { item: shown(item), value, high: unit_high });
        }
    };
    if low > high {
        return Err(FieldProblem::Backwards { range: shown(range), low: unit_low, high: unit_high });
    }
    let bit = |value: u32| 1u64 << if unit == Unit::DayOfWeek { value % 7 } else { value };
    Ok((low..=high).step_by(step.unwrap_or(1) as usize).fold(0, |bits, value| bits | bit(value)))
}

fn parse_step(unit: Unit, text: &str) -> Result<u32, FieldProblem> {
    let limit = unit.count();
    number(text)
        .filter(|step| (1..=limit).contains(step))
        .ok_or_else(|| FieldProblem::Step { step: shown(text), limit })
}

/// The end of a range. There the name of Sunday is 7, so that `FRI-SUN` does not run backwards.
fn parse_end(unit: Unit, low: u32, text: &str, item: &str) -> Result<u32, FieldProblem> {
    match (unit, parse_value(unit, text, item)?) {
        (Unit::DayOfWeek, 0) if low > 0 && number(text).is_none() => Ok(7),
        (_, value) => Ok(value),
    }
}

fn parse_value(unit: Unit, text: &str, item: &str) -> Result<u32, FieldProblem> {
    let (low, high) = unit.range();
    if let Some(value) = unit.named(text) {
        return Ok(value);
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(FieldProblem::NotAValue { found: shown(item), low, high, names: unit.names() });
    }
    number(text).filter(|value| (low..=high).contains(value)).ok_or_else(|| FieldProblem::OutOfRange {
        value: shown(text),
        low,
        high,
    })
}

fn number(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// Keeps a message short when the text it quotes is not.
fn shown(text: &str) -> String {
    text.chars().take(20).collect()
}

/// The canonical form: `*` first if the field was written so, then values in order.
impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.star {
            return write_values(f, self.bits);
        }
        let step = (1..=self.unit.count())
            .find(|step| self.unit.every(*step) & !self.bits == 0)
            .expect("a field that starts with `*` holds the values of some `*/step`");
        match step {
            1 => f.write_str("*")?,
            _ => write!(f, "*/{step}")?,
        }
        let rest = self.bits & !self.unit.every(step);
        if rest != 0 {
            f.write_str(",")?;
            write_values(f, rest)?;
        }
        Ok(())
    }
}

/// Writes a set as `a-b/n` if that is what it is, else as a list in which three or more neighbours become `a-b`.
fn write_values(f: &mut fmt::Formatter<'_>, bits: u64) -> fmt::Result {
    let (first, last) = (bits.trailing_zeros(), u64::BITS - 1 - bits.leading_zeros());
    let step = (bits & (bits - 1)).trailing_zeros().saturating_sub(first).max(1);
    let stepped = (first..=last).step_by(step as usize).fold(0, |set, value| set | 1 << value);
    if step > 1 && stepped == bits && bits.count_ones() > 4 {
        return write!(f, "{first}-{last}/{step}");
    }
    let mut next = first;
    while next <= last {
        let run = (bits >> next).trailing_ones();
        let comma = if next == first { "" } else { "," };
        match run {
            0 => {
                next += 1;
                continue;
            }
            1 => write!(f, "{comma}{next}")?,
            2 => write!(f, "{comma}{next},{}", next + 1)?,
            _ => write!(f, "{comma}{next}-{}", next + run - 1)?,
        }
        next += run;
    }
    Ok(())
}
