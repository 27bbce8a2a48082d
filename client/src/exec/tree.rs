//! All processes of one attempt.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Resource, Rlimit, Signal, prlimit};

use super::cgroup::{Cgroup, Usage};
use super::containment::Containment;
use super::descendants::Descendants;
use super::process::Process;
use super::reaper::has_children;

/// Whatever an attempt has started. Dropped before [`release`](Tree::release), it kills what it can see.
#[derive(Debug)]
pub(super) struct Tree(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    cgroup: Option<Cgroup>,
    descendants: Descendants,
    released: bool,
}

impl Tree {
    /// Takes a main process that was just started, and has not been waited for, into its containment.
    ///
    /// Beside the tree comes what could not be done for it, in words for the attempt's notes: it is then found by
    /// walks over /proc alone.
    pub fn hold(
        main: Process,
        mark: &(String, String),
        cgroup: io::Result<Option<Cgroup>>,
    ) -> (Self, Option<String>) {
        let (cgroup, problem) = match cgroup {
            Ok(None) => (None, None),
            Err(error) => (None, Some(format!("no cgroup could be made: {error}"))),
            Ok(Some(cgroup)) => match cgroup.adopt(main) {
                Ok(()) => (Some(cgroup), None),
                Err(error) => {
                    if let Err(error) = cgroup.remove() {
                        tracing::warn!(%error, "an unused cgroup stays until the worker's next start");
                    }
                    (None, Some(format!("the process could not be moved into its cgroup: {error}")))
                }
            },
        };
        let descendants = Descendants::new(main, format!("{}={}", mark.0, mark.1));
        (Self(Arc::new(Mutex::new(State { cgroup, descendants, released: false }))), problem)
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
        if !state.released {
            state.kill();
        }
    }
}

impl State {
    fn signal(&mut self, signal: Signal) {
        if let Some(cgroup) = &self.cgroup {
            cgroup.signal(signal);
        }
        self.descendants.for_each(|process| process.signal(signal));
    }

    fn kill(&mut self) -> usize {
        if let Some(cgroup) = &self.cgroup
            && let Err(error) = cgroup.kill()
        {
            tracing::warn!(%error, "cannot write cgroup.kill; the tree is killed process by process");
            cgroup.signal(Signal::KILL);
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
        if let Err(error) = cgroup.remove() {
            tracing::warn!(%error, "the cgroup of an attempt stays until the worker's next start");
        }
        (usage, self.descendants.found().collect())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Limits the address space of a process that was just started, where no cgroup can count its memory. What it has
/// mapped or forked in the microseconds before is not undone.
///
/// # Errors
/// It has ended already, or has a lower limit.
pub(super) fn limit_address_space(pid: u32, bytes: u64) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    prlimit(Some(pid.ok_or(io::ErrorKind::NotFound)?), Resource::As, limit)?;
    Ok(())
}
