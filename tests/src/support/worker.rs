//! Workers: `marabunta worker`, the real daemon, and `witness worker`, which is made of the SDK and costs little.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process::{Process, through};
use super::program;
use super::scratch::Scratch;
use super::server::{clean_at, exit};

/// How a worker is started. A name alone is one: `"web-1".into()`.
#[derive(Clone, Debug)]
pub struct WorkerOptions {
    name: String,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    program: Program,
    /// Another build of the daemon than this one.
    build: Option<PathBuf>,
    server: Option<String>,
    launcher: Vec<OsString>,
    spool: Option<PathBuf>,
}

#[derive(Clone, Debug)]
enum Program {
    /// With the text of its configuration.
    Daemon(String),
    /// With the directory of its testimony.
    Witness(PathBuf),
}

impl WorkerOptions {
    /// A worker that runs free commands.
    pub fn named(name: &str) -> Self {
        Self::configured(name, "").argument("--allow-exec")
    }

    /// A worker that runs the handlers of this configuration, and no free commands.
    pub fn configured(name: &str, toml: &str) -> Self {
        Self::of(name, Program::Daemon(toml.to_owned()))
    }

    /// An SDK worker whose tasks testify in this directory.
    pub fn witness(name: &str, testimony: &Path) -> Self {
        Self::of(name, Program::Witness(testimony.to_owned()))
    }

    fn of(name: &str, program: Program) -> Self {
        let name = name.to_owned();
        Self {
            name,
            arguments: Vec::new(),
            environment: Vec::new(),
            program,
            build: None,
            server: None,
            launcher: Vec::new(),
            spool: None,
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// A label, `role=web`.
    pub fn label(self, label: &str) -> Self {
        self.argument("--label").argument(label)
    }

    /// How many attempts it runs at once.
    pub fn slots(self, slots: u32) -> Self {
        self.argument("--slots").argument(slots.to_string())
    }

    /// One more argument.
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One more variable.
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Another build of the daemon, such as an earlier version.
    pub fn build(mut self, program: &Path) -> Self {
        self.build = Some(program.to_owned());
        self
    }

    /// Starts it through a program with these arguments.
    pub fn through(mut self, launcher: Vec<OsString>) -> Self {
        self.launcher = launcher;
        self
    }

    /// A directory for its spool, instead of one of its own.
    pub fn spool(mut self, directory: impl Into<PathBuf>) -> Self {
        self.spool = Some(directory.into());
        self
    }

    /// Another server than the cluster would give it.
    pub fn server(mut self, url: &str) -> Self {
        self.server = Some(url.to_owned());
        self
    }
}

impl From<&str> for WorkerOptions {
    fn from(name: &str) -> Self {
        Self::named(name)
    }
}

/// A worker. On drop it is killed with its process group, and what its supervisors run ends when they find their directory removed; if the
/// test is failing, the end of its log is shown.
#[derive(Debug)]
pub struct Worker {
    process: Mutex<Process>,
    options: WorkerOptions,
    server: String,
    directory: Scratch,
}

impl Worker {
    /// Starts it; it connects when it can ([`Cluster::online`](super::Cluster::online) waits for that).
    pub fn start(server: &str, options: impl Into<WorkerOptions>) -> Self {
        let options = options.into();
        let directory = Scratch::new("worker");
        let server = options.server.clone().unwrap_or_else(|| server.to_owned());
        let process = spawn(&options, &server, &directory).into();
        Self { process, options, server, directory }
    }

    /// Starts it again with the same options and spool, once it has ended.
    pub fn restart(&self) {
        assert!(self.process().exited().is_some(), "worker {} is still running", self.name());
        let process = spawn(&self.options, &self.server, &self.directory);
        *self.process() = process;
    }

    pub fn name(&self) -> &str {
        &self.options.name
    }

    pub fn is_running(&self) -> bool {
        self.process().exited().is_none()
    }

    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// All that it has logged, over its restarts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.process().stderr()).into_owned()
    }

    /// Whether it has ended, so that it may be started again.
    pub fn has_exited(&self) -> bool {
        self.process().exited().is_some()
    }

    /// SIGKILL to the daemon alone: its supervisors go on with what it runs.
    pub fn kill(&self) {
        self.process().kill();
    }

    /// SIGKILL to the daemon, its supervisors and all that they run: what a host that loses power does.
    pub fn kill_all(&self) {
        let marks: Vec<Vec<u8>> = self.supervisors().into_iter().filter_map(mark).collect();
        self.kill();
        // Supervisors are the first to be found: parents have lower numbers. Once they are dead, nobody is spared or reported.
        while let Some(pid) = pids().find(|pid| mark(*pid).is_some_and(|mark| marks.contains(&mark))) {
            match kill(Pid::from_raw(pid), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => panic!("failed to kill process {pid}: {error}"),
            }
        }
    }

    /// The processes through which it runs commands, idle ones too.
    pub fn supervisors(&self) -> Vec<i32> {
        let spool = self.options.spool.clone().unwrap_or_else(|| self.directory.join("spool"));
        let doors = spool.join("supervisors");
        let is_ours = |pid: &i32| {
            let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut arguments = arguments.split(|byte| *byte == 0);
            arguments.nth(1) == Some(b"supervise")
                && arguments.nth(1) == Some(doors.as_os_str().as_encoded_bytes())
        };
        pids().filter(is_ours).collect()
    }

    /// SIGKILL to its supervisors alone.
    pub fn kill_supervisors(&self) {
        for pid in self.supervisors() {
            kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it was just there");
        }
    }

    /// SIGTERM: an ordered drain. [`exit`](Self::exit) waits for its end.
    pub fn terminate(&self) {
        self.process().terminate();
    }

    /// SIGSTOP: its connections stay and it says nothing.
    pub fn pause(&self) {
        self.process().pause();
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.process().resume();
    }

    /// Waits for its end and gives the exit code: 128 + n for one that died of signal n.
    pub async fn exit(&self) -> i32 {
        exit(&self.process).await
    }

    /// Drains it and demands that it says so with exit code 0.
    pub async fn stop(&self) {
        self.terminate();
        assert_eq!(self.exit().await, 0, "a worker that is told to stop exits with 0");
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").expect("Linux has /proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// By which a supervisor and what it runs can be told.
fn mark(pid: i32) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    variables.find(|variable| variable.starts_with(b"MARABUNTA_TREE=")).map(<[u8]>::to_vec)
}

fn spawn(options: &WorkerOptions, server: &str, directory: &Scratch) -> Process {
    let program = match &options.program {
        Program::Daemon(_) => options.build.clone().unwrap_or_else(|| program::built("marabunta")),
        Program::Witness(_) => program::built("witness"),
    };
    let mut command = clean_at(program);
    command.args(["worker", "--server", server, "--name", &options.name]).args(&options.arguments);
    let spool = options.spool.clone().unwrap_or_else(|| directory.join("spool"));
    command.arg("--spool").arg(spool).env("HOME", directory.path());
    match &options.program {
        Program::Daemon(toml) => command.arg("--config").arg(directory.write("worker.toml", toml)),
        Program::Witness(testimony) => command.arg("--testimony").arg(testimony),
    };
    command.envs(options.environment.iter().cloned()).current_dir(directory.path());
    let command = through(&options.launcher, command);
    Process::service(&format!("worker {}", options.name), &command, &directory.join("log"))
}
