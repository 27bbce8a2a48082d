use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::{Crontab, WhenError, at};
use crate::duration;

/// When a task fires, as parsed; see the [module](super) for the language.
///
/// The display is canonical: it is read back as the same value, and two texts that mean the same by the same rules have
/// the same display (`@daily` and `0 00 * * *` are `0 0 * * *`).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum When {
    /// Once, when the task is created.
    Now,
    /// At the times that match.
    Crontab(Crontab),
    /// Each so long after the task's creation; at least a second.
    Every(Duration),
    /// Once, at this time.
    At(DateTime<Utc>),
}

impl When {
    /// The longest text, in bytes.
    pub const MAX_LEN: usize = 1_024;

    /// Reads a schedule. Spaces around it and several between its parts are ignored.
    pub fn parse(text: &str) -> Result<Self, WhenError> {
        if text.len() > Self::MAX_LEN {
            return Err(WhenError::TooLong { length: text.len() });
        }
        let allowed = |c: char| c == ' ' || c.is_ascii_graphic();
        if let Some((before, found)) = text.chars().enumerate().find(|(_, c)| !allowed(*c)) {
            return Err(WhenError::Character { found, position: before + 1 });
        }
        match text.trim_matches(' ') {
            "" => Err(WhenError::Empty),
            "now" => Ok(Self::Now),
            text => match text.strip_prefix('@') {
                Some(text) => parse_word(text),
                None => Ok(Self::Crontab(Crontab::parse(text)?)),
            },
        }
    }
}

/// Reads what follows the `@`.
fn parse_word(text: &str) -> Result<When, WhenError> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim_start_matches(' ');
    match word {
        "every" => parse_every(rest),
        "at" => Ok(When::At(at::parse(rest)?)),
        _ => match Crontab::abbreviated(text) {
            Some(fields) => Ok(When::Crontab(Crontab::parse(fields)?)),
            None => Err(WhenError::UnknownWord { word: text.chars().take(40).collect() }),
        },
    }
}

fn parse_every(text: &str) -> Result<When, WhenError> {
    let every = duration::parse(text)?;
    match every < Duration::from_secs(1) {
        true => Err(WhenError::TooOften { duration: duration::format(every) }),
        false => Ok(When::Every(every)),
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now => f.write_str("now"),
            Self::Crontab(crontab) => write!(f, "{crontab}"),
            Self::Every(every) => write!(f, "@every {}", duration::format(*every)),
            Self::At(time) => write!(f, "@at {}", at::format(time)),
        }
    }
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        Self::parse(text)
    }
}
