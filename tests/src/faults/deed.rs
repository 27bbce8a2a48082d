//! What a task of the campaign is told to do, as its payload, and the doing of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use serde::{Deserialize, Serialize};
use tokio::task::yield_now;
use tokio::time::sleep;

use super::testimony::{Witness, Word};

/// A payload.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Deed {
    /// The operation that asked for it, so that two runs of one operation are found; 0 for firings.
    pub op: u64,
    /// How long it takes, in milliseconds.
    #[serde(skip_serializing_if = "is_zero")]
    pub sleep: u64,
    /// Attempts up to this number fail.
    #[serde(skip_serializing_if = "is_zero")]
    pub fail: u64,
    /// Attempts up to this number kill their own process; in an SDK worker that is the worker.
    #[serde(skip_serializing_if = "is_zero")]
    pub die: u64,
    /// Attempts up to this number kill the daemon and the supervisor that they run under, and themselves. Not for SDK workers.
    #[serde(skip_serializing_if = "is_zero")]
    pub slay: u64,
    /// It leaves two processes behind, in a session of their own, orphaned, deaf to SIGTERM, and with its output open: `sleep` with this
    /// number, by which they are found.
    #[serde(skip_serializing_if = "is_zero")]
    pub leave: u64,
    /// How many bytes it prints, the first a `<`, the last a `>`.
    #[serde(skip_serializing_if = "is_zero")]
    pub output: u64,
    /// It does not end as long as this file is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<PathBuf>,
}

/// A deed that did not succeed, as it was told to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("told to fail up to attempt {0}")]
pub struct Failed(u64);

impl Deed {
    /// One that takes so long.
    pub fn taking(span: Duration) -> Self {
        Self { sleep: u64::try_from(span.as_millis()).expect("no deed takes so long"), ..Self::default() }
    }

    /// Does it and testifies. `print` gets the output, in pieces; `stopped` ends it early, which is no success.
    pub async fn perform<P: Future<Output = ()>>(
        &self,
        witness: &Witness,
        mut print: impl FnMut(Vec<u8>) -> P,
        stopped: impl Future<Output = ()>,
    ) -> Result<(), Failed> {
        let attempt = u64::from(witness.attempt());
        witness.begin();
        if attempt <= self.die {
            witness.say(Word::Dies);
            kill(Pid::this(), Signal::SIGKILL).expect("a process may kill itself");
        }
        if attempt <= self.slay {
            witness.say(Word::Dies);
            slay();
            kill(Pid::this(), Signal::SIGKILL).expect("a process may kill itself");
        }
        if self.leave > 0 {
            escape(self.leave);
        }
        let work = async {
            let mut left = self.output;
            while left > 0 {
                let mut piece = vec![b'x'; usize::try_from(left.min(8192)).expect("a piece is small")];
                if left == self.output {
                    piece[0] = b'<';
                }
                left -= piece.len() as u64;
                if left == 0 {
                    *piece.last_mut().expect("a piece is not empty") = b'>';
                }
                print(piece).await;
                // One that prints for ever must hear that it is to stop.
                yield_now().await;
            }
            sleep(Duration::from_millis(self.sleep)).await;
            while self.gate.as_ref().is_some_and(|gate| gate.exists()) {
                sleep(Duration::from_millis(50)).await;
            }
        };
        let word = tokio::select! {
            () = work => if attempt <= self.fail { Word::Failed } else { Word::Done },
            () = stopped => Word::Stopped,
        };
        witness.say(word);
        if word == Word::Done { Ok(()) } else { Err(Failed(self.fail)) }
    }
}

/// Forks twice and opens a session, as a program does that wants to be a daemon.
fn escape(mark: u64) {
    let script = format!("setsid sh -c 'trap \"\" HUP TERM; sleep {mark} & sleep {mark}' & exit 0");
    let left = Command::new("sh").args(["-c", &script]).status();
    assert!(left.is_ok_and(|status| status.success()), "a shell can leave a process behind");
}

/// Kills the daemon and the supervisor that run this process. They are no parent and child: a supervisor outlives its daemon. It names the
/// directory in which daemons find it, which is a part of the spool that its daemon names.
fn slay() {
    let supervisor = getppid().as_raw();
    let doors = arguments(supervisor).into_iter().nth(3).map(PathBuf::from).expect("a supervisor has a door");
    let spool = doors.parent().expect("the door is in the spool");
    let pids = fs::read_dir("/proc").expect("Linux has /proc").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let is_daemon = |pid: &i32| {
        let arguments = arguments(*pid);
        arguments.get(1).is_some_and(|word| word == "worker")
            && arguments.iter().any(|argument| Path::new(argument) == spool)
    };
    for pid in pids.filter(is_daemon).chain([supervisor]) {
        if kill(Pid::from_raw(pid), Signal::SIGKILL).is_err() {
            eprintln!("{pid} is gone already");
        }
    }
}

fn arguments(pid: i32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()).collect()
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
