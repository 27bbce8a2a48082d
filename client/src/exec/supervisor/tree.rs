//! Everybody that descends from this process, which is a sub-reaper: whoever loses its parent becomes our child.

use std::collections::HashSet;
use std::io;

use nix::errno::Errno;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use rustix::process::{Signal, getpid};

use super::group::Group;
use crate::exec::exit::Ending;
use crate::exec::process::{Process, Stat};

/// Whatever an attempt has started.
#[derive(Debug)]
pub(super) struct Tree {
    group: Option<Group>,
}

/// What a look at our children tells.
#[derive(Debug, Default)]
pub(super) struct Reaped {
    /// The main process has ended, like this.
    pub main: Option<Ending>,
    /// Nobody is left.
    pub nobody: bool,
}

impl Tree {
    pub fn new(group: Option<Group>) -> Self {
        Self { group }
    }

    /// What the attempt to come may use. Returns what could not be limited for the whole tree.
    pub fn limit_memory(&mut self, bytes: Option<u64>) -> io::Result<Option<u64>> {
        match &mut self.group {
            Some(group) if group.has_memory() => group.limit_memory(bytes).map(|()| None),
            _ => Ok(bytes),
        }
    }

    /// Collects those that have ended.
    pub fn reap(&self, main: Pid) -> Reaped {
        let mut reaped = Reaped::default();
        loop {
            match waitpid(None::<Pid>, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == main => reaped.main = Some(Ending::Exited(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) if pid == main => {
                    reaped.main = Some(Ending::Signalled(signal as i32));
                }
                Ok(WaitStatus::StillAlive) => return reaped,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return Reaped { nobody: true, ..reaped },
            }
        }
    }

    /// SIGTERM to everybody, and SIGCONT, so that those that were stopped can act on it.
    pub fn terminate(&self) {
        // All are found before the first one ends.
        let all = self.everybody();
        for signal in [Signal::TERM, Signal::CONT] {
            all.iter().for_each(|process| process.signal(signal));
        }
    }

    /// One round of SIGKILL; returns to how many. Those that are forked meanwhile are left to the next.
    pub fn kill(&mut self) -> usize {
        if let Some(group) = &mut self.group
            && let Err(error) = group.kill()
        {
            super::complain(format_args!(
                "cannot kill the cgroup of an attempt at once, but process by process: {error}"
            ));
        }
        let all = self.everybody();
        all.iter().for_each(|process| process.signal(Signal::KILL));
        all.len()
    }

    /// Makes ready for the next attempt; says whether the kernel has killed one of this for its memory.
    pub fn settle(&mut self) -> io::Result<bool> {
        let Some(group) = &mut self.group else { return Ok(false) };
        group.go_in()?;
        Ok(group.ran_out_of_memory())
    }

    /// All that are alive.
    fn everybody(&self) -> HashSet<Process> {
        let own = getpid().as_raw_nonzero().get() as u32;
        let mut all = descendants(own);
        let members = self.group.iter().flat_map(Group::members);
        all.extend(members.filter(|process| process.pid != own));
        all
    }
}

/// By the parents that /proc names.
fn descendants(root: u32) -> HashSet<Process> {
    let mut family = HashSet::from([root]);
    let mut alive = HashSet::new();
    let mut others: Vec<Stat> = Vec::new();
    let mut add = |stat: &Stat, family: &mut HashSet<u32>| {
        family.insert(stat.process.pid);
        if !stat.zombie {
            alive.insert(stat.process);
        }
    };
    // Parents come before their children, but where the numbers have started over.
    for stat in Stat::all() {
        if family.contains(&stat.parent) { add(&stat, &mut family) } else { others.push(stat) }
    }
    while let Some(position) = others.iter().position(|stat| family.contains(&stat.parent)) {
        add(&others.swap_remove(position), &mut family);
    }
    alive
}
