//! Nothing outlives the tests, whatever ends them: a panic, Ctrl-C, SIGTERM, SIGKILL.
//!
//! A parent-death signal would not do: the kernel sends it when the *thread* that started the program ends, and tests are threads. So a
//! small shell process, one per test process, reads a pipe whose other end only the test process has. When the pipe closes it kills what
//! it was told to hold and removes [`root`], what is mounted below it, and the network namespaces that have its name. Statics (the shared MariaDB and Redis) are never dropped, so this is also how they end.

use std::env;
use std::fs;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, PoisonError};

use uuid::Uuid;

/// The directory under which everything of this test process lives.
pub fn root() -> &'static Path {
    &WATCHDOG.root
}

/// Kill this process, and its group, when the test process is gone.
pub(crate) fn hold(pid: u32) {
    WATCHDOG.order(&format!("+{pid}\n"));
}

/// Forget this process. Called after it was killed and before it is reaped, so that the id still is its own.
pub(crate) fn let_go(pid: u32) {
    WATCHDOG.order(&format!("-{pid}\n"));
}

static WATCHDOG: LazyLock<Watchdog> = LazyLock::new(Watchdog::start);

struct Watchdog {
    root: PathBuf,
    /// Ends after this process, so nothing here waits for it.
    shell: Mutex<Child>,
}

impl Watchdog {
    fn start() -> Self {
        let unique = Uuid::new_v4().simple().to_string();
        let root = env::temp_dir().join(format!("marabunta-test-{}-{}", process::id(), &unique[..8]));
        fs::create_dir(&root).unwrap_or_else(|error| panic!("failed to create {}: {error}", root.display()));
        // Its own group: Ctrl-C and a runner's time-out go to the group of the tests. No output either: a runner waits for the pipe to close.
        let shell = Command::new("sh")
            .args(["-c", include_str!("watchdog.sh"), "marabunta-test-watchdog"])
            .arg(&root)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("every machine that runs the tests has sh");
        Self { root, shell: Mutex::new(shell) }
    }

    fn order(&self, line: &str) {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        let orders = shell.stdin.as_mut().expect("standard input is piped and never taken");
        orders.write_all(line.as_bytes()).expect("the watchdog reads until this process ends");
    }
}
