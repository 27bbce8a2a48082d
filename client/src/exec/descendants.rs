//! Who belongs to an attempt, found by a walk over /proc: the fallback where there is no cgroup.
//!
//! A process belongs to the attempt if it is its main process, descends from one that belongs to it, is in the main
//! process's group, or carries the attempt's mark in its environment: this finds children that left the session
//! and those whose parents have ended. Who was once found stays found. A process that loses its parent *and* has left
//! the group *and* wiped its environment before anybody looked is not found: a program that wants to escape can;
//! only a cgroup holds it.

use std::collections::HashSet;

use super::process::{Process, Stat, numbers, numbers_since};

/// How often to look again when processes vanish while we look. One that does nothing but fork and end is missed by a
/// look now and then, by so many in a row it is not; on a busy host, where some always vanish, they take 0.1 s.
const LOOKS: usize = 30;

#[derive(Debug)]
pub(super) struct Descendants {
    main: Process,
    /// Our own session, which the main process shares and its group cannot leave.
    session: u32,
    /// `NAME=value`, unique to the attempt.
    mark: String,
    found: HashSet<Process>,
}

impl Descendants {
    pub fn new(main: Process, mark: String) -> Self {
        let session = Stat::read(std::process::id()).map_or(0, |own| own.session);
        Self { main, session, mark, found: HashSet::from([main]) }
    }

    /// Calls `act` with each that is alive, as soon as it is found, and returns how many there were.
    ///
    /// 0 means that nobody is left: a look during which a process vanished, and may have left a child behind that
    /// was looked for too early, is not believed alone.
    pub fn for_each(&mut self, mut act: impl FnMut(Process)) -> usize {
        for _ in 0..LOOKS {
            let (count, complete) = self.look(numbers(), None, &mut act);
            if count > 0 || complete {
                return count;
            }
        }
        0
    }

    /// Calls `act` with each but the main process, which was started just now: looks only at who can have been forked since.
    pub fn newcomers(&mut self, mut act: impl FnMut(Process)) {
        let main = self.main.pid;
        match numbers_since(main) {
            Some(numbers) => _ = self.look(numbers, Some(main), &mut act),
            None => _ = self.look(numbers().filter(|pid| *pid != main), Some(main), &mut act),
        }
    }

    /// `parent`: a member that is not among the numbers.
    fn look(
        &mut self,
        numbers: impl Iterator<Item = u32>,
        parent: Option<u32>,
        act: &mut impl FnMut(Process),
    ) -> (usize, bool) {
        let mut walk = Walk { members: parent.into_iter().collect(), alive: Vec::new(), act };
        let mut others = Vec::new();
        let mut complete = true;
        // Parents come before their children, but where the numbers have started over.
        for pid in numbers.filter(|pid| *pid != std::process::id()) {
            let Some(stat) = Stat::read(pid) else {
                complete = false;
                continue;
            };
            // Nobody is older than the main process: this spares most processes of the host a closer look.
            if stat.process.started < self.main.started {
                continue;
            }
            if self.belongs(&stat) || walk.members.contains(&stat.parent) {
                walk.add(&stat);
                continue;
            }
            match stat.process.has_variable(|entry| entry == self.mark.as_bytes()) {
                Some(true) => walk.add(&stat),
                Some(false) => others.push(stat),
                None => complete = false,
            }
        }
        while let Some(position) = others.iter().position(|stat| walk.members.contains(&stat.parent)) {
            walk.add(&others.swap_remove(position));
        }
        self.found.extend(&walk.alive);
        (walk.alive.len(), complete)
    }

    fn belongs(&self, stat: &Stat) -> bool {
        self.found.contains(&stat.process) || (stat.group == self.main.pid && stat.session == self.session)
    }

    /// All that were ever found; for reaping those that were re-parented to us.
    pub fn found(&self) -> impl Iterator<Item = Process> + '_ {
        self.found.iter().copied().filter(|process| *process != self.main)
    }
}

/// One look: who was found in it.
struct Walk<'a, F> {
    members: HashSet<u32>,
    alive: Vec<Process>,
    act: &'a mut F,
}

impl<F: FnMut(Process)> Walk<'_, F> {
    fn add(&mut self, stat: &Stat) {
        self.members.insert(stat.process.pid);
        if !stat.zombie {
            (self.act)(stat.process);
            self.alive.push(stat.process);
        }
    }
}
