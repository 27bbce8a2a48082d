//! Arguments with placeholders that are filled from a payload.

use serde_json::Value;

/// One argument of a handler, such as `--db={{db}}` or `{{job.id}}`.
///
/// A placeholder names a field of the payload, fields of objects in it by dots. Its value is put in its place
/// inside this one argument: it is never split at spaces and never seen by a shell. What a value that starts with
/// `-` means is up to the program: prefer `--db={{db}}`, or put `--` before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArgumentTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(String),
}

/// Why a template is refused, or cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    #[error("{{{{ in {argument:?} is never closed by }}}}")]
    Unclosed { argument: String },
    #[error(
        "{{{{{name}}}}} in {argument:?} is no field; use letters, digits, '_', '-', and '.' between names"
    )]
    Name { argument: String, name: String },
    #[error("the payload has no field {field:?}, which the handler needs")]
    Missing { field: String },
    #[error("the payload's field {field:?} is {kind}; the handler needs a string, a number, true or false")]
    NotScalar { field: String, kind: &'static str },
    #[error("the payload's field {field:?} holds a NUL byte, which no argument can hold")]
    Nul { field: String },
}

impl std::str::FromStr for ArgumentTemplate {
    type Err = TemplateError;

    fn from_str(argument: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = argument;
        while let Some((text, after)) = rest.split_once("{{") {
            let Some((name, after)) = after.split_once("}}") else {
                return Err(TemplateError::Unclosed { argument: argument.into() });
            };
            let name = name.trim();
            if !is_field(name) {
                return Err(TemplateError::Name { argument: argument.into(), name: name.into() });
            }
            if !text.is_empty() {
                parts.push(Part::Text(text.into()));
            }
            parts.push(Part::Field(name.into()));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self(parts))
    }
}

impl ArgumentTemplate {
    /// Whether it is the same for every payload.
    pub fn is_fixed(&self) -> bool {
        self.0.iter().all(|part| matches!(part, Part::Text(_)))
    }

    /// The argument for this payload.
    ///
    /// # Errors
    /// The field that is missing, is not a scalar or holds a NUL byte.
    pub fn fill(&self, payload: &Value) -> Result<String, TemplateError> {
        let mut argument = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => argument.push_str(text),
                Part::Field(field) => argument.push_str(&scalar(payload, field)?),
            }
        }
        Ok(argument)
    }
}

fn is_field(name: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'))
    };
    name.split('.').all(word)
}

fn scalar(payload: &Value, field: &str) -> Result<String, TemplateError> {
    let value = field.split('.').try_fold(payload, |value, name| value.as_object()?.get(name));
    let kind = match value {
        None => return Err(TemplateError::Missing { field: field.into() }),
        Some(Value::String(text)) if text.contains('\0') => {
            return Err(TemplateError::Nul { field: field.into() });
        }
        Some(Value::String(text)) => return Ok(text.clone()),
        Some(Value::Number(number)) => return Ok(number.to_string()),
        Some(Value::Bool(value)) => return Ok(value.to_string()),
        Some(Value::Null) => "null",
        Some(Value::Array(_)) => "an array",
        Some(Value::Object(_)) => "an object",
    };
    Err(TemplateError::NotScalar { field: field.into(), kind })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fill(argument: &str, payload: &Value) -> Result<String, TemplateError> {
        argument.parse::<ArgumentTemplate>()?.fill(payload)
    }

    #[test]
    fn placeholders_stay_inside_their_argument() {
        let payload = json!({"db": "a b; rm -rf / $(x) {{n}}", "n": 9007199254740993_u64, "ok": true, "job": {"id": -1.5}});
        let rows = [
            ("plain", "plain"),
            ("", ""),
            ("{{db}}", "a b; rm -rf / $(x) {{n}}"),
            ("--n={{ n }}", "--n=9007199254740993"),
            ("{{ok}}/{{job.id}}", "true/-1.5"),
            ("{x} }} {", "{x} }} {"),
        ];
        for (argument, expected) in rows {
            assert_eq!(fill(argument, &payload).as_deref(), Ok(expected), "{argument}");
        }
    }

    #[test]
    fn what_cannot_be_filled_names_its_field() {
        let payload = json!({"list": [1], "object": {"a": 1}, "null": null, "nul": "a\0b"});
        let rows = [
            ("{{db}}", "no field \"db\""),
            ("{{object.b}}", "no field \"object.b\""),
            ("{{list.0}}", "no field \"list.0\""),
            ("{{list}}", "\"list\" is an array"),
            ("{{object}}", "\"object\" is an object"),
            ("{{null}}", "\"null\" is null"),
            ("{{nul}}", "\"nul\" holds a NUL"),
            ("{{db", "{{ in \"{{db\" is never closed"),
            ("{{}}", "{{}} in \"{{}}\" is no field"),
            ("{{a b}}", "{{a b}} in"),
            ("{{a..b}}", "{{a..b}} in"),
        ];
        for (argument, expected) in rows {
            let error = fill(argument, &payload).expect_err(argument).to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
        assert_eq!(fill("{{a}}", &json!([1])), Err(TemplateError::Missing { field: "a".into() }));
    }
}
