use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::{SelectorError, parse};
use crate::label::{HANDLER_KEY, NAME_KEY};
use crate::name::Name;

/// What selectors see of a worker, besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traits {
    /// Its labels, without those that are set by the server.
    pub labels: BTreeMap<String, String>,
    /// What it can run.
    pub handlers: BTreeSet<Name>,
}

/// A set of requirements that must all hold. The empty selector, the default, matches every worker.
///
/// The requirements are a sorted set and its display has one form: `==` becomes `=`, `in` and `notin` of one value
/// become `=` and `!=`, requirements and values are sorted and never repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    pub(super) requirements: BTreeSet<Requirement>,
}

impl Selector {
    /// The most requirements in the selector of a target. One that was [narrowed](Self::with_handler) may have one more.
    pub const MAX_REQUIREMENTS: usize = 32;
    /// The most values in one requirement.
    pub const MAX_VALUES: usize = 64;

    /// Reads a selector without the parentheses of a target: `role=web,dc!=eu`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::selector(text)
    }

    /// Whether there is no requirement, so that every worker matches.
    pub fn is_empty(&self) -> bool {
        self.requirements.is_empty()
    }

    /// The requirements, sorted by key.
    pub fn requirements(&self) -> impl Iterator<Item = &Requirement> {
        self.requirements.iter()
    }

    /// Of the workers that match, only those that have this handler.
    #[must_use]
    pub fn with_handler(mut self, handler: &Name) -> Self {
        let test = Test::In([handler.to_string()].into());
        self.requirements.insert(Requirement { key: HANDLER_KEY.to_owned(), test });
        self
    }

    /// Whether all requirements hold for the worker of this name.
    pub fn matches(&self, name: &Name, traits: &Traits) -> bool {
        self.requirements.iter().all(|Requirement { key, test }| match key.as_str() {
            NAME_KEY => test.holds([name.as_str()].into_iter()),
            HANDLER_KEY => test.holds(traits.handlers.iter().map(Name::as_str)),
            _ => test.holds(traits.labels.get(key).map(String::as_str).into_iter()),
        })
    }
}

/// A test of one label.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// What must hold for its value.
    pub test: Test,
}

/// What must hold for a label's value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Test {
    /// The value, or one of several, is one of these: `=`, `==`, `in`.
    In(BTreeSet<String>),
    /// No value is one of these, as when there is no such label: `!=`, `notin`.
    NotIn(BTreeSet<String>),
    /// There is such a label.
    Exists,
    /// There is no such label: `!key`.
    Missing,
}

impl Test {
    fn holds<'a>(&self, mut values: impl Iterator<Item = &'a str>) -> bool {
        match self {
            Self::In(right) => values.any(|value| right.contains(value)),
            Self::NotIn(wrong) => !values.any(|value| wrong.contains(value)),
            Self::Exists => values.next().is_some(),
            Self::Missing => values.next().is_none(),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, requirement) in self.requirements.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{requirement}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        let (one, several, values) = match &self.test {
            Test::Exists => return write!(f, "{key}"),
            Test::Missing => return write!(f, "!{key}"),
            Test::In(values) => ("=", "in", values),
            Test::NotIn(values) => ("!=", "notin", values),
        };
        let list = values.iter().map(String::as_str).collect::<Vec<_>>().join(",");
        match values.len() {
            1 => write!(f, "{key}{one}{list}"),
            _ => write!(f, "{key} {several} ({list})"),
        }
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        Self::parse(text)
    }
}
