//! Free commands: [`v1::Exec`] and the JSON that the handler `exec` gets.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use marabunta_proto::v1;
use marabunta_proto::variable::{RESERVED, steers_programs};
use serde::{Deserialize, Serialize};

use super::{Invalid, json};

/// The handler of free commands.
pub const HANDLER: &str = "exec";

/// The most bytes of all arguments together.
const ARGUMENTS: usize = 128 << 10;
/// The most bytes of standard input.
const STDIN: usize = 1 << 20;
/// The most bytes of a working directory, as Linux has it (PATH_MAX).
const DIRECTORY: usize = 4096;

/// The payload of `exec`. What is empty is left out.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    argv: Vec<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    env: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    cwd: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stdin: String,
    /// Standard input that is not UTF-8.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    stdin_base64: String,
}

/// The payload for this command.
pub fn payload(exec: v1::Exec) -> Result<Bytes, Invalid> {
    let v1::Exec { argv, env, cwd, stdin } = exec;
    if stdin.len() > STDIN {
        let value = format!("{} bytes long", stdin.len());
        return Err(Invalid::value("exec.stdin", value, format!("at most {STDIN} bytes are allowed")));
    }
    let (stdin, stdin_base64) = match String::from_utf8(stdin.to_vec()) {
        Ok(text) => (text, String::new()),
        Err(_) => (String::new(), STANDARD.encode(&stdin)),
    };
    let command = Command { argv, env: env.into_iter().collect(), cwd, stdin, stdin_base64 };
    command.check("exec")?;
    let text = serde_json::to_vec(&command).map_err(|error| Invalid::field("exec", error))?;
    Ok(text.into())
}

/// Checks a payload that was written by hand for the handler `exec`.
pub fn check(field: &str, text: &str) -> Result<(), Invalid> {
    json::check(field, text)?;
    let command: Command = serde_json::from_str(text).map_err(|error| {
        let form = r#"handler `exec` wants {"argv":[..],"env":{..},"cwd":..,"stdin":..}"#;
        Invalid::field(field, format!("{error}; {form}"))
    })?;
    if !command.stdin.is_empty() && !command.stdin_base64.is_empty() {
        return Err(Invalid::field(field, "stdin and stdin_base64 are both there: give one"));
    }
    if !command.stdin_base64.is_empty() && STANDARD.decode(&command.stdin_base64).is_err() {
        return Err(Invalid::field(format!("{field}.stdin_base64"), "not base64 with padding (RFC 4648)"));
    }
    command.check(field)
}

/// The command of a payload, if that is what it is.
pub fn command(payload: &[u8]) -> Option<v1::Exec> {
    let Command { argv, env, cwd, stdin, stdin_base64 } = serde_json::from_slice(payload).ok()?;
    let stdin =
        if stdin_base64.is_empty() { stdin.into_bytes() } else { STANDARD.decode(stdin_base64).ok()? };
    Some(v1::Exec { argv, env: env.into_iter().collect(), cwd, stdin: stdin.into() })
}

impl Command {
    fn check(&self, field: &str) -> Result<(), Invalid> {
        let name = |part: &str| format!("{field}.{part}");
        match self.argv.first() {
            None => {
                return Err(Invalid::value(name("argv"), "empty", "it needs a program, then its arguments"));
            }
            Some(program) if program.is_empty() => {
                return Err(Invalid::text(name("argv[0]"), "", "it must name a program"));
            }
            Some(_) => {}
        }
        if let Some((at, text)) = self.argv.iter().enumerate().find(|(_, text)| text.contains('\0')) {
            return Err(Invalid::text(name(&format!("argv[{at}]")), text, "an argument cannot hold a NUL"));
        }
        let size: usize = self.argv.iter().map(|argument| argument.len() + 1).sum();
        if size > ARGUMENTS {
            let right =
                format!("at most {ARGUMENTS} bytes are allowed, one more for each argument's end counted");
            return Err(Invalid::value(name("argv"), format!("{size} bytes long"), right));
        }
        for (key, value) in &self.env {
            variable(&name("env"), key, value)?;
        }
        if !self.cwd.is_empty() && !self.cwd.starts_with('/') || self.cwd.contains('\0') {
            return Err(Invalid::text(
                name("cwd"),
                &self.cwd,
                "it must be an absolute path without a NUL, or empty",
            ));
        }
        super::invalid::at_most(&name("cwd"), &self.cwd, DIRECTORY)
    }
}

fn variable(field: &str, key: &str, value: &str) -> Result<(), Invalid> {
    if key.is_empty() || key.contains(['=', '\0']) {
        return Err(Invalid::text(
            format!("{field} key"),
            key,
            "a variable's name is not empty and has no `=` and no NUL",
        ));
    }
    if steers_programs(key) {
        let right = "it changes what every program does; only the worker's own configuration may set it";
        return Err(Invalid::text(format!("{field} key"), key, right));
    }
    if key.starts_with(RESERVED) {
        let right =
            format!("names that start with {RESERVED} are the worker's, which says in them what runs");
        return Err(Invalid::text(format!("{field} key"), key, right));
    }
    if value.contains('\0') {
        return Err(Invalid::text(format!("{field}[{key:?}]"), value, "a variable cannot hold a NUL"));
    }
    if key.len() + value.len() + 2 > ARGUMENTS {
        let right = format!("name and value together may have {ARGUMENTS} bytes");
        return Err(Invalid::value(
            format!("{field}[{key:?}]"),
            format!("{} bytes long", value.len()),
            right,
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standard_input_that_is_no_base64_of_the_rfc_is_refused() {
        let payload = |text: &str| format!(r#"{{"argv":["cat"],"stdin_base64":"{text}"}}"#);
        for good in ["", "Zg==", "Zm9vYg==", "Zm9vYmFy"] {
            assert_eq!(check("payload", &payload(good)), Ok(()), "{good:?}");
        }
        for bad in ["Z", "Zg", "Zg=", "Z===", "Zh==", "Zm9v\\n", "Zm-_", "====", "Zg==Zg=="] {
            assert!(check("payload", &payload(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_command_survives_the_way_through_its_payload() {
        let full = v1::Exec {
            argv: vec!["sh".into(), "-c".into(), "a \u{e9} \"".into()],
            env: [("B".to_owned(), "2".to_owned()), ("A".to_owned(), String::new())].into(),
            cwd: "/tmp".into(),
            stdin: Bytes::from_static(b"\xff\0\n"),
        };
        let bare = v1::Exec { argv: vec!["true".into()], ..v1::Exec::default() };
        for exec in [full, bare] {
            let payload = payload(exec.clone()).unwrap();
            assert_eq!(command(&payload), Some(exec));
            assert_eq!(check("payload", std::str::from_utf8(&payload).unwrap()), Ok(()));
        }
    }

    #[test]
    fn what_is_empty_is_left_out_of_the_payload() {
        let exec = v1::Exec { argv: vec!["uptime".into()], ..v1::Exec::default() };
        assert_eq!(payload(exec).unwrap(), r#"{"argv":["uptime"]}"#);
    }
}
