//! Zombies that were re-parented to us, collected without stealing anybody's exit status.
//!
//! As a sub-reaper (or as process 1 of a container) the worker inherits orphans. Those that were seen in a tree
//! before they died are collected at once. Of the rest nobody can tell whether they are orphans or children that
//! someone in this process is about to wait for: they are collected when they have been zombies for a second and
//! more, which no child is that is being waited for.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::process::{Process, Stat};

/// How long a zombie waits for whoever may wait for it; also how often to look.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(super) struct Reaper(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Main processes that [`run`](super::run) waits for: never to be touched.
    waited_for: HashSet<u32>,
    first_seen: HashMap<Process, Instant>,
}

impl Reaper {
    pub fn leave(&self, main: Process) {
        self.state().waited_for.insert(main.pid);
    }

    pub fn forget(&self, main: Process) {
        self.state().waited_for.remove(&main.pid);
    }

    /// Collects those of `dead` that are zombies of ours. They must not be children that somebody waits for.
    pub fn collect(&self, dead: impl Iterator<Item = Process>) {
        for process in dead {
            if is_our_zombie(process) {
                reap(process);
            }
        }
    }

    /// Collects orphans that have been zombies since the last look but one. `now` is monotonic.
    pub fn sweep(&self, now: Instant) {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        if !matches!(waitid(WaitId::All, options), Ok(Some(_))) {
            return;
        }
        let own = std::process::id();
        let zombies = Stat::all().filter(|stat| stat.zombie && stat.parent == own);
        let mut state = self.state();
        let seen: HashMap<Process, Instant> = zombies
            .filter(|stat| !state.waited_for.contains(&stat.process.pid))
            .map(|stat| (stat.process, *state.first_seen.get(&stat.process).unwrap_or(&now)))
            .collect();
        state.first_seen = seen;
        state.first_seen.retain(|process, since| {
            let ripe = now.duration_since(*since) >= PATIENCE;
            if ripe {
                reap(*process);
            }
            !ripe
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether this process has any children, zombies included.
pub(super) fn has_children() -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(waitid(WaitId::All, options), Err(rustix::io::Errno::CHILD))
}

fn is_our_zombie(process: Process) -> bool {
    Stat::read(process.pid)
        .is_some_and(|stat| stat.process == process && stat.zombie && stat.parent == std::process::id())
}

/// A zombie keeps its number until it is collected, so the number still means this process.
fn reap(process: Process) {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return };
    if let Err(error) = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
        tracing::debug!(pid = process.pid, %error, "an orphan was collected by somebody else");
    }
}
