//! The payload of the handler `exec`: a command of the caller's choice, for workers that allow it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use marabunta_proto::variable::RESERVED;
use serde::Deserialize;

use super::{Command, CommandError};

/// `{"argv": [..], "env": {..}, "cwd": "..", "stdin": ".."}`; all but `argv` may be left out, and what is empty counts as left out. Bytes
/// that are no text come as `stdin_base64` (RFC 4648 section 4, padded) in place of `stdin`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FreeCommand {
    pub argv: Vec<String>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    #[serde(default)]
    pub cwd: Option<PathBuf>,
    #[serde(default)]
    pub stdin: String,
    #[serde(default)]
    pub stdin_base64: String,
}

impl FreeCommand {
    /// Reads the payload and checks it, so that what is wrong is said before a process is tried.
    /// User, limits and time-out are the worker's to add.
    ///
    /// # Errors
    /// [`CommandError`]; `MARABUNTA_..` in `env` is refused, because only the worker speaks of the run.
    pub fn parse(payload: &[u8]) -> Result<Command, CommandError> {
        let free: Self =
            serde_json::from_slice(payload).map_err(|error| CommandError::Format(error.to_string()))?;
        if let Some(key) = free.env.keys().find(|key| key.starts_with(RESERVED)) {
            return Err(CommandError::Reserved { key: key.clone() });
        }
        let stdin = match free.stdin_base64.as_str() {
            "" => free.stdin.into_bytes(),
            _ if !free.stdin.is_empty() => {
                return Err(CommandError::Format("stdin and stdin_base64 are both given".into()));
            }
            text => STANDARD
                .decode(text)
                .map_err(|error| CommandError::Format(format!("stdin_base64 is not base64: {error}")))?,
        };
        let command = Command {
            argv: free.argv,
            env: free.env,
            cwd: free.cwd.filter(|cwd| !cwd.as_os_str().is_empty()),
            stdin: Bytes::from(stdin),
            ..Command::default()
        };
        command.check()?;
        Ok(command)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_becomes_a_command() {
        let command =
            FreeCommand::parse(br#"{"argv":["cat"],"env":{"A":"b"},"cwd":"/","stdin":"hello"}"#).unwrap();
        assert_eq!(command.argv, ["cat"]);
        assert_eq!(command.env["A"], "b");
        assert_eq!(command.cwd, Some("/".into()));
        assert_eq!(command.stdin, "hello");
    }

    #[test]
    fn standard_input_may_hold_any_bytes() {
        let command = FreeCommand::parse(br#"{"argv":["cat"],"stdin_base64":"AP8K"}"#).unwrap();
        assert_eq!(command.stdin.as_ref(), b"\0\xff\n");
    }

    #[test]
    fn what_is_empty_counts_as_left_out() {
        let payload = br#"{"argv":["cat"],"env":{},"cwd":"","stdin":"x","stdin_base64":""}"#;
        let command = FreeCommand::parse(payload).unwrap();
        assert_eq!((command.cwd, command.stdin.as_ref()), (None, &b"x"[..]));
    }

    #[test]
    fn bad_payloads_are_refused_by_name() {
        let deep = format!(r#"{{"argv":{}"#, "[".repeat(100_000));
        let rows: &[(&[u8], &str)] = &[
            (b"", "EOF"),
            (b"null", "invalid type: null"),
            (b"{}", "missing field `argv`"),
            (br#"{"argv":"ls -l"}"#, "invalid type: string"),
            (br#"{"argv":[]}"#, "argv is empty"),
            (br#"{"argv":[""]}"#, "argv[0] is empty"),
            (br#"{"argv":["a\u0000b"]}"#, "argv[0] holds a NUL"),
            (br#"{"argv":["a"],"argv":["b"]}"#, "duplicate field `argv`"),
            (br#"{"argv":["a"],"shell":true}"#, "unknown field `shell`"),
            (br#"{"argv":["a"],"stdin_base64":"a"}"#, "stdin_base64 is not base64"),
            (br#"{"argv":["a"],"stdin_base64":"Zh=="}"#, "stdin_base64 is not base64"),
            (br#"{"argv":["a"],"stdin":"x","stdin_base64":"AA=="}"#, "both given"),
            (br#"{"argv":["a"],}"#, "trailing comma"),
            (br#"{"argv":["a"]} x"#, "trailing characters"),
            (b"\xef\xbb\xbf{\"argv\":[\"a\"]}", "expected value"),
            (b"{\"argv\":[\"\xff\"]}", "invalid unicode"),
            (br#"{"argv":["\ud800"]}"#, "hex escape"),
            (br#"{"argv":["a"],"env":{"LD_PRELOAD":"/x"}}"#, "LD_PRELOAD"),
            (br#"{"argv":["a"],"env":{"A=B":"c"}}"#, "A=B"),
            (br#"{"argv":["a"],"env":{"MARABUNTA_RUN":"x"}}"#, "MARABUNTA_RUN"),
            (br#"{"argv":["a"],"cwd":"tmp"}"#, "must be an absolute path"),
            (deep.as_bytes(), "invalid type: sequence"),
        ];
        for (payload, expected) in rows {
            let error = FreeCommand::parse(payload).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }
}
