//! Processes as /proc shows them, with an identity that survives the reuse of their numbers.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// One process: its number, and when it started, so that another one with the same number is not taken for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Process {
    pub pid: u32,
    /// Clock ticks since boot (proc(5), field 22 of `stat`).
    pub started: u64,
}

/// What `/proc/PID/stat` tells of a process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stat {
    pub process: Process,
    pub parent: u32,
    /// It has ended, and waits for its parent to ask for its status.
    pub zombie: bool,
}

impl Stat {
    /// `None` if there is no such process (any more).
    pub fn read(pid: u32) -> Option<Self> {
        let text = fs::read(format!("/proc/{pid}/stat")).ok()?;
        // The name, in parentheses, may hold anything, parentheses and line ends included.
        let fields = text.iter().rposition(|&byte| byte == b')')? + 1;
        let fields: Vec<&str> = std::str::from_utf8(&text[fields..]).ok()?.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            process: Process { pid, started: number(22)? },
            parent: number(4)? as u32,
            zombie: matches!(fields[0], "Z" | "X" | "x"),
        })
    }

    /// All processes of this PID namespace. Those that come or go meanwhile may be in it or not.
    pub fn all() -> impl Iterator<Item = Self> {
        numbers().filter_map(Self::read)
    }
}

/// The numbers of all processes, in ascending order.
pub(super) fn numbers() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

impl Process {
    /// Sends the signal to this process and no other. It may be gone by now, or not be ours to signal.
    pub fn signal(self, signal: Signal) {
        let Some(fd) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return };
        let Ok(fd) = pidfd_open(fd, PidfdFlags::empty()) else { return };
        // The descriptor holds on to whoever has the number now; only then is it worth asking who that is.
        if Stat::read(self.pid).is_some_and(|stat| stat.process == self)
            && let Err(error) = pidfd_send_signal(&fd, signal)
            && error != rustix::io::Errno::SRCH
        {
            tracing::warn!(pid = self.pid, ?signal, %error, "cannot signal a process of the tree");
        }
    }

    /// Whether an entry of its environment, as it was at its last exec, passes `test`; `None` if it is gone.
    pub fn has_variable(self, test: impl Fn(&[u8]) -> bool) -> Option<bool> {
        match fs::read(format!("/proc/{}/environ", self.pid)) {
            Ok(environment) => Some(environment.split(|&byte| byte == 0).any(test)),
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Some(false),
            Err(_) => None,
        }
    }
}

/// Waits for what was killed to be gone. Blocks: the kernel tells nobody but a parent, and those who call this are on a blocking thread, or in a
/// `drop` that ends within milliseconds.
#[expect(clippy::disallowed_methods, reason = "no runtime waits on this thread")]
pub(super) fn let_die(pause: Duration) {
    std::thread::sleep(pause);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_process_is_found_with_its_parent() {
        let own = Stat::read(std::process::id()).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        assert!(!own.zombie);
        assert!(Stat::all().any(|stat| stat.process == own.process));
    }

    #[test]
    fn a_process_with_a_reused_number_is_not_signalled() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let process = Stat::read(child.id()).unwrap().process;
        Process { started: process.started + 1, ..process }.signal(Signal::KILL);
        drop(child.stdin.take());
        assert!(child.wait().unwrap().success());
    }
}
