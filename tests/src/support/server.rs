//! `marabunta-server`, the real binary.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::ensure;

use super::http;
use super::port::Port;
use super::process::{Process, through};
use super::program;
use super::scratch::Scratch;

/// A server on ports of its own. On drop it is killed; if the test is failing, the end of its log is shown.
#[derive(Debug)]
pub struct Server {
    process: Mutex<Process>,
    options: Options,
    grpc: Port,
    http: Port,
    directory: Scratch,
}

/// What a server is started with, besides its addresses.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub arguments: Vec<OsString>,
    pub environment: Vec<(OsString, OsString)>,
    /// Another build of it than this one.
    pub program: Option<PathBuf>,
    /// A program and its arguments through which it is started.
    pub launcher: Vec<OsString>,
    /// The address of this host at which it listens, without TLS; loopback unless set.
    pub listen: Option<Ipv4Addr>,
}

impl Server {
    /// Starts it and waits until `/readyz` says that it is ready. Without `--mysql` or `--data` it is embedded, in a directory of its own.
    pub async fn start(options: Options) -> Self {
        let server = Self::launch(options);
        server.until_ready().await;
        server
    }

    /// Starts it without waiting, for a server that must refuse to start: see [`exit`](Self::exit).
    pub fn launch(options: Options) -> Self {
        let (grpc, http, directory) = (Port::reserve(), Port::reserve(), Scratch::new("server"));
        let process = spawn(&options, &grpc, &http, &directory).into();
        Self { process, options, grpc, http, directory }
    }

    /// Starts it again on the same ports, data and options, once it has ended, and waits until it is ready.
    pub async fn restart(&self) {
        self.relaunch();
        self.until_ready().await;
    }

    /// As [`restart`](Self::restart), without waiting.
    pub fn relaunch(&self) {
        assert!(self.process().exited().is_some(), "the server is still running");
        let process = spawn(&self.options, &self.grpc, &self.http, &self.directory);
        *self.process() = process;
    }

    pub async fn until_ready(&self) {
        // The lock is not held while waiting: a test may kill the server meanwhile.
        super::eventually("the server is ready", async || {
            if let Some(status) = self.process().exited() {
                panic!("the server did not come up: {status}; its log is below");
            }
            let answer = http::get(self.http(), "/readyz").await?;
            ensure!(answer.status == 200, "/readyz says {}: {}", answer.status, answer.body);
            Ok(())
        })
        .await;
    }

    /// For `--server`, and for API clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.grpc())
    }

    pub fn grpc(&self) -> SocketAddr {
        self.reached(&self.grpc)
    }

    pub fn http(&self) -> SocketAddr {
        self.reached(&self.http)
    }

    /// Where an embedded server without `--data` keeps its data.
    pub fn data(&self) -> PathBuf {
        self.directory.join("data")
    }

    pub fn pid(&self) -> u32 {
        self.process().pid()
    }

    /// All that it has logged, over its restarts.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&self.process().stderr()).into_owned()
    }

    /// SIGKILL.
    pub fn kill(&self) {
        self.process().kill();
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
        assert_eq!(self.exit().await, 0, "a server that is told to stop exits with 0");
    }

    fn reached(&self, port: &Port) -> SocketAddr {
        self.options.listen.map_or(port.address(), |ip| (ip, port.number()).into())
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for the end of a process that others may signal meanwhile.
pub(super) async fn exit(process: &Mutex<Process>) -> i32 {
    super::eventually("the process exits", async || {
        let process = process.lock().unwrap_or_else(PoisonError::into_inner);
        process.exit_code().ok_or_else(|| anyhow::anyhow!("{process:?} is running"))
    })
    .await
}

/// A command without the variables that the person who runs the tests may have set for real use.
pub(super) fn clean(program: &str) -> Command {
    clean_at(program::built(program))
}

/// The same for any program.
pub(super) fn clean_at(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"MARABUNTA_") {
            command.env_remove(name);
        }
    }
    command
}

fn spawn(options: &Options, grpc: &Port, http: &Port, directory: &Scratch) -> Process {
    let program = options.program.clone().unwrap_or_else(|| program::built("marabunta-server"));
    let mut command = clean_at(program);
    let says = |flag: &str| options.arguments.iter().any(|argument| argument == flag);
    for (flag, port) in [("--grpc", grpc), ("--http", http)] {
        if !says(flag) {
            let ip = options.listen.unwrap_or(Ipv4Addr::LOCALHOST);
            command.arg(flag).arg(format!("{ip}:{}", port.number()));
        }
    }
    if options.listen.is_some() {
        command.arg("--insecure");
    }
    if !says("--data") && !says("--mysql") {
        command.arg("--data").arg(directory.join("data"));
    }
    command.args(&options.arguments).envs(options.environment.iter().cloned()).current_dir(directory.path());
    let command = through(&options.launcher, command);
    Process::service("marabunta-server", &command, &directory.join("log"))
}
