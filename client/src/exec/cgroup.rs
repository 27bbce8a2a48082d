//! The cgroup v2 of a worker, and below it one for each supervisor and what it starts: the containment that nothing escapes.
//!
//! ```text
//! <the service's cgroup>/marabunta-<owner>/<supervisor's pid>/
//!                       /marabunta/                             the daemon, where it must not be beside them
//! ```
//!
//! Groups are there as long as their supervisors are, so that nothing is left behind whoever is killed.
//!
//! The rules come from the kernel's Documentation/admin-guide/cgroup-v2.rst.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::{Process, Stat};

/// The group of the daemon itself, where it has to make room.
const DAEMON: &str = "marabunta";

/// The group of one worker, which holds a group per supervisor.
#[derive(Debug)]
pub(super) struct Hierarchy {
    path: PathBuf,
    /// Whether the groups below have `memory.max`.
    memory: bool,
}

/// The group of one supervisor.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
}

impl Hierarchy {
    /// Finds out whether groups can be made beside or below our own, and removes what a predecessor left, but for the groups of those
    /// supervisors of it that are alive.
    ///
    /// # Errors
    /// Why no cgroup can be used here; the caller then walks /proc.
    pub fn open(owner: &str, alive: &HashSet<u32>) -> io::Result<Self> {
        Self::open_below(base(&own()?), owner, alive)
    }

    fn open_below(own: &Path, owner: &str, alive: &HashSet<u32>) -> io::Result<Self> {
        let path = own.join(format!("marabunta-{owner}"));
        create_if_missing(&path)?;
        if !path.join("cgroup.kill").exists() {
            remove(&path)?;
            return Err(io::Error::new(io::ErrorKind::Unsupported, "cgroup.kill needs Linux 5.14"));
        }
        let is_alive = |path: &Path| {
            let number = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            number.is_some_and(|number: u32| alive.contains(&number))
        };
        for leftover in children(&path).into_iter().filter(|path| !is_alive(path)) {
            Cgroup { path: leftover }.clear()?;
        }
        let memory = offer_memory(own) && delegate(&path).is_ok();
        if alive.is_empty() {
            remove(&path)?;
        }
        Ok(Self { path, memory })
    }

    pub fn has_memory(&self) -> bool {
        self.memory
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The group of the supervisor with this number.
    pub fn of(&self, supervisor: u32) -> Cgroup {
        Cgroup::new(self.path.join(supervisor.to_string()))
    }
}

impl Cgroup {
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SIGKILL to everybody, also to those that fork meanwhile (the kernel sees to that).
    pub fn kill(&self) -> io::Result<()> {
        fs::write(self.path.join("cgroup.kill"), "1")
    }

    pub fn is_empty(&self) -> bool {
        field(&self.path.join("cgroup.events"), "populated") != Some(1)
    }

    /// Those in this group and in groups that the command made below it.
    pub fn processes(&self) -> Vec<Process> {
        let read = |path: &Path| fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
        let numbers = below(&self.path).iter().map(|path| read(path)).collect::<String>();
        let stats = numbers.lines().filter_map(|pid| Stat::read(pid.parse().ok()?));
        stats.filter(|stat| !stat.zombie).map(|stat| stat.process).collect()
    }

    /// How many processes the kernel has killed for the memory limit.
    pub fn memory_kills(&self) -> u64 {
        field(&self.path.join("memory.events"), "oom_kill").unwrap_or(0)
    }

    /// Removes the group, which must be empty.
    ///
    /// # Errors
    /// `EBUSY` while a process in it has not ended for good.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }

    /// Removes the groups that somebody made below this one; they must be empty.
    pub fn remove_below(&self) -> io::Result<()> {
        children(&self.path).iter().try_for_each(|path| remove(path))
    }

    /// Kills and removes what somebody who is dead left behind. Blocks.
    pub fn clear(&self) -> io::Result<()> {
        match self.kill() {
            // Its supervisor was not dead yet, and has removed it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            killed => killed?,
        }
        for _ in 0..100 {
            if self.is_empty() && self.remove().is_ok() {
                return Ok(());
            }
            super::process::let_die(Duration::from_millis(20));
        }
        self.remove()
    }
}

/// The directory of the group that this process is in.
///
/// # Errors
/// There is none.
pub(super) fn own() -> io::Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo")?;
    let membership = fs::read_to_string("/proc/self/cgroup")?;
    own_group(&mounts, &membership)
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup v2 is mounted"))
}

/// Where a worker's groups are made: in our own, or beside it when that is the one which a predecessor made room in, or which systemd did
/// (`DelegateSubgroup=marabunta`).
fn base(own: &Path) -> &Path {
    match own.parent() {
        Some(parent) if own.ends_with(DAEMON) => parent,
        _ => own,
    }
}

/// From /proc/self/mountinfo and /proc/self/cgroup.
fn own_group(mounts: &str, membership: &str) -> Option<PathBuf> {
    let group = membership.lines().find_map(|line| line.strip_prefix("0::"))?;
    mounts.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let (root, point) = (mount.get(3)?, mount.get(4)?);
        let inside = Path::new(group).strip_prefix(root).ok()?;
        (filesystem.split(' ').next() == Some("cgroup2")).then(|| Path::new(point).join(inside))
    })
}

/// Makes the memory controller available below our own group, if the host has it and lets us.
///
/// A group that holds processes cannot hand controllers down (the root group can). If we are alone in ours, as a
/// service with delegation is, we move into a group beside the supervisors'.
fn offer_memory(own: &Path) -> bool {
    let alone = || {
        fs::read_to_string(own.join("cgroup.procs"))
            .is_ok_and(|processes| processes.trim() == std::process::id().to_string())
    };
    delegate(own).is_ok() || (alone() && offers_memory(own).unwrap_or(false) && make_room(own).is_ok())
}

/// Hands the memory controller on to the groups below this one, if it has it.
pub(super) fn hand_down_memory(group: &Path) -> io::Result<()> {
    if offers_memory(group)? { delegate(group) } else { Ok(()) }
}

fn offers_memory(group: &Path) -> io::Result<bool> {
    let controllers = fs::read_to_string(group.join("cgroup.controllers"))?;
    Ok(controllers.split_ascii_whitespace().any(|name| name == "memory"))
}

fn delegate(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.subtree_control"), "+memory")
}

fn make_room(own: &Path) -> io::Result<()> {
    let daemon = own.join(DAEMON);
    create_if_missing(&daemon)?;
    fs::write(daemon.join("cgroup.procs"), std::process::id().to_string())?;
    delegate(own)
}

/// Moves this process there; its children to come are born there.
pub(super) fn enter(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.procs"), "0")
}

pub(super) fn create_if_missing(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn children(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let entries = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    entries.map(|entry| entry.path()).collect()
}

/// The group and all below it, parents first.
fn below(path: &Path) -> Vec<PathBuf> {
    let mut groups = vec![path.to_path_buf()];
    groups.extend(children(path).iter().flat_map(|child| below(child)));
    groups
}

/// The group and all below it, as far as others have not removed them.
fn remove(path: &Path) -> io::Result<()> {
    below(path).iter().rev().try_for_each(|path| match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    })
}

/// A number in a file of lines `name number`.
fn field(path: &Path, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_group_is_found_under_every_kind_of_mount() {
        let v1 = "30 25 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
        let unified = "31 25 0:27 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n";
        let hybrid = format!("{v1}31 25 0:27 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n");
        let bind = "31 25 0:27 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        let rows = [
            (unified, "0::/\n", Some("/sys/fs/cgroup/")),
            (unified, "0::/system.slice/m.service\n", Some("/sys/fs/cgroup/system.slice/m.service")),
            (&hybrid, "4:memory:/x\n0::/y\n", Some("/sys/fs/cgroup/unified/y")),
            (bind, "0::/docker/abc/x\n", Some("/sys/fs/cgroup/x")),
            (bind, "0::/elsewhere\n", None),
            (v1, "0::/\n", None),
            (unified, "4:memory:/x\n", None),
            ("", "", None),
        ];
        for (mounts, membership, expected) in rows {
            assert_eq!(own_group(mounts, membership), expected.map(PathBuf::from), "{mounts}{membership}");
        }
    }

    /// Plain files in place of the kernel's: what is written where, for controllers that a host may not have.
    #[test]
    fn the_memory_controller_is_handed_down_where_there_is_one() {
        let own = std::env::temp_dir().join(format!("marabunta-cgroup-{}", std::process::id()));
        let worker = own.join("worker");
        fs::create_dir_all(&worker).unwrap();
        fs::write(worker.join("cgroup.controllers"), "cpu pids\n").unwrap();
        hand_down_memory(&worker).unwrap();
        assert!(!worker.join("cgroup.subtree_control").exists());
        fs::write(worker.join("cgroup.controllers"), "cpu memory pids\n").unwrap();
        hand_down_memory(&worker).unwrap();
        assert!(offer_memory(&own));
        for group in [&own, &worker] {
            assert_eq!(fs::read_to_string(group.join("cgroup.subtree_control")).unwrap(), "+memory");
        }
        assert!(hand_down_memory(&own.join("gone")).is_err());
        fs::remove_dir_all(&own).unwrap();
    }

    #[test]
    fn what_a_predecessor_left_in_its_groups_is_killed() {
        let owner = format!("test-leftover-{}", std::process::id());
        let hierarchy = match Hierarchy::open(&owner, &HashSet::new()) {
            Ok(hierarchy) => hierarchy,
            Err(why) => return eprintln!("not tested: no cgroup can be used: {why}"),
        };
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let attempt = hierarchy.of(1);
        fs::create_dir_all(attempt.path.join("nested")).unwrap();
        fs::write(attempt.path.join("nested/cgroup.procs"), child.id().to_string()).unwrap();
        assert_eq!(attempt.processes().iter().map(|process| process.pid).collect::<Vec<_>>(), [child.id()]);
        drop(hierarchy);

        Hierarchy::open(&owner, &HashSet::from([1])).unwrap();
        assert!(child.try_wait().unwrap().is_none(), "its supervisor is alive");
        let hierarchy = Hierarchy::open(&owner, &HashSet::new()).unwrap();
        assert!(child.wait().unwrap().code().is_none(), "it was killed");
        assert!(!attempt.path.exists());
        assert!(!hierarchy.path.exists());
        attempt.clear().unwrap();
    }
}
