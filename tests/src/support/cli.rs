//! `marabunta`, the real command line.

use std::ffi::OsString;

use nix::sys::signal::Signal;

use super::process::Process;
use super::scratch::Scratch;
use super::server::clean;

/// A command line that is being put together.
#[derive(Clone, Debug)]
pub struct Cli {
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
    input: Vec<u8>,
}

impl Cli {
    /// `marabunta` with these arguments, and no server but the default one.
    pub fn new(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        Self { arguments, environment: Vec::new(), input: Vec::new() }
    }

    /// The server to talk to, by the variable that people use.
    pub fn server(self, url: &str) -> Self {
        self.variable("MARABUNTA_SERVER", url)
    }

    /// One more variable.
    pub fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Its standard input, empty otherwise.
    pub fn input(mut self, input: impl Into<Vec<u8>>) -> Self {
        self.input = input.into();
        self
    }

    /// Runs it to its end.
    pub async fn run(self) -> Output {
        self.start().output().await
    }

    /// Starts it, for a test that looks at it or signals it while it runs.
    pub fn start(self) -> RunningCli {
        let directory = Scratch::new("cli");
        let mut command = clean("marabunta");
        command.args(&self.arguments).envs(self.environment).current_dir(directory.path());
        command.env("HOME", directory.path());
        let (stdout, stderr) = (directory.join("stdout"), directory.join("stderr"));
        let process = Process::start("marabunta", &command, &self.input, &stdout, &stderr);
        RunningCli { process, _directory: directory }
    }
}

/// A command line that runs. Killed on drop.
#[derive(Debug)]
pub struct RunningCli {
    process: Process,
    _directory: Scratch,
}

impl RunningCli {
    /// Standard output so far.
    pub fn stdout(&self) -> String {
        text(&self.process.stdout())
    }

    /// Standard error so far.
    pub fn stderr(&self) -> String {
        text(&self.process.stderr())
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.process.signal(Signal::SIGINT);
    }

    pub fn kill(&self) {
        self.process.kill();
    }

    /// Waits for its end.
    pub async fn output(self) -> Output {
        let code = self.process.exit().await;
        Output { code, stdout: self.process.stdout(), stderr: self.process.stderr() }
    }
}

/// What came of a command line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// As a shell has it: 128 + n for death by signal n.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
    /// Demands exit code 0 and gives standard output.
    #[track_caller]
    pub fn success(&self) -> String {
        self.code(0)
    }

    /// Demands this exit code and gives standard output.
    #[track_caller]
    pub fn code(&self, expected: i32) -> String {
        let (stdout, stderr) = (text(&self.stdout), text(&self.stderr));
        assert_eq!(
            self.code, expected,
            "exit code\n---- standard error:\n{stderr}\n---- standard output:\n{stdout}"
        );
        stdout
    }

    /// Demands exit code 0 and gives standard output, read as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        let stdout = self.success();
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("no JSON: {error}\n{stdout}"))
    }

    pub fn errors(&self) -> String {
        text(&self.stderr)
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
