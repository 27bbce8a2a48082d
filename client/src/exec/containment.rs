//! How the processes of attempts are kept together on this host.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cgroup::Hierarchy;
use super::environment::MARK;
use super::handle::Handle;
use super::orphan::{self, Orphan};
use super::process::{Process, Stat};
use super::supervisor::door_of;

/// How long processes of a predecessor may take to die.
const CLEAR_WAIT: Duration = Duration::from_secs(5);

/// What keeps a tree together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A cgroup v2 per supervisor, beside what `Walk` does: a tree is killed at once however fast it grows, and its memory is limited as
    /// a whole where the host lets us.
    Cgroup,
    /// The supervisor is the sub-reaper of all it starts, and trees are found by walks over /proc. Nobody leaves, but processes
    /// that do nothing but fork and end are hunted down rather than stopped at once.
    Walk,
}

/// Made once per worker and shared by all its attempts.
#[derive(Debug)]
pub struct Containment {
    idle: Mutex<Vec<Handle>>,
    owner: String,
    program: PathBuf,
    doors: PathBuf,
    hierarchy: Option<Hierarchy>,
    /// Tells our supervisors from those of the daemons before us.
    life: String,
    supervisors: AtomicU64,
}

/// Why commands cannot be contained.
#[derive(Debug, thiserror::Error)]
pub enum ContainmentError {
    #[error(
        "the owner is {0:?}; it must be 1 to 64 of the characters a-z A-Z 0-9 . _ -, not starting with a dot"
    )]
    Owner(String),
    #[error("no cgroup can be used: {0}")]
    Cgroup(io::Error),
    #[error("the directory of supervisors {path} cannot be used: {1}", path = .0.display())]
    Doors(PathBuf, io::Error),
    #[error("processes of an earlier worker with the owner {owner:?} cannot be killed: {pids:?}")]
    Leftovers { owner: String, pids: Vec<u32> },
}

impl Containment {
    /// The strongest method that this host allows, and the attempts that an earlier process with this owner has left running, to be
    /// [adopted](super::Supervised::adopt).
    ///
    /// `owner` stands for this worker: the same after its restart, and no other running worker of the host may have
    /// it. Whatever an earlier process with this owner left and no supervisor answers for is killed here, so that nothing runs
    /// twice after a crash. Blocks, for seconds if there is much to kill.
    ///
    /// `program`: the binary `marabunta`, which is started as supervisor. `doors`: a directory, as lasting as the owner, in which supervisors
    /// are found by the next process; needs a tokio runtime if they are.
    ///
    /// # Errors
    /// [`ContainmentError`]; never because there is no cgroup.
    pub fn detect(
        owner: &str,
        program: impl Into<PathBuf>,
        doors: &Path,
    ) -> Result<(Self, Vec<Orphan>), ContainmentError> {
        Self::open(None, owner, program.into(), doors)
    }

    /// This method or none.
    ///
    /// # Errors
    /// [`ContainmentError`].
    pub fn with(
        method: Method,
        owner: &str,
        program: impl Into<PathBuf>,
        doors: &Path,
    ) -> Result<(Self, Vec<Orphan>), ContainmentError> {
        Self::open(Some(method), owner, program.into(), doors)
    }

    fn open(
        method: Option<Method>,
        owner: &str,
        program: PathBuf,
        doors: &Path,
    ) -> Result<(Self, Vec<Orphan>), ContainmentError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if owner.is_empty() || owner.len() > 64 || owner.starts_with('.') || !owner.chars().all(allowed) {
            return Err(ContainmentError::Owner(owner.into()));
        }
        let failed = |error| ContainmentError::Doors(doors.to_owned(), error);
        let orphans = orphan::find(doors, owner).map_err(failed)?;
        let alive: HashSet<u32> = orphans.iter().map(|orphan| orphan.supervisor.number()).collect();
        let hierarchy = match method {
            Some(Method::Walk) => None,
            _ => match Hierarchy::open(owner, &alive) {
                Ok(hierarchy) => Some(hierarchy),
                Err(why) if method.is_some() => return Err(ContainmentError::Cgroup(why)),
                Err(why) => {
                    tracing::info!(%why, "no cgroup can be used; process trees are found by walks over /proc");
                    None
                }
            },
        };
        let spared: HashSet<&str> = orphans.iter().map(|orphan| orphan.supervisor.mark()).collect();
        clear(owner, |mark| {
            mark.split_once('/').is_some_and(|(other, _)| other == owner) && !spared.contains(mark)
        })?;
        let containment = Self {
            idle: Mutex::default(),
            owner: owner.into(),
            program,
            doors: doors.to_owned(),
            hierarchy,
            life: uuid::Uuid::new_v4().simple().to_string()[..8].to_owned(),
            supervisors: AtomicU64::new(0),
        };
        Ok((containment, orphans))
    }

    /// For the log and the worker's Hello.
    pub fn method(&self) -> Method {
        if self.hierarchy.is_some() { Method::Cgroup } else { Method::Walk }
    }

    /// Whether a memory limit counts a whole tree, and not each process alone.
    pub fn limits_memory_of_trees(&self) -> bool {
        self.hierarchy.as_ref().is_some_and(Hierarchy::has_memory)
    }

    /// One that is idle, or a new one.
    ///
    /// # Errors
    /// The host could not start it.
    pub(super) fn supervisor(&self) -> io::Result<Handle> {
        if let Some(idle) = self.idle().pop() {
            return Ok(idle);
        }
        let number = self.supervisors.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}/{}-{number}", self.owner, self.life);
        Handle::start(&self.program, mark, &self.doors, self.hierarchy.as_ref().map(Hierarchy::path))
    }

    /// It has served its attempt. Those that are idle for long end by themselves; the last to come is the first to go again.
    pub(super) fn release(&self, supervisor: Handle) {
        self.idle().push(supervisor);
    }

    /// Kills what a supervisor that is dead has left.
    pub(super) async fn clear(&self, supervisor: &Handle) {
        let (owner, mark) = (self.owner.clone(), supervisor.mark().to_owned());
        let group = self.hierarchy.as_ref().map(|hierarchy| hierarchy.of(supervisor.number()));
        let door = self.doors.join(door_of(&mark));
        let work = tokio::task::spawn_blocking(move || {
            if let Some(Err(error)) = group.map(|group| group.clear()) {
                tracing::warn!(%error, "the cgroup of a supervisor stays until the worker's next start");
            }
            if let Err(error) = fs::remove_file(&door)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(door = %door.display(), %error, "a socket stays until the worker's next start");
            }
            clear(&owner, |other| other == mark)
        });
        if let Err(error) = work.await.expect("clearing does not panic, and is not dropped by the runtime") {
            tracing::error!(%error, "failed to kill what a supervisor left");
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Handle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills every process with such a mark. Blocks.
fn clear(owner: &str, doomed: impl Fn(&str) -> bool) -> Result<(), ContainmentError> {
    let prefix = format!("{MARK}=");
    let is_doomed = |entry: &[u8]| {
        let mark = entry.strip_prefix(prefix.as_bytes()).and_then(|mark| std::str::from_utf8(mark).ok());
        mark.is_some_and(&doomed)
    };
    let deadline = Instant::now() + CLEAR_WAIT;
    loop {
        let processes = Stat::all().filter(|stat| !stat.zombie).map(|stat| stat.process);
        let left: Vec<Process> =
            processes.filter(|process| process.has_variable(is_doomed) == Some(true)).collect();
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() >= deadline {
            let pids = left.iter().map(|process| process.pid).collect();
            return Err(ContainmentError::Leftovers { owner: owner.into(), pids });
        }
        tracing::warn!(owner, processes = left.len(), "killing what an earlier worker left running");
        left.iter().for_each(|process| process.signal(Signal::KILL));
        super::process::let_die(Duration::from_millis(20));
    }
}
