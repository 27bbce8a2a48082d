use std::fmt::{Debug, Display};

use thiserror::Error;

/// A request that no retry makes right.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Invalid {
    /// A value, and what would be right.
    #[error("{field} is {value}: {right}")]
    Value { field: String, value: String, right: String },
    /// What a reader of the field's language says, which names the value itself.
    #[error("{field}: {problem}")]
    Field { field: String, problem: String },
}

/// The longest part of a value that an error repeats, in characters.
const SHOWN: usize = 64;

impl Invalid {
    pub fn value(field: impl Into<String>, value: impl Display, right: impl Into<String>) -> Self {
        Self::Value { field: field.into(), value: shortened(&value.to_string()), right: right.into() }
    }

    /// The same for a text, in quotes.
    pub fn text(field: impl Into<String>, text: &str, right: impl Into<String>) -> Self {
        let quoted = format!("{:?}", shortened(text));
        Self::Value { field: field.into(), value: quoted, right: right.into() }
    }

    pub fn missing(field: impl Into<String>, right: impl Into<String>) -> Self {
        Self::Value { field: field.into(), value: "missing".into(), right: right.into() }
    }

    pub fn field(field: impl Into<String>, problem: impl Display) -> Self {
        Self::Field { field: field.into(), problem: problem.to_string() }
    }

    /// The error of an item, as one of the field that holds it.
    pub fn within(self, outer: &str) -> Self {
        match self {
            Self::Value { field, value, right } => {
                Self::Value { field: format!("{outer}.{field}"), value, right }
            }
            Self::Field { field, problem } => Self::Field { field: format!("{outer}.{field}"), problem },
        }
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(SHOWN) {
        Some((cut, _)) => format!("{}..", &text[..cut]),
        None => text.to_owned(),
    }
}

/// Refuses a text of more bytes than this.
pub fn at_most(field: &str, text: &str, limit: usize) -> Result<(), Invalid> {
    if text.len() <= limit {
        return Ok(());
    }
    Err(Invalid::value(
        field,
        format!("{} bytes long", text.len()),
        format!("at most {limit} bytes are allowed"),
    ))
}

/// What a field of an enum holds; a number that does not exist is refused.
pub fn enumerated<E: TryFrom<i32>>(field: &str, number: i32) -> Result<E, Invalid>
where
    E::Error: Debug,
{
    E::try_from(number).map_err(|_| {
        Invalid::value(field, number, "no such number exists; see the enum's values in the proto file")
    })
}
