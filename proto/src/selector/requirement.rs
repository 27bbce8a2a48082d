use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use super::{SelectorError, parse};
use crate::label::NAME_KEY;
use crate::name::Name;

/// A set of requirements that must all hold. The empty selector, the default, matches every worker.
///
/// The requirements are a sorted set and its display has one form: `==` becomes `=`, `in` and `notin` of one value
/// become `=` and `!=`, requirements and values are sorted and never repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    pub(super) requirements: BTreeSet<Requirement>,
}

impl Selector {
    /// The most requirements in one selector.
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

    /// Whether all requirements hold for these labels, which must include [`NAME_KEY`] if a worker's name is to match.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.holds(|key| labels.get(key).map(String::as_str))
    }

    /// Whether all requirements hold for the worker of this name and these labels.
    pub fn matches_worker(&self, name: &Name, labels: &BTreeMap<String, String>) -> bool {
        self.holds(|key| match key {
            NAME_KEY => Some(name.as_str()),
            _ => labels.get(key).map(String::as_str),
        })
    }

    fn holds<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.requirements.iter().all(|requirement| requirement.test.holds(label(&requirement.key)))
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
    /// The value is one of these: `=`, `==`, `in`.
    In(BTreeSet<String>),
    /// The value is none of these, or there is no such label: `!=`, `notin`.
    NotIn(BTreeSet<String>),
    /// There is such a label.
    Exists,
    /// There is no such label: `!key`.
    Missing,
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        match (self, value) {
            (Self::In(values), Some(value)) => values.contains(value),
            (Self::In(_), None) => false,
            (Self::NotIn(values), Some(value)) => !values.contains(value),
            (Self::NotIn(_), None) => true,
            (Self::Exists, value) => value.is_some(),
            (Self::Missing, value) => value.is_none(),
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
