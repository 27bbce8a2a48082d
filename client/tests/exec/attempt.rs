//! Starting an attempt and looking at what comes of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use marabunta::exec::{
    Command, Containment, ContainmentError, Exit, Method, Orphan, Piece, Said, Supervised,
};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// The binary that supervises.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_marabunta");

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A word that no other test, and no other run of this one, has.
pub fn unique() -> String {
    format!("test-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed))
}

/// A containment with the directory in which its supervisors are found. What it leaves running ends when the directory is gone.
pub struct Contained {
    containment: Arc<Containment>,
    method: Method,
    owner: String,
    doors: TempDir,
}

impl Contained {
    fn with(method: Method) -> Result<Self, ContainmentError> {
        let (owner, doors) = (unique(), tempfile::tempdir().expect("a scratch directory"));
        let (containment, orphans) = Containment::with(method, &owner, PROGRAM, doors.path())?;
        assert!(orphans.is_empty());
        Ok(Self { containment: Arc::new(containment), method, owner, doors })
    }

    /// As the next daemon: with what the last one left running.
    pub fn again(self) -> (Self, Vec<Orphan>) {
        let Self { containment, method, owner, doors } = self;
        drop(containment);
        let (containment, orphans) =
            Containment::with(method, &owner, PROGRAM, doors.path()).expect("a containment");
        (Self { containment: Arc::new(containment), method, owner, doors }, orphans)
    }

    pub fn doors(&self) -> &Path {
        self.doors.path()
    }
}

impl std::ops::Deref for Contained {
    type Target = Arc<Containment>;

    fn deref(&self) -> &Arc<Containment> {
        &self.containment
    }
}

/// The containments that this host allows.
pub fn containments() -> Vec<Contained> {
    let open = |method| match Contained::with(method) {
        Err(ContainmentError::Cgroup(why)) => {
            eprintln!("not tested under a cgroup: {why}");
            None
        }
        other => Some(other.expect("a containment")),
    };
    [Method::Cgroup, Method::Walk].into_iter().filter_map(open).collect()
}

pub fn any_containment() -> Contained {
    containments().remove(0)
}

/// `sh -c script` with its scratch directory as working directory.
pub fn sh(script: &str) -> Command {
    command(&["sh", "-c", script])
}

pub fn command(argv: &[&str]) -> Command {
    let mut command =
        Command { argv: argv.iter().map(|word| word.to_string()).collect(), ..Command::default() };
    command.limits.kill_grace = Duration::from_millis(200);
    command
}

/// An attempt under way.
pub struct Attempt {
    pub cancel: CancellationToken,
    pub pieces: mpsc::Receiver<Piece>,
    stdout: Vec<u8>,
    run: JoinSet<Exit>,
}

/// An attempt that has ended.
#[derive(Debug)]
pub struct Ended {
    pub exit: Exit,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub notes: Vec<String>,
}

impl Attempt {
    pub fn start(containment: &Arc<Containment>, command: Command) -> Self {
        let containment = Arc::clone(containment);
        Self::of(move || Supervised::start(command, "ticket".into(), &containment))
    }

    pub fn adopt(containment: &Arc<Containment>, orphan: Orphan) -> Self {
        let containment = Arc::clone(containment);
        Self::of(move || Ok(Supervised::adopt(orphan, &containment)))
    }

    fn of(supervised: impl FnOnce() -> Result<Supervised, Exit> + Send + 'static) -> Self {
        let (sender, pieces) = mpsc::channel(4);
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let mut attempt = JoinSet::new();
        attempt.spawn(async move {
            match supervised() {
                Ok(supervised) => listen(supervised, sender, token).await,
                Err(exit) => exit,
            }
        });
        Self { cancel, pieces, stdout: Vec::new(), run: attempt }
    }

    /// Waits until the command has printed this many whole lines.
    pub async fn lines(&mut self, count: usize) -> Vec<String> {
        while self.stdout.iter().filter(|byte| **byte == b'\n').count() < count {
            match self.pieces.recv().await {
                Some(Piece::Stdout(bytes)) => self.stdout.extend(bytes),
                Some(other) => panic!("expected {count} lines, got {other:?}"),
                None => panic!("expected {count} lines, the command printed {:?}", self.stdout),
            }
        }
        String::from_utf8_lossy(&self.stdout).lines().map(Into::into).collect()
    }

    pub async fn end(mut self) -> Ended {
        let mut ended = (self.stdout, Vec::new(), Vec::new());
        while let Some(piece) = self.pieces.recv().await {
            match piece {
                Piece::Stdout(bytes) => ended.0.extend(bytes),
                Piece::Stderr(bytes) => ended.1.extend(bytes),
                Piece::Note(text) => ended.2.push(text),
            }
        }
        let exit = self.run.join_next().await.expect("it was started").expect("run does not panic");
        Ended { exit, stdout: ended.0, stderr: ended.1, notes: ended.2 }
    }

    /// As when its daemon is killed.
    pub async fn abort(mut self) {
        self.run.abort_all();
        let ended = self.run.join_next().await.expect("it was started");
        assert!(ended.expect_err("it was under way").is_cancelled());
    }
}

/// Hands on what it says, and takes each word when it was handed on.
async fn listen(mut supervised: Supervised, pieces: mpsc::Sender<Piece>, cancel: CancellationToken) -> Exit {
    let (mut waiting, mut cancelled) = (None, false);
    loop {
        tokio::select! {
            biased;
            () = cancel.cancelled(), if !cancelled => {
                cancelled = true;
                supervised.cancel();
            }
            permit = pieces.reserve(), if waiting.is_some() => {
                let (number, piece) = waiting.take().expect("it was just asked for");
                if let Ok(permit) = permit {
                    permit.send(piece);
                }
                supervised.taken(number + 1);
            }
            said = supervised.hear(), if waiting.is_none() => match said {
                Said::Piece { number, piece } => waiting = Some((number, piece)),
                Said::End(exit) => {
                    supervised.release();
                    return exit;
                }
            },
        }
    }
}

pub async fn ended(containment: &Arc<Containment>, command: Command) -> Ended {
    Attempt::start(containment, command).end().await
}

impl Ended {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// A directory for the files of one test.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(format!("marabunta-{}", unique()));
        std::fs::create_dir(&path).expect("a scratch directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).expect("the scratch directory is removed");
    }
}

/// A variable by which a test finds its processes, whatever the code under test thinks of them.
pub struct Tag(String);

impl Tag {
    pub fn put_on(command: &mut Command) -> Self {
        let tag = unique();
        command.env.insert("TAG".into(), tag.clone());
        Self(format!("TAG={tag}"))
    }

    /// The processes that carry it and are alive.
    pub fn alive(&self) -> Vec<u32> {
        let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        pids.filter(|pid| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|entry| entry == self.0.as_bytes())
        })
        .collect()
    }
}

/// Whether there is such a process; a zombie is none.
pub fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

/// Waits for something that no event tells of.
pub async fn until(mut condition: impl FnMut() -> bool) {
    while !condition() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
