//! Names of the wire's enumerations as people and programs read them.

/// `RUN_STATE_DONE` without its prefix and in lower case: `done`. `None` for the unspecified one.
pub fn of(name: &str, prefix: &str) -> Option<String> {
    let word = name.strip_prefix(prefix).unwrap_or(name).to_lowercase();
    (word != "unspecified").then_some(word)
}

/// The word of an enumeration's field, as in `word!(RunState, run.state, "RUN_STATE_")`; a number that this version does not know shows as
/// `unknown(9)`.
macro_rules! word {
    ($type:ty, $value:expr, $prefix:literal) => {
        match <$type>::try_from($value) {
            Ok(value) => $crate::cli::view::word::of(value.as_str_name(), $prefix),
            Err(_) => Some(format!("unknown({})", $value)),
        }
    };
}

/// Text, or `None` when it is empty.
pub fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// JSON text as a value; text that is none as a string, so that nothing is hidden.
pub fn json(text: &str) -> Option<serde_json::Value> {
    some(text).map(|text| serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)))
}

pub(crate) use word;
