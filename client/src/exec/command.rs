//! What is to be run, and the checks that need nothing but the words of the request.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use marabunta_proto::variable::steers_programs;

use super::UserSpec;

/// One command, complete: nothing is added but the base of its environment (`PATH`, `HOME`, `USER`, `LOGNAME`).
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Program and arguments. The program is looked up in the `PATH` that the command itself gets.
    pub argv: Vec<String>,
    /// Variables of the command's environment. They win over the base.
    pub env: BTreeMap<String, String>,
    /// Names that the operator vouches for although they steer the dynamic loader ([`CommandError::Loader`]).
    pub env_trusted: BTreeSet<String>,
    /// An absolute directory; the user's home if `None`, or `/` where that does not exist.
    pub cwd: Option<PathBuf>,
    /// Fed while the command runs, then closed. A command that does not read it is no error.
    pub stdin: Bytes,
    /// Whom it runs as; the worker's own user if `None`.
    pub user: Option<UserSpec>,
    /// From the start of the main process until SIGTERM.
    pub timeout: Option<Duration>,
    pub limits: Limits,
}

/// What a command may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of output kept per attempt: the first half and the last half of it. The rest is read and dropped.
    pub output: u64,
    /// Bytes. With a cgroup that has the memory controller, of the whole tree (`memory.max`); else the address
    /// space of each process (`RLIMIT_AS`).
    pub memory: Option<u64>,
    /// From SIGTERM to SIGKILL.
    pub kill_grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { output: 1 << 20, memory: None, kill_grace: Duration::from_secs(10) }
    }
}

/// Why a command is refused before anything is tried. Fits after "failed to run the command: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("argv is empty; it needs at least the program")]
    NoProgram,
    #[error("argv[0] is empty; it must name a program")]
    EmptyProgram,
    #[error("{field} holds a NUL byte, which no process can be given")]
    Nul { field: String },
    #[error("env has the key {key:?}; a key is not empty and holds no '='")]
    Key { key: String },
    #[error(
        "env has {key}, which changes what every program does; only the worker's configuration may set it"
    )]
    Loader { key: String },
    #[error("env has {key}; names that start with MARABUNTA_ are set by the worker")]
    Reserved { key: String },
    #[error("cwd is {cwd:?}; it must be an absolute path")]
    Relative { cwd: String },
    #[error("the command is not valid: {0}")]
    Format(String),
}

impl Command {
    /// Checks argv, env and cwd as far as that is possible without a look at the host.
    ///
    /// # Errors
    /// The first field that no process could be started with, or that nobody has vouched for.
    pub fn check(&self) -> Result<(), CommandError> {
        match self.argv.first() {
            None => return Err(CommandError::NoProgram),
            Some(program) if program.is_empty() => return Err(CommandError::EmptyProgram),
            Some(_) => {}
        }
        for (position, argument) in self.argv.iter().enumerate() {
            refuse_nul(argument, || format!("argv[{position}]"))?;
        }
        for (key, value) in &self.env {
            refuse_nul(key, || format!("an env key ({key:?})"))?;
            refuse_nul(value, || format!("env {key}"))?;
            if key.is_empty() || key.contains('=') {
                return Err(CommandError::Key { key: key.clone() });
            }
            if steers_programs(key) && !self.env_trusted.contains(key) {
                return Err(CommandError::Loader { key: key.clone() });
            }
        }
        if let Some(cwd) = &self.cwd {
            let text = cwd.to_string_lossy();
            refuse_nul(&text, || "cwd".into())?;
            if !cwd.is_absolute() {
                return Err(CommandError::Relative { cwd: text.into_owned() });
            }
        }
        Ok(())
    }
}

fn refuse_nul(text: &str, field: impl FnOnce() -> String) -> Result<(), CommandError> {
    if text.contains('\0') { Err(CommandError::Nul { field: field() }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(argv: &[&str], env: &[(&str, &str)], cwd: Option<&str>) -> Command {
        Command {
            argv: argv.iter().map(|word| word.to_string()).collect(),
            env: env.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
            cwd: cwd.map(PathBuf::from),
            ..Command::default()
        }
    }

    #[test]
    fn each_field_that_cannot_be_run_is_named() {
        let rows = [
            (command(&[], &[], None), "argv is empty"),
            (command(&["", "x"], &[], None), "argv[0] is empty"),
            (command(&["sh", "a\0b"], &[], None), "argv[1] holds a NUL"),
            (command(&["sh"], &[("A", "b\0")], None), "env A holds a NUL"),
            (command(&["sh"], &[("A\0", "b")], None), "an env key (\"A\\0\") holds a NUL"),
            (command(&["sh"], &[("A=B", "c")], None), "the key \"A=B\""),
            (command(&["sh"], &[("", "c")], None), "the key \"\""),
            (command(&["sh"], &[("LD_PRELOAD", "/x.so")], None), "LD_PRELOAD"),
            (command(&["sh"], &[("LD_AUDIT", "/x.so")], None), "LD_AUDIT"),
            (command(&["sh"], &[("BASH_ENV", "/x")], None), "BASH_ENV"),
            (command(&["sh"], &[("BASH_FUNC_ls%%", "() { :; }")], None), "BASH_FUNC_ls%%"),
            (command(&["sh"], &[], Some("a/b")), "cwd is \"a/b\""),
            (command(&["sh"], &[], Some("/a\0")), "cwd holds a NUL"),
        ];
        for (command, expected) in rows {
            let error = command.check().expect_err(expected).to_string();
            assert!(error.contains(expected), "{error:?} does not contain {expected:?}");
        }
    }

    #[test]
    fn a_loader_variable_passes_when_the_operator_vouches_for_it() {
        let mut command = command(&["sh"], &[("LD_LIBRARY_PATH", "/opt/lib")], Some("/"));
        assert_eq!(command.check(), Err(CommandError::Loader { key: "LD_LIBRARY_PATH".into() }));
        command.env_trusted.insert("LD_LIBRARY_PATH".into());
        assert_eq!(command.check(), Ok(()));
    }
}
