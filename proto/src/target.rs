//! Targets: who runs a task. `web-1` is that worker, `any(role=web)` one of those that match, `all(role=web)` each of
//! them; bare `any` and `all` match every worker.
//!
//! A target that was read is canonical: `parse(display(t)) == t`, and two texts that mean the same by the grammar are
//! displayed as one. Stores and queues keep the displayed form and may compare it as text.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::name::{Name, NameError};
use crate::selector::{Selector, SelectorError};

/// Who runs a task.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// The worker of this name, whether it is known yet or not.
    Worker(Name),
    /// One of the workers that match.
    Any(Selector),
    /// Each of the workers that match when the task fires.
    All(Selector),
}

impl Target {
    /// The longest target, in bytes, as written and as displayed.
    pub const MAX_LEN: usize = 1_024;

    /// Reads a target. Spaces are allowed inside the parentheses only.
    pub fn parse(text: &str) -> Result<Self, TargetError> {
        if text.is_empty() {
            return Err(TargetError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(TargetError::TooLong { length: text.len() });
        }
        let target = match text.split_once('(') {
            None if text == "any" => Self::Any(Selector::default()),
            None if text == "all" => Self::All(Selector::default()),
            None => Self::Worker(Name::parse(text)?),
            Some(("any", rest)) => Self::Any(inside(rest)?),
            Some(("all", rest)) => Self::All(inside(rest)?),
            Some(_) => return Err(TargetError::Word),
        };
        // The canonical form of `k in(a,b)` is a byte longer, and it must be readable again.
        match target.to_string().len() {
            length if length > Self::MAX_LEN => Err(TargetError::TooLong { length }),
            _ => Ok(target),
        }
    }

    /// The selector; a named worker has none.
    pub fn selector(&self) -> Option<&Selector> {
        match self {
            Self::Worker(_) => None,
            Self::Any(selector) | Self::All(selector) => Some(selector),
        }
    }
}

/// Why a text is not a target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// There is nothing.
    #[error("target is empty; write a worker's name, any(..) or all(..)")]
    Empty,
    /// It is longer than [`Target::MAX_LEN`].
    #[error("target has {length} bytes; at most {} are allowed", Target::MAX_LEN)]
    TooLong {
        /// The length found, in bytes, of what was written or of its canonical form.
        length: usize,
    },
    /// Something else than `any` or `all` before a parenthesis.
    #[error("target has a selector after a word other than any or all; write any(..) or all(..)")]
    Word,
    /// The text does not end with a parenthesis.
    #[error("target ends with {found:?} where `)` must stand")]
    NotClosed {
        /// The last character.
        found: char,
    },
    /// It is not the name of a worker.
    #[error("target is neither any(..) nor all(..) nor a worker's name: {0}")]
    Name(#[from] NameError),
    /// The selector between the parentheses is wrong. Positions count from there.
    #[error("target has a wrong selector: {0}")]
    Selector(#[from] SelectorError),
}

/// Reads what follows the opening parenthesis.
fn inside(rest: &str) -> Result<Selector, TargetError> {
    match rest.strip_suffix(')') {
        Some(selector) => match Selector::parse(selector)? {
            many if many.requirements().count() > Selector::MAX_REQUIREMENTS => {
                Err(SelectorError::TooManyRequirements.into())
            }
            selector => Ok(selector),
        },
        None => Err(TargetError::NotClosed { found: rest.chars().next_back().unwrap_or('(') }),
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, selector) = match self {
            Self::Worker(name) => return write!(f, "{name}"),
            Self::Any(selector) => ("any", selector),
            Self::All(selector) => ("all", selector),
        };
        match selector.is_empty() {
            true => f.write_str(word),
            false => write!(f, "{word}({selector})"),
        }
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        Self::parse(text)
    }
}
