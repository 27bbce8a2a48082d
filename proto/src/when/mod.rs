//! Schedules: the language of a task's `when`, and the times it means in a time zone.
//!
//! ```text
//! now                     once, when the task is created
//! 0 2 * * MON-FRI         crontab: minute, hour, day of month, month, day of week
//! */10 * * * * *          the same with seconds first
//! @hourly                 also @daily @midnight @weekly @monthly @yearly @annually
//! @every 1h30m10s         each so long, counted from the task's creation
//! @at 2026-03-07T02:30:00+01:00
//! ```
//!
//! **Fields** hold lists of values, ranges `a-b` and steps `a-b/n` or `*/n`; months and days of the week also have the
//! names `JAN` and `MON`. Sunday is 0 and 7. Day of month and day of week are joined by OR, as in Vixie cron, unless one
//! of them starts with `*`: then both must match.
//!
//! **Daylight saving** is cronie's: an expression whose minute or hour field starts with `*` follows elapsed time, so it
//! does not fire in hours that do not exist and fires in both of those that come twice. Any other is a fixed time of day:
//! in a gap, however long, it fires once at the first instant after it; in an overlap once, at the first.
//!
//! Text becomes a [`When`], which has one canonical form; a [`When`] in a zone becomes a [`Schedule`], which is asked for
//! times. Times are whole seconds of the years 1970 to 2100, except those counted from a creation between two seconds.

mod at;
mod calendar;
mod crontab;
mod error;
mod expression;
mod field;
mod preview;
mod schedule;
mod wall;
mod zone;

pub use at::AtError;
pub use crontab::Crontab;
pub use error::WhenError;
pub use expression::When;
pub use field::{Field, FieldProblem, Unit};
pub use preview::preview;
pub use schedule::Schedule;
pub use zone::{ZoneError, parse as parse_zone};
