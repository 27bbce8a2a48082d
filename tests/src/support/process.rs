//! One program, owned by the test that started it.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use super::wait::eventually;
use super::watchdog;

/// A program starts only when it is told to, after the watchdog knows it; if the test process dies before that, it never starts.
const GATE: &str = r#"read -r _ && exec "$@""#;

/// Lines of the log shown when a test fails.
const LOG_TAIL: usize = 200;

/// A running program in a process group of its own. On drop the group is killed; if the test is failing, the end of its log is shown.
pub struct Process {
    name: String,
    pid: Pid,
    child: Mutex<Child>,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    /// Starts a service: its output and errors go to `log`, appended if it ran before; its standard input is empty.
    pub fn service(name: &str, command: &Command, log: &Path) -> Self {
        Self::start(name, command, b"", log, log)
    }

    /// Starts a command with `input` as its standard input, its output and its errors in a file each.
    ///
    /// `input` must fit into a pipe (64 KiB): nobody is there to write the rest.
    pub fn start(name: &str, command: &Command, input: &[u8], stdout: &Path, stderr: &Path) -> Self {
        assert!(input.len() < 60_000, "{} bytes of input do not fit into a pipe", input.len());
        let mut gated = gated(command);
        gated.stdin(Stdio::piped()).stdout(append(stdout)).stderr(append(stderr)).process_group(0);
        let mut child = gated.spawn().unwrap_or_else(|error| panic!("failed to start {name}: {error}"));
        watchdog::hold(child.id());
        let mut stdin = child.stdin.take().expect("standard input is piped");
        stdin
            .write_all(&[b"\n", input].concat())
            .expect("the gate reads its first line, and the pipe has room");
        Self {
            name: name.to_owned(),
            pid: Pid::from_raw(i32::try_from(child.id()).expect("a process id is a positive i32")),
            child: Mutex::new(child),
            stdout: stdout.to_owned(),
            stderr: stderr.to_owned(),
        }
    }

    pub fn pid(&self) -> u32 {
        self.pid.as_raw().unsigned_abs()
    }

    /// What it has written to standard output so far (for a service: to its log).
    pub fn stdout(&self) -> Vec<u8> {
        read(&self.stdout)
    }

    /// What it has written to standard error so far (for a service: to its log).
    pub fn stderr(&self) -> Vec<u8> {
        read(&self.stderr)
    }

    /// Sends a signal to the program alone, not to its children. One that has ended is left in peace.
    pub fn signal(&self, signal: Signal) {
        let mut child = self.child();
        // Only while it is not reaped is the id surely its own.
        if status(&mut child).is_none() {
            kill(self.pid, signal)
                .unwrap_or_else(|error| panic!("failed to send {signal} to {}: {error}", self.name));
        }
    }

    /// SIGKILL, and waits for the end. Its children are left, as in a real crash.
    pub fn kill(&self) {
        self.signal(Signal::SIGKILL);
        watchdog::let_go(self.pid());
        self.child().wait().expect("a child can be waited for");
    }

    /// SIGTERM; [`exit`](Self::exit) waits for what comes of it.
    pub fn terminate(&self) {
        self.signal(Signal::SIGTERM);
    }

    /// SIGSTOP: it keeps its connections and says nothing.
    pub fn pause(&self) {
        self.signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Its end, if it has ended.
    pub fn exited(&self) -> Option<ExitStatus> {
        status(&mut self.child())
    }

    /// Its exit code, if it has ended, as a shell would give it: 128 + n for one that died of signal n.
    pub fn exit_code(&self) -> Option<i32> {
        self.exited().map(shell_code)
    }

    /// Waits for its end and gives its [`exit_code`](Self::exit_code).
    pub async fn exit(&self) -> i32 {
        eventually(&format!("{self:?} exits"), async || self.exit_code().context("it is running")).await
    }

    /// Waits until `probe` succeeds, and panics at once if the program ends before.
    pub async fn until_ready<T>(&self, mut probe: impl AsyncFnMut() -> anyhow::Result<T>) -> T {
        eventually(&format!("{} is ready", self.name), async || {
            if let Some(status) = self.exited() {
                panic!("{} did not come up: {status}; its log ends with:\n{}", self.name, tail(&self.stderr));
            }
            probe().await
        })
        .await
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if status(&mut child).is_none() {
            match killpg(self.pid, Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => eprintln!("failed to kill the group of {}: {error}", self.name),
            }
        }
        watchdog::let_go(self.pid.as_raw().unsigned_abs());
        if let Err(error) = child.wait() {
            eprintln!("failed to wait for {}: {error}", self.name);
        }
        if thread::panicking() {
            eprintln!("---- the log of {} ends with:\n{}", self.name, tail(&self.stderr));
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (pid {})", self.name, self.pid)
    }
}

/// The same command, started through another program, such as `nsenter --net=..`; without any, as it was.
pub fn through(launcher: &[OsString], command: Command) -> Command {
    match launcher.split_first() {
        Some((program, arguments)) => within(program, arguments, &command),
        None => command,
    }
}

fn gated(command: &Command) -> Command {
    within("sh", &["-c", GATE, "sh"], command)
}

fn within(program: impl AsRef<OsStr>, arguments: &[impl AsRef<OsStr>], command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.args(arguments).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => outer.env(name, value),
            None => outer.env_remove(name),
        };
    }
    if let Some(directory) = command.get_current_dir() {
        outer.current_dir(directory);
    }
    outer
}

fn status(child: &mut Child) -> Option<ExitStatus> {
    child.try_wait().expect("a child can be waited for")
}

fn shell_code(status: ExitStatus) -> i32 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .expect("a process exits or dies of a signal")
}

fn append(path: &Path) -> File {
    let file = File::options().create(true).append(true).open(path);
    file.unwrap_or_else(|error| panic!("failed to open {}: {error}", path.display()))
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("failed to read {}: {error}", path.display()))
}

fn tail(path: &Path) -> String {
    let Ok(log) = fs::read(path) else { return format!("{} cannot be read", path.display()) };
    let log = String::from_utf8_lossy(&log);
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL)..].join("\n")
}
