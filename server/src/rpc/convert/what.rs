//! What to run: a handler and its payload.

use bytes::Bytes;
use marabunta_proto::name::Name;
use marabunta_proto::v1;

use super::{Invalid, exec, json};

/// A handler and the JSON that it gets.
pub struct What {
    pub handler: Name,
    pub payload: Bytes,
}

/// A oneof of several messages.
pub enum Choice {
    Exec(v1::Exec),
    Handler(String),
}

pub fn what(choice: Option<Choice>, payload: &str) -> Result<What, Invalid> {
    match choice {
        None => Err(Invalid::missing("exec or handler", "one of the two says what to run")),
        Some(Choice::Exec(command)) => {
            if !payload.is_empty() {
                return Err(Invalid::text(
                    "payload",
                    payload,
                    "it does not go with exec, which makes its own",
                ));
            }
            Ok(What { handler: exec_handler()?, payload: exec::payload(command)? })
        }
        Some(Choice::Handler(handler)) => {
            let handler = name("handler", &handler)?;
            let payload = json_payload(&handler, payload)?;
            Ok(What { handler, payload })
        }
    }
}

/// JSON for this handler; `null` when empty.
pub fn json_payload(handler: &Name, text: &str) -> Result<Bytes, Invalid> {
    if handler.as_str() == exec::HANDLER {
        exec::check("payload", text)?;
    } else if text.is_empty() {
        return Ok(Bytes::from_static(b"null"));
    } else {
        json::check("payload", text)?;
    }
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

pub fn name(field: &str, text: &str) -> Result<Name, Invalid> {
    Name::parse(text).map_err(|error| Invalid::field(field, error))
}

fn exec_handler() -> Result<Name, Invalid> {
    name("handler", exec::HANDLER)
}
