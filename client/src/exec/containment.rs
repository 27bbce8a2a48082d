//! How the processes of attempts are kept together on this host.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Signal, set_child_subreaper};

use super::cgroup::{Cgroup, Hierarchy};
use super::process::{Process, Stat};
use super::reaper::{PATIENCE, Reaper};

/// The variable by which a process can be told to belong to an attempt: `<owner>/<worker's pid>-<number>`.
const MARK: &str = "MARABUNTA_TREE";

/// How long processes of a predecessor may take to die.
const CLEAR_WAIT: Duration = Duration::from_secs(5);

/// What keeps a tree together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// A cgroup v2 per attempt: nothing escapes.
    Cgroup,
    /// This process is made the sub-reaper of all it starts, and trees are found by walks over /proc: holds whoever
    /// does not set out to escape (see the module `descendants`). Processes that do nothing but fork and end are hunted
    /// down rather than stopped at once.
    Walk,
}

/// Made once per worker and shared by all its attempts.
#[derive(Debug)]
pub struct Containment {
    owner: String,
    hierarchy: Option<Hierarchy>,
    reaper: Option<Reaper>,
    attempts: AtomicU64,
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
    #[error("this process could not be made a sub-reaper: {0}")]
    SubReaper(io::Error),
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
    /// # Errors
    /// [`ContainmentError`]; never because there is no cgroup.
    pub fn detect(owner: &str) -> Result<Self, ContainmentError> {
        match Self::with(Method::Cgroup, owner) {
            Err(ContainmentError::Cgroup(why)) => {
                tracing::info!(%why, "no cgroup can be used; process trees are found by walks over /proc");
                Self::with(Method::Walk, owner)
            }
            other => other,
        }
    }

    /// This method or none.
    ///
    /// # Errors
    /// [`ContainmentError`].
    pub fn with(method: Method, owner: &str) -> Result<Self, ContainmentError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if owner.is_empty() || owner.len() > 64 || owner.starts_with('.') || !owner.chars().all(allowed) {
            return Err(ContainmentError::Owner(owner.into()));
        }
        let hierarchy = match method {
            Method::Cgroup => Some(Hierarchy::open(owner).map_err(ContainmentError::Cgroup)?),
            Method::Walk => None,
        };
        if method == Method::Walk {
            let own = rustix::process::getpid();
            set_child_subreaper(Some(own)).map_err(|error| ContainmentError::SubReaper(error.into()))?;
        }
        clear(owner)?;
        // Process 1 of a container inherits the orphans whether it asked for them or not.
        let reaper = (method == Method::Walk || std::process::id() == 1).then(Reaper::default);
        Ok(Self { owner: owner.into(), hierarchy, reaper, attempts: AtomicU64::new(0) })
    }

    /// For the log and the worker's Hello.
    pub fn method(&self) -> Method {
        if self.hierarchy.is_some() { Method::Cgroup } else { Method::Walk }
    }

    /// Whether a memory limit counts a whole tree, and not each process alone.
    pub fn limits_memory_of_trees(&self) -> bool {
        self.hierarchy.as_ref().is_some_and(Hierarchy::has_memory)
    }

    /// A name for one more attempt, and the variable that marks its processes.
    pub(super) fn next_mark(&self) -> (String, (String, String)) {
        let number = self.attempts.fetch_add(1, Ordering::Relaxed);
        let name = format!("{}-{number}", std::process::id());
        let mark = (MARK.to_string(), format!("{}/{name}", self.owner));
        (name, mark)
    }

    pub(super) fn cgroup(&self, name: &str, memory: Option<u64>) -> io::Result<Option<Cgroup>> {
        self.hierarchy.as_ref().map(|hierarchy| hierarchy.create(name, memory)).transpose()
    }

    pub(super) fn reaper(&self) -> Option<&Reaper> {
        self.reaper.as_ref()
    }

    /// Collects the zombies of orphans for as long as it is polled; never returns.
    pub(super) async fn keep_reaping(&self) {
        let Some(reaper) = &self.reaper else { return std::future::pending().await };
        loop {
            tokio::time::sleep(PATIENCE).await;
            reaper.sweep(Instant::now());
        }
    }
}

/// Kills every process that carries a mark of this owner.
fn clear(owner: &str) -> Result<(), ContainmentError> {
    let prefix = format!("{MARK}={owner}/");
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
