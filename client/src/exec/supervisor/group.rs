//! The cgroup of a supervisor and of what it starts.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::exec::cgroup::{self, Cgroup};
use crate::exec::process::Process;

/// A group that this process is in, below the worker's.
#[derive(Debug)]
pub(super) struct Group {
    own: Cgroup,
    /// The group that it was started in, the daemon's: there it goes while it kills its own.
    origin: PathBuf,
    memory: Option<u64>,
    /// Kills by the kernel's memory limit, of all attempts so far.
    kills: u64,
    inside: bool,
}

impl Group {
    /// Makes the group and goes in. `worker` is made too if need be: it is there as long as one of its supervisors is.
    ///
    /// # Errors
    /// The host's limits on cgroups (`cgroup.max.descendants`), or somebody is in the way.
    pub fn enter(worker: &Path) -> io::Result<Self> {
        let origin = cgroup::own()?;
        let own = Cgroup::new(worker.join(std::process::id().to_string()));
        loop {
            cgroup::create_if_missing(worker)?;
            match cgroup::hand_down_memory(worker).and_then(|()| cgroup::create_if_missing(own.path())) {
                // Another supervisor, the last there was, has just removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                made => break made?,
            }
        }
        let mut group = Self { own, origin, memory: None, kills: 0, inside: false };
        group.go_in()?;
        Ok(group)
    }

    /// Whether the kernel counts the memory of the whole group.
    pub fn has_memory(&self) -> bool {
        self.own.path().join("memory.max").exists()
    }

    /// Bytes that the group may use from now on.
    pub fn limit_memory(&mut self, bytes: Option<u64>) -> io::Result<()> {
        if bytes == self.memory || !self.has_memory() {
            return Ok(());
        }
        let limit = bytes.map_or_else(|| "max".to_owned(), |bytes| bytes.to_string());
        fs::write(self.own.path().join("memory.max"), limit)?;
        let swap = self.own.path().join("memory.swap.max");
        if swap.exists() {
            fs::write(swap, if bytes.is_some() { "0" } else { "max" })?;
        }
        self.memory = bytes;
        Ok(())
    }

    /// Whether the kernel has killed somebody for the memory limit since it was asked last.
    pub fn ran_out_of_memory(&mut self) -> bool {
        if self.memory.is_none() {
            return false;
        }
        let kills = self.own.memory_kills();
        std::mem::replace(&mut self.kills, kills) < kills
    }

    pub fn members(&self) -> Vec<Process> {
        self.own.processes()
    }

    /// SIGKILL to everybody in the group but this process, also to those that fork meanwhile (the kernel sees to that).
    pub fn kill(&mut self) -> io::Result<()> {
        if self.inside {
            cgroup::enter(&self.origin)?;
            self.inside = false;
        }
        self.own.kill()
    }

    /// Goes in again, where the next command is to be born, once everybody is dead.
    pub fn go_in(&mut self) -> io::Result<()> {
        if !self.inside {
            self.own.remove_below()?;
            cgroup::enter(self.own.path())?;
            self.inside = true;
        }
        Ok(())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let left = if self.inside { cgroup::enter(&self.origin) } else { Ok(()) };
        if let Err(error) = left.and_then(|()| self.own.remove()) {
            super::complain(format_args!(
                "the cgroup {} stays until the worker's next start: {error}",
                self.own.path().display()
            ));
        }
        // Only the last one can.
        if let Some(worker) = self.own.path().parent()
            && let Err(error) = fs::remove_dir(worker)
            && !matches!(error.kind(), io::ErrorKind::ResourceBusy | io::ErrorKind::NotFound)
        {
            super::complain(format_args!(
                "the cgroup {} stays until the worker's next start: {error}",
                worker.display()
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plain files in place of the kernel's, for a controller that a host may not have.
    #[test]
    fn memory_is_limited_per_attempt_and_each_kill_is_told_once() {
        let path = std::env::temp_dir().join(format!("marabunta-group-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let own = Cgroup::new(path.clone());
        let mut group = Group { own, origin: path.clone(), memory: None, kills: 0, inside: false };
        assert!(!group.has_memory());
        let read = |name: &str| fs::read_to_string(path.join(name)).unwrap();
        for name in ["memory.max", "memory.swap.max"] {
            fs::write(path.join(name), "max").unwrap();
        }
        group.limit_memory(Some(4096)).unwrap();
        assert_eq!((read("memory.max"), read("memory.swap.max")), ("4096".into(), "0".into()));
        assert!(!group.ran_out_of_memory());
        fs::write(path.join("memory.events"), "low 0\noom 3\noom_kill 2\n").unwrap();
        assert_eq!([group.ran_out_of_memory(), group.ran_out_of_memory()], [true, false]);
        group.limit_memory(None).unwrap();
        assert_eq!((read("memory.max"), read("memory.swap.max")), ("max".into(), "max".into()));
        std::mem::forget(group);
        fs::remove_dir_all(&path).unwrap();
    }
}
