use thiserror::Error;

use super::Selector;
use crate::label::LabelError;
use crate::name::NameError;

/// Why a text is not a selector. Positions count characters, the first being 1.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SelectorError {
    /// Something stands where the grammar has something else.
    #[error("{found} stands at character {position} where {expected} must stand")]
    Syntax {
        /// Where it stands.
        position: usize,
        /// What stands there.
        found: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A key or value breaks the rules of labels.
    #[error("at character {position}: {problem}")]
    Label {
        /// Where it stands.
        position: usize,
        /// What is wrong.
        problem: LabelError,
    },
    /// The value of the key `name` or `handler` is no name of a worker or handler, so it never matches.
    #[error("at character {position}: {problem}")]
    Name {
        /// Where it stands.
        position: usize,
        /// What is wrong.
        problem: NameError,
    },
    /// Too many requirements.
    #[error("there are more than {} requirements", Selector::MAX_REQUIREMENTS)]
    TooManyRequirements,
    /// Too many values in one requirement.
    #[error("there are more than {} values for the label `{key}`", Selector::MAX_VALUES)]
    TooManyValues {
        /// The label's key.
        key: String,
    },
}
