//! Identifiers that people choose: names of workers, handlers and tasks.
//!
//! They are ASCII, so that two names that look alike are alike, and lower case, so that `Host1` never stands beside
//! `host1`. They hold no character that means something in a target, a path, a Redis key or a shell.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use thiserror::Error;

/// A name: 1 to 128 bytes of `a-z 0-9 . _ -` that do not start with `-` or `.`.
///
/// Cloning is cheap; the order is that of the bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// The longest name, in bytes.
    pub const MAX_LEN: usize = 128;

    /// Reads a name as it is: nothing is trimmed or folded to lower case.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(NameError::TooLong { length: text.len() });
        }
        if let Some((before, found)) = text.chars().enumerate().find(|(_, c)| !is_name_character(*c)) {
            return Err(NameError::Character { found, position: before + 1 });
        }
        match text.as_bytes()[0] {
            found @ (b'-' | b'.') => Err(NameError::Start { found: found.into() }),
            _ => Ok(Self(text.into())),
        }
    }

    /// Reads the name of a worker, for which the words `any` and `all` are taken: as targets they mean every worker.
    pub fn parse_worker(text: &str) -> Result<Self, NameError> {
        match text {
            "any" | "all" => Err(NameError::Reserved { name: text.to_owned() }),
            _ => Self::parse(text),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NameError {
    /// There is nothing.
    #[error("name is empty; it needs 1 to {} characters of {ALPHABET}", Name::MAX_LEN)]
    Empty,
    /// It is longer than [`Name::MAX_LEN`].
    #[error("name has {length} bytes; at most {} are allowed", Name::MAX_LEN)]
    TooLong {
        /// The length found, in bytes.
        length: usize,
    },
    /// It holds a character that no name holds.
    #[error("name has {found:?} at character {position}; only {ALPHABET} are allowed")]
    Character {
        /// The first character that is not allowed.
        found: char,
        /// Where it stands; the first character is 1.
        position: usize,
    },
    /// It starts like an option or a hidden file.
    #[error("name starts with {found:?}; it must start with a letter, a digit or `_`")]
    Start {
        /// The first character.
        found: char,
    },
    /// It is a word of the target language.
    #[error("name `{name}` is reserved: as a target it means every worker")]
    Reserved {
        /// `any` or `all`.
        name: String,
    },
}

const ALPHABET: &str = "a-z 0-9 . _ -";

fn is_name_character(c: char) -> bool {
    matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-')
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::parse(text)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
