//! How a command ended, and the exit code that stands for it.

use std::time::Duration;

use super::start::StartError;

/// The end of an attempt and what it used.
#[derive(Debug)]
pub struct Exit {
    pub ending: Ending,
    /// From the start of the main process until nothing of its tree was left; monotonic.
    pub elapsed: Duration,
    /// All bytes printed, those left out included.
    pub output_bytes: u64,
    /// Whether some of them were left out.
    pub truncated: bool,
    /// CPU time, user and system, of all processes of the tree that were waited for.
    pub cpu: Duration,
    /// Whether the kernel killed a process of the tree for [`memory`](super::Limits::memory); known only from a
    /// cgroup with the memory controller.
    pub out_of_memory: bool,
    /// Processes that outlived SIGKILL by seconds (stuck in the kernel, on a dead network disk for example).
    /// Not 0 means that the command must not be started again on this host yet.
    pub survivors: usize,
}

impl Exit {
    pub(super) fn without_start(ending: Ending) -> Self {
        Self {
            ending,
            elapsed: Duration::ZERO,
            output_bytes: 0,
            truncated: false,
            cpu: Duration::ZERO,
            out_of_memory: false,
            survivors: 0,
        }
    }
}

/// The way the main process of a command ended.
#[derive(Debug)]
pub enum Ending {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal, which was not of our sending.
    Signalled(i32),
    /// Killed, with its tree, because the time was up.
    TimedOut,
    /// Killed, with its tree, on request; or not started, because the request came first.
    Cancelled,
    /// It never ran. `code` says why in the way of shells, `error` in words.
    NotStarted { code: i32, error: String },
    /// Something killed its supervisor, and the tree was killed for it. How far it had come nobody knows.
    Lost,
}

impl Ending {
    /// The exit code as shells and timeout(1) have it: the command's own, 128 + n for signal n, 124 timed out,
    /// 130 cancelled; if it never ran 127 not found, 126 refused or not executable, 125 a failure of the host.
    pub fn code(&self) -> i32 {
        match self {
            Self::Exited(code) => *code,
            Self::Signalled(signal) => 128 + signal,
            Self::TimedOut => 124,
            Self::Cancelled => 130,
            Self::NotStarted { code, .. } => *code,
            Self::Lost => 125,
        }
    }

    /// Whether the command ran to its end and says that all is well.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

impl From<StartError> for Ending {
    fn from(error: StartError) -> Self {
        Self::NotStarted { code: error.code(), error: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_the_code_that_shells_give_it() {
        let rows = [
            (Ending::Exited(0), 0),
            (Ending::Exited(3), 3),
            (Ending::Signalled(9), 137),
            (Ending::Signalled(11), 139),
            (Ending::TimedOut, 124),
            (Ending::Cancelled, 130),
            (StartError::NotFound { program: "x".into() }.into(), 127),
            (StartError::NotExecutable { program: "x".into() }.into(), 126),
            (Ending::Lost, 125),
        ];
        for (ending, code) in rows {
            assert_eq!(ending.code(), code, "{ending:?}");
        }
    }
}
