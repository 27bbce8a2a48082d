//! JSON as it came: checked, never rewritten.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Invalid;

/// The longest JSON text, in bytes.
pub const MOST: usize = 1 << 20;

/// Refuses what is not one JSON value of RFC 8259 with unique keys, nested less than 128 deep, of numbers that a double can hold.
pub fn check(field: &str, text: &str) -> Result<(), Invalid> {
    if text.len() > MOST {
        let value = format!("{} bytes long", text.len());
        return Err(Invalid::value(field, value, format!("at most {MOST} bytes are allowed")));
    }
    // serde_json bounds the depth, as long as it is not told to ignore.
    let checked: Result<Checked, _> = serde_json::from_str(text);
    checked.map(|_| ()).map_err(|error| Invalid::field(field, format!("not valid JSON: {error}")))
}

struct Checked;

impl<'de> Deserialize<'de> for Checked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Check)
    }
}

struct Check;

impl<'de> Visitor<'de> for Check {
    type Value = Checked;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_str<E>(self, _: &str) -> Result<Checked, E> {
        Ok(Checked)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Checked, A::Error> {
        while items.next_element::<Checked>()?.is_some() {}
        Ok(Checked)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Checked, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if keys.contains(&key) {
                let key: String = key.chars().take(64).collect();
                return Err(A::Error::custom(format_args!("the key {key:?} is there twice")));
            }
            keys.insert(key);
            entries.next_value::<Checked>()?;
        }
        Ok(Checked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_json_passes_whatever_it_says() {
        let deep = format!("{}{}", "[".repeat(127), "]".repeat(127));
        let long = format!("\"{}\"", "x".repeat(MOST - 2));
        for text in [
            "null",
            " 1 ",
            "-0.5e-3",
            "9007199254740993",
            "18446744073709551616",
            "\"\\u0000\"",
            "\"\\ud83d\\ude00\"",
            "{\"a\":{\"a\":1},\"b\":[]}",
            &deep,
            &long,
        ] {
            assert_eq!(check("payload", text), Ok(()), "{}", &text[..text.len().min(40)]);
        }
    }

    #[test]
    fn what_is_not_json_is_refused_with_the_place() {
        let deep = "[".repeat(100_000);
        for (text, said) in [
            ("", "EOF while parsing a value"),
            ("{", "EOF while parsing an object"),
            ("[1,]", "trailing comma"),
            ("\u{feff}1", "expected value at line 1 column 1"),
            ("1 2", "trailing characters at line 1 column 3"),
            ("{\"a\":1,\"a\":2}", "the key \"a\" is there twice"),
            ("1e400", "number out of range"),
            ("\"\\ud800\"", "unexpected end of hex escape"),
            ("\"\u{0}\"", "control character"),
            ("NaN", "expected value"),
            ("'a'", "expected value"),
            (&deep, "recursion limit exceeded"),
        ] {
            let error = check("payload", text).expect_err(&text[..text.len().min(40)]).to_string();
            assert!(error.starts_with("payload: not valid JSON: "), "{error}");
            assert!(error.contains(said), "{error} should say {said}");
        }
        let long = check("payload", &" ".repeat(MOST + 1)).unwrap_err();
        assert_eq!(long.to_string(), "payload is 1048577 bytes long: at most 1048576 bytes are allowed");
    }
}
