use thiserror::Error;

use super::When;
use super::at::AtError;
use super::field::{FieldProblem, Unit};
use super::zone::ZoneError;
use crate::duration::DurationError;

/// Why a text is not a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WhenError {
    /// There is nothing, or spaces only.
    #[error("when is empty; write {FORMS}")]
    Empty,
    /// It is longer than [`When::MAX_LEN`].
    #[error("when has {length} bytes; at most {} are allowed", When::MAX_LEN)]
    TooLong {
        /// The length found, in bytes.
        length: usize,
    },
    /// A character that no schedule holds: a tab, a line break, anything outside ASCII.
    #[error(
        "when has {found:?} at character {position}; only visible ASCII characters and spaces are allowed"
    )]
    Character {
        /// The first character that is not allowed.
        found: char,
        /// Where it stands; the first character is 1.
        position: usize,
    },
    /// Neither 5 nor 6 fields.
    #[error("when has the wrong number of fields, {found}; write {FORMS}")]
    FieldCount {
        /// How many there are.
        found: usize,
    },
    /// One field of a crontab expression is wrong.
    #[error("{unit}: {problem}")]
    Field {
        /// Which field.
        unit: Unit,
        /// What is wrong.
        problem: FieldProblem,
    },
    /// No date matches, in any year.
    #[error("day of month: {days} never comes in month {months}, so this never fires")]
    NeverFires {
        /// The days, in canonical form.
        days: String,
        /// The months, in canonical form.
        months: String,
    },
    /// An `@` with a word that does not exist.
    #[error(
        "@{word} does not exist; there are @hourly @daily @midnight @weekly @monthly @yearly @annually, \
         @every DURATION and @at TIME"
    )]
    UnknownWord {
        /// The word.
        word: String,
    },
    /// What follows `@every` is not a duration.
    #[error("@every: {0}")]
    Every(#[from] DurationError),
    /// The duration after `@every` is shorter than a second.
    #[error("@every: {duration} is shorter than 1s")]
    TooOften {
        /// The duration.
        duration: String,
    },
    /// What follows `@at` is not a time.
    #[error("@at: {0}")]
    At(#[from] AtError),
    /// The time zone beside the schedule is wrong.
    #[error(transparent)]
    Zone(#[from] ZoneError),
}

const FORMS: &str = "5 fields (minute hour day-of-month month day-of-week), 6 with seconds first, @daily or the like, \
                     @every 1h30m, @at 2026-03-07T02:30:00Z, or now";
