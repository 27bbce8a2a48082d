//! Labels of workers: pairs of key and value that selectors choose by, with the syntax of Kubernetes labels.
//!
//! A key is `[prefix/]name`: the name has 1 to 63 characters of `A-Z a-z 0-9 . _ -` and starts and ends with a letter or
//! digit; the prefix is a lower-case DNS name of at most 253 characters. A value may be empty; otherwise it follows the
//! rule of the name, with up to 128 characters rather than 63, as long as a worker's name.
//!
//! Source: <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>.

use std::collections::BTreeMap;

use thiserror::Error;

/// The key by which selectors see a worker's name. It is set by the server; no worker sets it itself.
pub const NAME_KEY: &str = "name";

/// The key by which selectors see a worker's handlers, of which it may have several. It is set by the server as well.
pub const HANDLER_KEY: &str = "handler";

/// The most labels one worker may have.
pub const MAX_LABELS: usize = 64;

const MAX_PREFIX: usize = 253;
const MAX_KEY: usize = 63;
const MAX_VALUE: usize = 128;

/// Checks the labels that a worker announces, as they came: in any order, perhaps repeated.
pub fn parse_all<K: AsRef<str>, V: Into<String>>(
    pairs: impl IntoIterator<Item = (K, V)>,
) -> Result<BTreeMap<String, String>, LabelError> {
    let mut labels = BTreeMap::new();
    for (key, value) in pairs {
        let (key, value) = (key.as_ref(), value.into());
        check_key(key)?;
        check_value(key, &value)?;
        if key == NAME_KEY || key == HANDLER_KEY {
            return Err(LabelError::Reserved { key: key.to_owned() });
        }
        if labels.insert(key.to_owned(), value).is_some() {
            return Err(LabelError::Repeated { key: key.to_owned() });
        }
        if labels.len() > MAX_LABELS {
            return Err(LabelError::TooMany);
        }
    }
    Ok(labels)
}

/// Checks a label's key.
pub fn check_key(key: &str) -> Result<(), LabelError> {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let wrong = |problem| LabelError::Key { key: shown(key), problem };
    if let Some(prefix) = prefix {
        check_prefix(prefix).map_err(wrong)?;
    }
    check_word(name, MAX_KEY).map_err(wrong)
}

/// Checks the value of the label `key`; empty is allowed.
pub fn check_value(key: &str, value: &str) -> Result<(), LabelError> {
    if value.is_empty() {
        return Ok(());
    }
    check_word(value, MAX_VALUE).map_err(|problem| LabelError::Value {
        key: shown(key),
        value: shown(value),
        problem,
    })
}

/// Why a label is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LabelError {
    /// The key breaks the syntax.
    #[error("label key {key:?} {problem}")]
    Key {
        /// The key, shortened if it is very long.
        key: String,
        /// What is wrong with it.
        problem: WordProblem,
    },
    /// The value breaks the syntax.
    #[error("value {value:?} of label `{key}` {problem}")]
    Value {
        /// The key.
        key: String,
        /// The value, shortened if it is very long.
        value: String,
        /// What is wrong with it.
        problem: WordProblem,
    },
    /// The keys `name` and `handler` belong to the worker's name and handlers.
    #[error("label `{key}` is reserved: it always holds the worker's {}", if key == NAME_KEY { "name" } else { "handlers" })]
    Reserved {
        /// The key.
        key: String,
    },
    /// One key came twice.
    #[error("label `{key}` is given twice")]
    Repeated {
        /// The key.
        key: String,
    },
    /// More than [`MAX_LABELS`].
    #[error("there are more than {MAX_LABELS} labels")]
    TooMany,
}

/// What is wrong with a key or value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum WordProblem {
    /// Nothing stands where a word must.
    #[error("is empty; it needs a letter or digit")]
    Empty,
    /// Too many bytes.
    #[error("has {length} bytes; at most {limit} are allowed")]
    TooLong {
        /// The length found, in bytes.
        length: usize,
        /// The longest allowed.
        limit: usize,
    },
    /// A character outside the alphabet.
    #[error("has {found:?} at character {position}; only A-Z a-z 0-9 . _ - are allowed")]
    Character {
        /// The first character that is not allowed.
        found: char,
        /// Where it stands; the first character is 1.
        position: usize,
    },
    /// `.`, `_` or `-` at an end.
    #[error("must start and end with a letter or digit")]
    Ends,
    /// The part before the slash is not a DNS name.
    #[error("has a prefix that is not a DNS name of lower-case letters, digits, `-` and `.`")]
    Prefix,
}

fn check_word(word: &str, limit: usize) -> Result<(), WordProblem> {
    let bytes = word.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else {
        return Err(WordProblem::Empty);
    };
    if word.len() > limit {
        return Err(WordProblem::TooLong { length: word.len(), limit });
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if let Some((before, found)) = word.chars().enumerate().find(|(_, c)| !allowed(*c)) {
        return Err(WordProblem::Character { found, position: before + 1 });
    }
    match first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
        true => Ok(()),
        false => Err(WordProblem::Ends),
    }
}

fn check_prefix(prefix: &str) -> Result<(), WordProblem> {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
    };
    match prefix.len() <= MAX_PREFIX && prefix.split('.').all(part) {
        true => Ok(()),
        false => Err(WordProblem::Prefix),
    }
}

/// Keeps a message short when the text it quotes is not.
fn shown(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((cut, _)) => format!("{}..", &text[..cut]),
        None => text.to_owned(),
    }
}
