//! From a checked command to a running process, and why there may be none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use nix::errno::Errno;

use super::account::{Account, AccountError};
use super::command::{Command, CommandError};
use super::environment;

/// Why a command never ran.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Command(#[from] CommandError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("the working directory {cwd:?} cannot be used: {why}")]
    WorkingDirectory { cwd: PathBuf, why: std::io::Error },
    #[error("the program {program:?} was not found")]
    NotFound { program: String },
    #[error("the program {program:?} is not executable, or its directory not open to the user")]
    NotExecutable { program: String },
    #[error(
        "arguments and environment are longer than the host takes: 128 KiB each, and all together some MiB"
    )]
    TooLong,
    #[error("the host could not start the process: {0}")]
    Host(std::io::Error),
}

impl StartError {
    /// 127 not found, 126 refused or not executable, 125 a failure of the host that may pass.
    pub(super) fn code(&self) -> i32 {
        match self {
            Self::NotFound { .. } => 127,
            Self::Account(AccountError::Database(_)) | Self::Host(_) => 125,
            Self::Command(_) | Self::Account(_) | Self::WorkingDirectory { .. } => 126,
            Self::NotExecutable { .. } | Self::TooLong => 126,
        }
    }
}

/// Starts the main process in a process group of its own, with pipes for its output.
///
/// When the worker is root and the command's user is another, the standard library drops all supplementary groups
/// and sets group and user; the groups that the user has beside that one are not given.
pub(super) fn start(command: &Command, account: &Account, mark: &str) -> Result<Child, StartError> {
    let env = environment::build(command, account, mark);
    let cwd = working_directory(command, account)?;
    let mut process = std::process::Command::new(find(&command.argv[0], &env));
    std::os::unix::process::CommandExt::arg0(&mut process, &command.argv[0]);
    process
        .args(&command.argv[1..])
        .env_clear()
        .envs(&env)
        .current_dir(&cwd)
        .stdin(if command.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    std::os::unix::process::CommandExt::process_group(&mut process, 0);
    if let Some((uid, gid)) = account.switch {
        std::os::unix::process::CommandExt::gid(&mut process, gid.as_raw());
        std::os::unix::process::CommandExt::uid(&mut process, uid.as_raw());
    }
    process.spawn().map_err(|error| explain(error, command, account, &env))
}

/// Where the command's own path has the program; its name where it does not, for the host to say what is wrong.
///
/// With a name and a path of its own the standard library has to fork, which costs more than not to; with the program's place it need not.
fn find(program: &str, env: &BTreeMap<OsString, OsString>) -> PathBuf {
    let path = env.get(std::ffi::OsStr::new("PATH")).filter(|_| !program.contains('/'));
    let mut places =
        path.into_iter().flat_map(std::env::split_paths).map(|directory| directory.join(program));
    let is_program = |place: &PathBuf| {
        std::fs::metadata(place).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    places.find(|place| place.is_absolute() && is_program(place)).unwrap_or_else(|| program.into())
}

fn working_directory(command: &Command, account: &Account) -> Result<PathBuf, StartError> {
    let Some(cwd) = &command.cwd else {
        let home = account.home.is_dir().then(|| account.home.clone());
        return Ok(home.unwrap_or_else(|| "/".into()));
    };
    match std::fs::metadata(cwd) {
        Ok(found) if found.is_dir() => Ok(cwd.clone()),
        Ok(_) => Err(StartError::WorkingDirectory { cwd: cwd.clone(), why: Errno::ENOTDIR.into() }),
        Err(why) => Err(StartError::WorkingDirectory { cwd: cwd.clone(), why }),
    }
}

fn explain(
    error: std::io::Error,
    command: &Command,
    account: &Account,
    env: &BTreeMap<OsString, OsString>,
) -> StartError {
    let program = command.argv[0].clone();
    match error.raw_os_error().map(Errno::from_raw) {
        // A script whose interpreter is missing fails with ENOENT as well; the script itself is there.
        Some(Errno::ENOENT) if Path::new(&program).is_absolute() && Path::new(&program).exists() => {
            StartError::NotExecutable { program }
        }
        Some(Errno::ENOENT | Errno::ENOTDIR) => StartError::NotFound { program },
        Some(Errno::EPERM | Errno::EINVAL) if account.switch.is_some() => {
            AccountError::NotPermitted(account.name.clone()).into()
        }
        Some(Errno::EACCES) if !program.contains('/') && !is_in_path(&program, env) => {
            StartError::NotFound { program }
        }
        Some(
            Errno::EACCES | Errno::EPERM | Errno::ENOEXEC | Errno::ETXTBSY | Errno::EISDIR | Errno::ELOOP,
        ) => StartError::NotExecutable { program },
        Some(Errno::E2BIG | Errno::ENAMETOOLONG) => StartError::TooLong,
        _ => StartError::Host(error),
    }
}

/// exec(3) says EACCES for a program that is nowhere if only one directory of the path cannot be read.
fn is_in_path(program: &str, env: &BTreeMap<OsString, OsString>) -> bool {
    let path = env.get(std::ffi::OsStr::new("PATH"));
    path.is_some_and(|path| std::env::split_paths(path).any(|directory| directory.join(program).exists()))
}
