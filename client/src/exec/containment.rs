//! How the processes of attempts are kept together on this host.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cgroup::Hierarchy;
use super::environment::MARK;
use super::handle::Handle;
use super::process::{Process, Stat};

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
    /// Dropped before the hierarchy, whose groups are empty only then.
    idle: Mutex<Vec<Handle>>,
    owner: String,
    program: PathBuf,
    hierarchy: Option<Hierarchy>,
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
    #[error("processes of an earlier worker with the owner {owner:?} cannot be killed: {pids:?}")]
    Leftovers { owner: String, pids: Vec<u32> },
}

impl Containment {
    /// The strongest method that this host allows.
    ///
    /// `owner` stands for this worker: the same after its restart, and no other running worker of the host may have
    /// it. Whatever an earlier process with this owner left running is killed here, so that nothing runs
    /// twice after a crash. Blocks, for seconds if there is much to kill.
    ///
    /// `program`: the binary `marabunta`, of this version, which is started as supervisor.
    ///
    /// # Errors
    /// [`ContainmentError`]; never because there is no cgroup.
    pub fn detect(owner: &str, program: impl Into<PathBuf>) -> Result<Self, ContainmentError> {
        let program = program.into();
        match Self::with(Method::Cgroup, owner, program.clone()) {
            Err(ContainmentError::Cgroup(why)) => {
                tracing::info!(%why, "no cgroup can be used; process trees are found by walks over /proc");
                Self::with(Method::Walk, owner, program)
            }
            other => other,
        }
    }

    /// This method or none.
    ///
    /// # Errors
    /// [`ContainmentError`].
    pub fn with(method: Method, owner: &str, program: impl Into<PathBuf>) -> Result<Self, ContainmentError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if owner.is_empty() || owner.len() > 64 || owner.starts_with('.') || !owner.chars().all(allowed) {
            return Err(ContainmentError::Owner(owner.into()));
        }
        let hierarchy = match method {
            Method::Cgroup => Some(Hierarchy::open(owner).map_err(ContainmentError::Cgroup)?),
            Method::Walk => None,
        };
        clear(owner, &format!("{owner}/"))?;
        Ok(Self {
            idle: Mutex::default(),
            owner: owner.into(),
            program: program.into(),
            hierarchy,
            supervisors: AtomicU64::new(0),
        })
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
        let mark = format!("{}/{}-{number}", self.owner, std::process::id());
        Handle::start(&self.program, mark, self.hierarchy.as_ref().map(Hierarchy::path))
    }

    /// It has served its attempt. Those that are idle for long end by themselves; the last to come is the first to go again.
    pub(super) fn release(&self, supervisor: Handle) {
        self.idle().push(supervisor);
    }

    /// Kills what a supervisor that is dead has left.
    pub(super) async fn clear(&self, supervisor: Handle) {
        let (owner, mark) = (self.owner.clone(), supervisor.mark().to_owned());
        let group = self.hierarchy.as_ref().map(|hierarchy| hierarchy.of(supervisor.number()));
        let work = tokio::task::spawn_blocking(move || {
            if let Some(Err(error)) = group.map(|group| group.clear()) {
                tracing::warn!(%error, "the cgroup of a supervisor stays until the worker's next start");
            }
            clear(&owner, &mark)
        });
        if let Err(error) = work.await.expect("clearing does not panic, and is not dropped by the runtime") {
            tracing::error!(%error, "failed to kill what a supervisor left");
        }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Handle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Kills every process with a mark that starts like this. Blocks.
fn clear(owner: &str, mark: &str) -> Result<(), ContainmentError> {
    let prefix = format!("{MARK}={mark}");
    let deadline = Instant::now() + CLEAR_WAIT;
    loop {
        let is_marked = |entry: &[u8]| entry.starts_with(prefix.as_bytes());
        let processes = Stat::all().filter(|stat| !stat.zombie).map(|stat| stat.process);
        let left: Vec<Process> =
            processes.filter(|process| process.has_variable(is_marked) == Some(true)).collect();
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
