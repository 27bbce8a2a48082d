//! A handler by name: a command that the worker's operator has laid down, filled from a payload.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use bytes::Bytes;
use serde::Deserialize;

use super::{ArgumentTemplate, ByteSize, Command, CommandError, Limits, Span, TemplateError, UserSpec};

/// Payloads up to this many bytes are also given as `MARABUNTA_PAYLOAD`. Linux takes 128 KiB per variable; the
/// rest of the environment needs room too.
const PAYLOAD_IN_ENVIRONMENT: usize = 32 * 1024;

/// The table `[handlers.NAME]` of the worker's configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "Table")]
pub struct HandlerConfig {
    argv: Vec<ArgumentTemplate>,
    table: Table,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// Program and arguments; all but the program may hold placeholders.
    argv: Vec<String>,
    /// Whom it runs as; the worker's own user if not given.
    user: Option<UserSpec>,
    cwd: Option<PathBuf>,
    /// Variables with fixed values.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// Names of variables that are handed on from the worker's own environment, if set there.
    #[serde(default)]
    env_allow: BTreeSet<String>,
    #[serde(default)]
    stdin: StdinSource,
    timeout: Option<Span>,
    kill_grace: Option<Span>,
    output_limit: Option<ByteSize>,
    memory_limit: Option<ByteSize>,
}

/// What a handler reads on its standard input.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StdinSource {
    /// `/dev/null`.
    #[default]
    Empty,
    /// The payload, byte for byte.
    Payload,
}

/// Why a handler is not valid, or not for this payload.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    #[error("argv[{position}]: {source}")]
    Argument { position: usize, source: TemplateError },
    #[error("argv[0] is {program:?}; the program must be fixed, without placeholders")]
    ProgramFromPayload { program: String },
    #[error("{field} is 0; leave it out for no limit")]
    Zero { field: &'static str },
    #[error("the payload is not valid JSON: {0}")]
    Payload(String),
    #[error(transparent)]
    Command(#[from] CommandError),
}

impl TryFrom<Table> for HandlerConfig {
    type Error = HandlerError;

    fn try_from(table: Table) -> Result<Self, HandlerError> {
        let argv = table
            .argv
            .iter()
            .enumerate()
            .map(|(position, text)| {
                text.parse().map_err(|source| HandlerError::Argument { position, source })
            })
            .collect::<Result<Vec<ArgumentTemplate>, _>>()?;
        if argv.first().is_some_and(|program| !program.is_fixed()) {
            return Err(HandlerError::ProgramFromPayload { program: table.argv[0].clone() });
        }
        for (field, zero) in [
            ("timeout", table.timeout.is_some_and(|span| span.0.is_zero())),
            ("memory_limit", table.memory_limit == Some(ByteSize(0))),
        ] {
            if zero {
                return Err(HandlerError::Zero { field });
            }
        }
        let handler = Self { argv, table };
        handler.with_arguments(handler.table.argv.clone()).check()?;
        Ok(handler)
    }
}

impl HandlerConfig {
    /// The command for this payload. The caller adds what it knows of the run (`MARABUNTA_RUN`, ..) to `env`.
    ///
    /// # Errors
    /// [`HandlerError`], which names the argument and the field of the payload.
    pub fn command(&self, payload: &[u8]) -> Result<Command, HandlerError> {
        let fields =
            serde_json::from_slice(payload).map_err(|error| HandlerError::Payload(error.to_string()))?;
        let fill = |(position, argument): (usize, &ArgumentTemplate)| {
            argument.fill(&fields).map_err(|source| HandlerError::Argument { position, source })
        };
        let mut command =
            self.with_arguments(self.argv.iter().enumerate().map(fill).collect::<Result<_, _>>()?);
        if self.table.stdin == StdinSource::Payload {
            command.stdin = Bytes::copy_from_slice(payload);
        }
        if payload.len() <= PAYLOAD_IN_ENVIRONMENT {
            let text = String::from_utf8_lossy(payload).into_owned();
            command.env.insert("MARABUNTA_PAYLOAD".into(), text);
        }
        command.check()?;
        Ok(command)
    }

    fn with_arguments(&self, argv: Vec<String>) -> Command {
        let table = &self.table;
        let inherited =
            table.env_allow.iter().filter_map(|name| Some((name.clone(), std::env::var(name).ok()?)));
        let mut env: BTreeMap<String, String> = inherited.collect();
        env.extend(table.env.clone());
        let defaults = Limits::default();
        Command {
            argv,
            env_trusted: env.keys().cloned().collect(),
            env,
            cwd: table.cwd.clone(),
            stdin: Bytes::new(),
            user: table.user.clone(),
            timeout: table.timeout.map(|span| span.0),
            limits: Limits {
                output: table.output_limit.map_or(defaults.output, |size| size.0),
                memory: table.memory_limit.map(|size| size.0),
                kill_grace: table.kill_grace.map_or(defaults.kill_grace, |span| span.0),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_table_and_a_payload_make_a_command() {
        let handler: HandlerConfig = toml::from_str(
            r#"
            argv = ["/usr/local/bin/backup", "--db", "{{db}}", "--n={{n}}"]
            user = "postgres"
            cwd = "/var/lib"
            env = { PGPORT = "5432", LD_LIBRARY_PATH = "/opt/lib" }
            env_allow = ["CARGO_MANIFEST_DIR", "NOT_SET_ANYWHERE"]
            stdin = "payload"
            timeout = "1m30s"
            kill_grace = "2s"
            output_limit = "64MiB"
            memory_limit = "1GiB"
            "#,
        )
        .unwrap();
        let payload = br#"{"db": "a b", "n": 3}"#;
        let command = handler.command(payload).unwrap();
        assert_eq!(command.argv, ["/usr/local/bin/backup", "--db", "a b", "--n=3"]);
        assert_eq!(command.user, Some("postgres".parse().unwrap()));
        assert_eq!(command.cwd, Some("/var/lib".into()));
        assert_eq!(command.stdin.as_ref(), payload);
        assert_eq!(command.timeout, Some(Duration::from_secs(90)));
        assert_eq!(command.limits.kill_grace, Duration::from_secs(2));
        assert_eq!(command.limits.output, 64 << 20);
        assert_eq!(command.limits.memory, Some(1 << 30));
        let keys: Vec<&str> = command.env.keys().map(String::as_str).collect();
        assert_eq!(keys, ["CARGO_MANIFEST_DIR", "LD_LIBRARY_PATH", "MARABUNTA_PAYLOAD", "PGPORT"]);
    }

    #[test]
    fn bad_tables_are_refused_by_name() {
        let rows = [
            ("", "missing field `argv`"),
            ("argv = []", "argv is empty"),
            ("argv = ['']", "argv[0] is empty"),
            ("argv = 'ls -l'", "invalid type: string"),
            ("argv = ['{{program}}']", "argv[0] is \"{{program}}\""),
            ("argv = ['a', '{{x']", "argv[1]: {{ in \"{{x\" is never closed"),
            ("argv = ['a']\nshell = true", "unknown field `shell`"),
            ("argv = ['a']\ncwd = 'x'", "must be an absolute path"),
            ("argv = ['a']\nstdin = 'tty'", "unknown variant `tty`"),
            ("argv = ['a']\nuser = ''", "is not a user"),
            ("argv = ['a']\nenv = { 'A=B' = 'c' }", "A=B"),
            ("argv = ['a']\ntimeout = 30", "expected a string"),
            ("argv = ['a']\ntimeout = '30'", "\"30\" is not a span of time"),
            ("argv = ['a']\ntimeout = '0s'", "timeout is 0"),
            ("argv = ['a']\nmemory_limit = '64M'", "\"M\" in \"64M\" is no unit of size"),
            ("argv = ['a']\nmemory_limit = '0B'", "memory_limit is 0"),
            ("argv = ['a']\noutput_limit = '-1B'", "\"-1B\" is not a size"),
        ];
        for (table, expected) in rows {
            let error = toml::from_str::<HandlerConfig>(table).expect_err(table).to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }

    #[test]
    fn bad_payloads_are_refused_by_name() {
        let handler: HandlerConfig = toml::from_str("argv = ['a', '{{db}}']").unwrap();
        let rows: &[(&[u8], &str)] = &[
            (b"", "not valid JSON"),
            (b"{\"db\": 1e400}", "number out of range"),
            (b"{}", "argv[1]: the payload has no field \"db\""),
            (b"[]", "no field \"db\""),
            (br#"{"db": null}"#, "is null"),
            (br#"{"db": "\u0000"}"#, "holds a NUL"),
        ];
        for (payload, expected) in rows {
            let error = handler.command(payload).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }

    #[test]
    fn a_large_payload_is_not_put_into_the_environment() {
        let handler: HandlerConfig = toml::from_str("argv = ['a']\nstdin = 'payload'").unwrap();
        let payload = format!("\"{}\"", "x".repeat(PAYLOAD_IN_ENVIRONMENT));
        let command = handler.command(payload.as_bytes()).unwrap();
        assert!(!command.env.contains_key("MARABUNTA_PAYLOAD"));
        assert_eq!(command.stdin, payload);
    }
}
