//! How a command ended, and the exit code that stands for it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use super::StartError;

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
    /// Bytes at the peak, of the whole tree; known only from a cgroup with the memory controller.
    pub peak_memory: Option<u64>,
    /// CPU time, user and system, of the whole tree; known only from a cgroup.
    pub cpu: Option<Duration>,
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
            peak_memory: None,
            cpu: None,
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
    /// It never ran.
    NotStarted(StartError),
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
            Self::NotStarted(error) => error.code(),
        }
    }

    /// Whether the command ran to its end and says that all is well.
    pub fn is_success(&self) -> bool {
        matches!(self, Self::Exited(0))
    }
}

impl From<ExitStatus> for Ending {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Signalled(signal),
            (None, None) => unreachable!("wait returned a process that has neither exited nor been killed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_ending_has_the_code_that_shells_give_it() {
        let rows = [
            (Ending::from(ExitStatus::from_raw(0)), 0),
            (Ending::from(ExitStatus::from_raw(3 << 8)), 3),
            (Ending::from(ExitStatus::from_raw(9)), 137),
            (Ending::from(ExitStatus::from_raw(11 | 0x80)), 139),
            (Ending::TimedOut, 124),
            (Ending::Cancelled, 130),
            (Ending::NotStarted(StartError::NotFound { program: "x".into() }), 127),
            (Ending::NotStarted(StartError::NotExecutable { program: "x".into() }), 126),
        ];
        for (ending, code) in rows {
            assert_eq!(ending.code(), code, "{ending:?}");
        }
    }
}
