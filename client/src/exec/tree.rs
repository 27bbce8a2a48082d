//! All processes of one attempt.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use super::cgroup::{Cgroup, Usage};
use super::containment::Containment;
use super::descendants::Descendants;
use super::process::Process;
use super::reaper::has_children;

/// How often to look for processes that were forked before their parent was in the cgroup. Each round leaves only those
/// that fork faster than a walk takes.
const ADOPT_ROUNDS: usize = 10;

/// How often a tree that is dropped in the middle is killed; some 50 ms in all, in which the thread waits.
const DROP_ROUNDS: u64 = 10;

/// Whatever an attempt has started. Dropped before [`release`](Tree::release), it is killed there and then.
#[derive(Debug)]
pub(super) struct Tree(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    cgroup: Option<Cgroup>,
    descendants: Descendants,
    /// Whether somebody has looked at the whole tree before the first one was killed.
    surveyed: bool,
    released: bool,
}

impl Tree {
    /// Takes a main process, which was just started and stands still, into its containment.
    ///
    /// Beside the tree comes what could not be done for it, in words for the attempt's notes: it is then found by
    /// walks over /proc alone.
    pub async fn hold(
        main: Process,
        mark: (String, String),
        cgroup: io::Result<Option<Cgroup>>,
    ) -> (Self, Vec<String>) {
        let descendants = Descendants::new(main, format!("{}={}", mark.0, mark.1));
        let (cgroup, problem) = match cgroup {
            Ok(cgroup) => (cgroup, None),
            Err(error) => (None, Some(format!("no cgroup could be made for it: {error}"))),
        };
        let tree =
            Self(Arc::new(Mutex::new(State { cgroup, descendants, surveyed: false, released: false })));
        let adopted = tree.blocking(move |state| state.adopt(main)).await;
        let problem =
            problem.or_else(|| Some(format!("it could not be moved into its cgroup: {}", adopted.err()?)));
        (tree, problem.into_iter().collect())
    }

    /// SIGTERM to everybody, and SIGCONT, so that those that were stopped can act on it.
    pub async fn terminate(&self) {
        self.blocking(|state| {
            state.signal(Signal::TERM);
            state.signal(Signal::CONT);
        })
        .await;
    }

    /// One round of SIGKILL. Returns how many are left to be seen dying; 0 when nobody is alive.
    pub async fn kill(&self) -> usize {
        self.blocking(State::kill).await
    }

    /// Whether everybody has ended.
    pub async fn is_empty(&self) -> bool {
        self.blocking(|state| state.alive() == 0).await
    }

    /// Lets go of a tree that is empty, or that cannot be emptied, and says what it used.
    pub async fn release(self, containment: &Containment) -> Usage {
        let (usage, dead) = self.blocking(State::release).await;
        if let Some(reaper) = containment.reaper() {
            reaper.collect(dead.into_iter());
        }
        usage
    }

    /// Walks and the files of cgroups take milliseconds on a busy host: they are done off the runtime's threads.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce(&mut State) -> T + Send + 'static) -> T {
        let state = Arc::clone(&self.0);
        let work = tokio::task::spawn_blocking(move || work(&mut lock(&state)));
        work.await.expect("work on a tree neither panics nor outlives the runtime")
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        for round in 0..DROP_ROUNDS {
            if state.released || state.kill() == 0 {
                break;
            }
            super::process::let_die(Duration::from_millis(round));
        }
        if !state.released {
            state.release();
        }
    }
}

impl State {
    fn adopt(&mut self, main: Process) -> io::Result<()> {
        let Some(cgroup) = &self.cgroup else { return Ok(()) };
        let mut adopted = cgroup.adopt(main);
        for _ in 0..ADOPT_ROUNDS {
            let inside: HashSet<Process> = cgroup.processes().into_iter().collect();
            let mut outside = Vec::new();
            self.descendants.for_each(|process| outside.push(process));
            outside.retain(|process| !inside.contains(process));
            if adopted.is_err() || outside.is_empty() {
                break;
            }
            adopted = outside.into_iter().try_for_each(|process| cgroup.adopt(process));
        }
        if adopted.is_err() {
            self.discard_cgroup();
        }
        adopted
    }

    fn discard_cgroup(&mut self) {
        if let Some(Err(error)) = self.cgroup.take().map(|cgroup| cgroup.remove()) {
            tracing::warn!(%error, "the cgroup of an attempt stays until the worker's next start");
        }
    }

    fn signal(&mut self, signal: Signal) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.signal(signal);
        }
        // All are found before the first one ends: a child whose parent has ended may not be told to be ours.
        let mut all = Vec::new();
        self.surveyed = true;
        self.descendants.for_each(|process| all.push(process));
        all.iter().for_each(|process| process.signal(signal));
    }

    fn kill(&mut self) -> usize {
        if let Some(cgroup) = &self.cgroup
            && let Err(error) = cgroup.kill()
        {
            tracing::warn!(%error, "cannot write cgroup.kill; the tree is killed process by process");
            cgroup.signal(Signal::KILL);
        }
        // The first look makes known who is there, children before their parents end; the second kills each as
        // soon as it is seen, so that nobody is gone again before it is killed.
        if !std::mem::replace(&mut self.surveyed, true) {
            self.descendants.for_each(|_| ());
        }
        let seen = self.descendants.for_each(|process| process.signal(Signal::KILL));
        let held = self.cgroup.as_ref().is_some_and(|cgroup| !cgroup.is_empty());
        seen.max(usize::from(held))
    }

    fn alive(&mut self) -> usize {
        match &self.cgroup {
            Some(cgroup) if !cgroup.is_empty() => cgroup.processes().len().max(1),
            Some(_) => 0,
            // We are the sub-reaper: without children we have no descendants either, and need not walk.
            None if !has_children() => 0,
            None => self.descendants.for_each(|_| ()),
        }
    }

    fn release(&mut self) -> (Usage, Vec<Process>) {
        self.released = true;
        let Some(cgroup) = &self.cgroup else {
            return (Usage::default(), self.descendants.found().collect());
        };
        let usage = cgroup.usage();
        self.discard_cgroup();
        (usage, self.descendants.found().collect())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Limits the address space of a process that stands still, where no cgroup can count its memory. What it has mapped
/// before is not undone, and what it has forked before is not limited.
///
/// # Errors
/// It has ended already, or has a lower limit.
pub(super) fn limit_address_space(pid: u32, bytes: u64) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    prlimit(Some(pid.ok_or(io::ErrorKind::NotFound)?), Resource::As, limit)?;
    Ok(())
}
