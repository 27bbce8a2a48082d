//! Free commands: [`v1::Exec`] and the JSON that the handler `exec` gets.

use std::collections::BTreeMap;

use bytes::Bytes;
use marabunta_proto::v1;
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

/// Variables that change how programs are loaded or what a shell runs first: see ld.so(8), bash(1).
const LOADING: [&str; 4] = ["BASH_ENV", "ENV", "GCONV_PATH", "GLIBC_TUNABLES"];
const LOADERS: [&str; 2] = ["LD_", "DYLD_"];
/// What only the worker may say to a command.
const RESERVED: &str = "MARABUNTA_";

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
        Err(_) => (String::new(), base64(&stdin)),
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
    if !command.stdin_base64.is_empty() && unbase64(&command.stdin_base64).is_none() {
        return Err(Invalid::field(format!("{field}.stdin_base64"), "not base64 with padding (RFC 4648)"));
    }
    command.check(field)
}

/// The command of a payload, if that is what it is.
pub fn command(payload: &[u8]) -> Option<v1::Exec> {
    let Command { argv, env, cwd, stdin, stdin_base64 } = serde_json::from_slice(payload).ok()?;
    let stdin = if stdin_base64.is_empty() { stdin.into_bytes() } else { unbase64(&stdin_base64)? };
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
    if LOADING.contains(&key) || LOADERS.iter().any(|loader| key.starts_with(loader)) {
        let right = "it changes how programs are loaded; only the worker's own configuration may set it";
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

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// RFC 4648, section 4, with padding.
fn base64(data: &[u8]) -> String {
    let mut text = String::with_capacity(data.len().div_ceil(3) * 4);
    for chunk in data.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) as usize & 63;
            text.push(if place <= chunk.len() { char::from(ALPHABET[sextet]) } else { '=' });
        }
    }
    text
}

fn unbase64(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(4) {
        return None;
    }
    let body = text.trim_end_matches('=').as_bytes();
    if bytes.len() - body.len() > 2 || body.len() % 4 == 1 {
        return None;
    }
    let mut data = Vec::with_capacity(body.len() * 3 / 4);
    let (mut bits, mut count) = (0u32, 0);
    for byte in body {
        let sextet = ALPHABET.iter().position(|letter| letter == byte)?;
        bits = bits << 6 | u32::try_from(sextet).ok()?;
        count += 6;
        if count >= 8 {
            count -= 8;
            data.push((bits >> count & 0xff) as u8);
        }
    }
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (data, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(data.as_bytes()), text);
            assert_eq!(unbase64(text).as_deref(), Some(data.as_bytes()));
        }
        for bad in ["Z", "Zg", "Zg=", "Z===", "Zm9v\n", "Zm-_", "====", "Zg==Zg=="] {
            assert_eq!(unbase64(bad), None, "{bad:?}");
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
