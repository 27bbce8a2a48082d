//! A cgroup v2 per attempt: the containment that nothing escapes.
//!
//! ```text
//! <our own cgroup>/marabunta-<owner>/<attempt>/
//! ```
//!
//! The rules come from the kernel's Documentation/admin-guide/cgroup-v2.rst. A child is stopped right after its start,
//! moved into its group with all that it may have forked by then (found by a walk over /proc), and let go: only `clone3`
//! with `CLONE_INTO_CGROUP` could do better, and that has no safe interface. Not held is a process that, before its
//! parent was stopped, lost it, left the session and wiped its environment.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;

use super::process::{Process, Stat};

/// The group of one worker, which holds a group per attempt.
#[derive(Debug)]
pub(super) struct Hierarchy {
    path: PathBuf,
    /// Whether attempts get `memory.max`.
    memory: bool,
}

/// The group of one attempt.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
}

/// What the kernel counted for an attempt.
#[derive(Debug, Default)]
pub(super) struct Usage {
    pub peak_memory: Option<u64>,
    pub cpu: Option<Duration>,
    pub out_of_memory: bool,
}

impl Hierarchy {
    /// Makes the worker's group below our own, and empties it of what a predecessor left.
    ///
    /// # Errors
    /// Why no cgroup can be used here; the caller then walks /proc.
    pub fn open(owner: &str) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        let membership = fs::read_to_string("/proc/self/cgroup")?;
        let own = own_group(&mounts, &membership)
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup v2 is mounted"))?;
        Self::open_below(&own, owner)
    }

    fn open_below(own: &Path, owner: &str) -> io::Result<Self> {
        let path = own.join(format!("marabunta-{owner}"));
        create_if_missing(&path)?;
        if !path.join("cgroup.kill").exists() {
            remove(&path)?;
            return Err(io::Error::new(io::ErrorKind::Unsupported, "cgroup.kill needs Linux 5.14"));
        }
        for leftover in children(&path) {
            Cgroup { path: leftover }.clear()?;
        }
        let memory = delegate_memory(own, &path);
        Ok(Self { path, memory })
    }

    pub fn has_memory(&self) -> bool {
        self.memory
    }

    /// # Errors
    /// The host's limits on cgroups (`cgroup.max.descendants`), or somebody removed ours.
    pub fn create(&self, attempt: &str, memory: Option<u64>) -> io::Result<Cgroup> {
        let cgroup = Cgroup { path: self.path.join(attempt) };
        fs::create_dir(&cgroup.path)?;
        if let (Some(bytes), true) = (memory, self.memory) {
            fs::write(cgroup.path.join("memory.max"), bytes.to_string())?;
            let swap = cgroup.path.join("memory.swap.max");
            if swap.exists() {
                fs::write(swap, "0")?;
            }
        }
        Ok(cgroup)
    }
}

impl Drop for Hierarchy {
    /// Attempts that are still there keep it; the next start removes them.
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.path) {
            tracing::debug!(path = %self.path.display(), %error, "the worker's cgroup stays");
        }
    }
}

impl Cgroup {
    /// Moves a process into the group; its children to come are born there. The kernel takes some milliseconds.
    ///
    /// # Errors
    /// The process could not be moved; it is not held.
    pub fn adopt(&self, process: Process) -> io::Result<()> {
        match fs::write(self.path.join("cgroup.procs"), process.pid.to_string()) {
            // It has ended.
            Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => Ok(()),
            moved => moved,
        }
    }

    /// Sends the signal to everybody in the group. Those that are forked meanwhile may be missed.
    pub fn signal(&self, signal: Signal) {
        for process in self.processes() {
            process.signal(signal);
        }
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

    pub fn usage(&self) -> Usage {
        let peak = fs::read_to_string(self.path.join("memory.peak")).ok();
        let cpu = field(&self.path.join("cpu.stat"), "usage_usec");
        Usage {
            peak_memory: peak.and_then(|text| text.trim().parse().ok()),
            cpu: cpu.map(Duration::from_micros),
            out_of_memory: field(&self.path.join("memory.events"), "oom_kill").is_some_and(|kills| kills > 0),
        }
    }

    /// Removes the group, which must be empty.
    ///
    /// # Errors
    /// `EBUSY` while a process in it has not ended for good.
    pub fn remove(&self) -> io::Result<()> {
        remove(&self.path)
    }

    /// Kills and removes what a dead predecessor of this worker left behind.
    fn clear(&self) -> io::Result<()> {
        self.kill()?;
        for _ in 0..100 {
            if self.is_empty() && self.remove().is_ok() {
                return Ok(());
            }
            super::process::let_die(Duration::from_millis(20));
        }
        self.remove()
    }
}

/// The directory of the group that this process is in, from /proc/self/mountinfo and /proc/self/cgroup.
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

/// Hands the memory controller down to the attempts, if the host has it and lets us.
///
/// A group that holds processes cannot hand controllers down (the root group can). If we are alone in ours, as a
/// service with delegation is, we move into a group beside the attempts.
fn delegate_memory(own: &Path, path: &Path) -> bool {
    if delegate(own).is_err() {
        let alone = fs::read_to_string(own.join("cgroup.procs"))
            .is_ok_and(|processes| processes.trim() == std::process::id().to_string());
        let offered = fs::read_to_string(own.join("cgroup.controllers"))
            .is_ok_and(|controllers| controllers.split_ascii_whitespace().any(|name| name == "memory"));
        if !(alone && offered && make_room(own).is_ok()) {
            return false;
        }
    }
    delegate(path).is_ok()
}

fn delegate(group: &Path) -> io::Result<()> {
    fs::write(group.join("cgroup.subtree_control"), "+memory")
}

fn make_room(own: &Path) -> io::Result<()> {
    let daemon = own.join("marabunta");
    create_if_missing(&daemon)?;
    fs::write(daemon.join("cgroup.procs"), std::process::id().to_string())?;
    delegate(own)
}

fn create_if_missing(path: &Path) -> io::Result<()> {
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

fn remove(path: &Path) -> io::Result<()> {
    below(path).iter().rev().try_for_each(fs::remove_dir)
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
    fn limits_and_counts_go_by_the_files_of_the_kernel() {
        let own = std::env::temp_dir().join(format!("marabunta-cgroup-{}", std::process::id()));
        let group = own.join("marabunta-files");
        fs::create_dir_all(&group).unwrap();
        fs::write(group.join("cgroup.kill"), "").unwrap();
        let hierarchy = Hierarchy::open_below(&own, "files").unwrap();
        assert!(hierarchy.has_memory());
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(read(&own.join("cgroup.subtree_control")), "+memory");
        assert_eq!(read(&group.join("cgroup.subtree_control")), "+memory");

        let attempt = hierarchy.create("1", Some(4096)).unwrap();
        assert_eq!(read(&group.join("1/memory.max")), "4096");
        let write = |name: &str, text: &str| fs::write(group.join("1").join(name), text).unwrap();
        write("memory.peak", "8192\n");
        write("memory.events", "low 0\noom 3\noom_kill 2\n");
        write("cpu.stat", "usage_usec 1500\nuser_usec 1000\n");
        write("cgroup.events", "populated 1\nfrozen 0\n");
        let usage = attempt.usage();
        assert_eq!(usage.peak_memory, Some(8192));
        assert_eq!(usage.cpu, Some(Duration::from_micros(1500)));
        assert!(usage.out_of_memory);
        assert!(!attempt.is_empty());
        attempt.kill().unwrap();
        assert_eq!(read(&group.join("1/cgroup.kill")), "1");
        fs::remove_dir_all(&own).unwrap();
    }

    #[test]
    fn what_a_predecessor_left_in_its_groups_is_killed() {
        let owner = format!("test-leftover-{}", std::process::id());
        let hierarchy = match Hierarchy::open(&owner) {
            Ok(hierarchy) => hierarchy,
            Err(why) => return eprintln!("not tested: no cgroup can be used: {why}"),
        };
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let attempt = hierarchy.create("old", None).unwrap();
        fs::create_dir(attempt.path.join("nested")).unwrap();
        let process = Process::from_child(child.id());
        Cgroup { path: attempt.path.join("nested") }.adopt(process).unwrap();
        assert_eq!(attempt.processes(), [process]);
        drop(hierarchy);
        assert!(attempt.path.exists(), "a worker that dies does not clean up");

        let hierarchy = Hierarchy::open(&owner).unwrap();
        assert!(child.wait().unwrap().code().is_none(), "it was killed");
        assert!(!attempt.path.exists());
        let group = hierarchy.path.clone();
        drop(hierarchy);
        assert!(!group.exists());
    }
}
