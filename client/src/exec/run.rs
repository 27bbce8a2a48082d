//! One attempt of a command, from its start until nothing of it is left.

use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::account::{Account, AccountError};
use super::command::{Command, Limits};
use super::containment::Containment;
use super::exit::{Ending, Exit};
use super::output::Piece;
use super::pipes::Pipes;
use super::process::Process;
use super::start::{StartError, start};
use super::tree::{Tree, limit_address_space};

/// How long the pipes are read after the main process has ended, if a descendant keeps them open; and once more after
/// that one was killed, if somebody outside of the tree does.
const DRAIN: Duration = Duration::from_millis(500);

/// How long processes may take to die of SIGKILL. Long, because on a host that is overloaded a large tree takes its time;
/// only what hangs in the kernel ever takes it all.
const KILL_WAIT: Duration = Duration::from_secs(30);

/// The longest pause between two looks at a tree that is ending.
const LOOK: Duration = Duration::from_millis(100);

/// Runs the command and returns when nothing of it is left and its output is handed over.
///
/// 1. The main process runs until it ends, its time is up, or `cancel` is called. In the latter two cases the whole tree
///    gets SIGTERM, and after [`Limits::kill_grace`] SIGKILL.
/// 2. When the main process has ended by itself, descendants that keep its output open have half a second to end;
///    then everything that is left is killed. A command that means to leave a daemon behind must hand it to the
///    host's service manager.
/// 3. The end of the output is sent. Here alone `run` waits for the receiver, and no longer than there is one: before,
///    a full channel delays neither the command nor time-out nor cancellation (see the module `output`).
///
/// Never panics on what a command does, and returns no error: what went wrong is in [`Exit::ending`]. If the future is
/// dropped, the tree is killed at once, without SIGTERM.
pub async fn run(
    command: Command,
    containment: &Containment,
    output: mpsc::Sender<Piece>,
    cancel: CancellationToken,
) -> Exit {
    if cancel.is_cancelled() {
        return Exit::without_start(Ending::Cancelled);
    }
    match Attempt::start(command, containment, output).await {
        Ok(attempt) => attempt.finish(cancel).await,
        Err(error) => Exit::without_start(Ending::NotStarted(error)),
    }
}

/// A command that has been started.
struct Attempt<'a> {
    containment: &'a Containment,
    child: Child,
    tree: Tree,
    pipes: Pipes,
    started: Instant,
    limits: Limits,
    timeout: Option<Duration>,
    notes: Vec<String>,
    _own: OwnChild<'a>,
}

impl<'a> Attempt<'a> {
    async fn start(
        command: Command,
        containment: &'a Containment,
        output: mpsc::Sender<Piece>,
    ) -> Result<Self, StartError> {
        command.check()?;
        let user = command.user.clone();
        let account = tokio::task::spawn_blocking(move || Account::look_up(user.as_ref()))
            .await
            .map_err(|error| AccountError::Database(error.to_string()))??;
        let (name, mark) = containment.next_mark();
        let cgroup = containment.cgroup(&name, command.limits.memory);
        let spawned = start(&command, &account, &mark);
        let mut child = match spawned {
            Ok(child) => child,
            Err(error) => {
                discard(cgroup);
                return Err(error);
            }
        };
        let started = Instant::now();
        let pid = child.id().expect("a child that nobody has waited for has a number");
        let main = Process::from_child(pid);
        // It stands still until it is held, so that it cannot fork faster than it is.
        main.signal(Signal::STOP);
        let own = OwnChild::new(containment, main);
        let (tree, mut notes) = Tree::hold(main, mark, cgroup).await;
        if let Some(bytes) = command.limits.memory
            && !containment.limits_memory_of_trees()
            && let Err(error) = limit_address_space(pid, bytes)
        {
            notes.push(format!("the memory limit could not be set: {error}"));
        }
        main.signal(Signal::CONT);
        let pipes = Pipes::new(&mut child, command.stdin, command.limits.output, output);
        let (limits, timeout) = (command.limits, command.timeout);
        Ok(Self { containment, child, tree, pipes, started, limits, timeout, notes, _own: own })
    }

    async fn finish(mut self, cancel: CancellationToken) -> Exit {
        let ending = self.main_process(cancel).await;
        match ending {
            Ending::TimedOut | Ending::Cancelled => self.terminate().await,
            _ => self.drain().await,
        }
        let survivors = self.kill().await;
        self.drain().await;
        let elapsed = self.started.elapsed();
        let usage = self.tree.release(self.containment).await;
        if survivors > 0 {
            self.notes.push(format!("{survivors} processes did not die of SIGKILL and are left behind"));
        }
        if usage.out_of_memory {
            self.notes.push("the kernel killed a process for the memory limit".into());
        }
        let exit = Exit {
            ending,
            elapsed,
            output_bytes: self.pipes.total(),
            truncated: self.pipes.is_truncated(),
            peak_memory: usage.peak_memory,
            cpu: usage.cpu,
            out_of_memory: usage.out_of_memory,
            survivors,
        };
        self.pipes.finish(self.notes).await;
        exit
    }

    /// Until the main process ends, or must.
    async fn main_process(&mut self, cancel: CancellationToken) -> Ending {
        let timeout = self.timeout;
        tokio::select! {
            biased;
            status = self.child.wait() => match status {
                Ok(status) => status.into(),
                Err(error) => Ending::NotStarted(StartError::Host(error)),
            },
            () = cancel.cancelled() => Ending::Cancelled,
            () = elapse(timeout) => Ending::TimedOut,
            () = serve_forever(&mut self.pipes) => unreachable!("it never ends"),
            () = self.containment.keep_reaping() => unreachable!("it never ends"),
        }
    }

    /// SIGTERM, and time to act on it.
    async fn terminate(&mut self) {
        self.tree.terminate().await;
        let Self { child, tree, pipes, limits, .. } = self;
        tokio::select! {
            () = ended(child, tree) => {}
            () = sleep(limits.kill_grace) => {}
            () = serve_forever(pipes) => unreachable!("it never ends"),
        }
    }

    /// SIGKILL until nobody is left; returns how many are.
    async fn kill(&mut self) -> usize {
        if self.child.id().is_none() && self.tree.is_empty().await {
            return 0;
        }
        let Self { child, tree, .. } = self;
        let mut left = 0;
        let all_dead = async {
            let mut pause = Duration::from_millis(1);
            loop {
                left = tree.kill().await;
                let reaped = matches!(child.try_wait(), Ok(Some(_)));
                if left == 0 && reaped {
                    return;
                }
                sleep(pause).await;
                pause = (pause * 2).min(LOOK);
            }
        };
        match timeout(KILL_WAIT, all_dead).await {
            Ok(()) => 0,
            Err(_) => left.max(1),
        }
    }

    /// Reads what is in the pipes, for a bounded time.
    async fn drain(&mut self) {
        self.pipes.close_input();
        // Past the time somebody else holds a pipe open: what he writes is not waited for.
        tokio::select! {
            () = self.pipes.read_to_end() => {}
            () = sleep(DRAIN) => {}
        }
    }
}

/// Until nobody of the tree is alive.
async fn ended(child: &mut Child, tree: &Tree) {
    if let Err(error) = child.wait().await {
        tracing::warn!(%error, "cannot wait for a main process");
    }
    let mut pause = Duration::from_millis(5);
    while !tree.is_empty().await {
        sleep(pause).await;
        pause = (pause * 2).min(LOOK);
    }
}

async fn serve_forever(pipes: &mut Pipes) {
    pipes.serve().await;
    std::future::pending().await
}

async fn elapse(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => sleep(timeout).await,
        None => std::future::pending().await,
    }
}

fn discard(cgroup: std::io::Result<Option<super::cgroup::Cgroup>>) {
    if let Ok(Some(cgroup)) = cgroup
        && let Err(error) = cgroup.remove()
    {
        tracing::warn!(%error, "an unused cgroup stays until the worker's next start");
    }
}

/// Tells the reaper, for as long as it lives, that the main process is waited for.
struct OwnChild<'a> {
    containment: &'a Containment,
    main: Process,
}

impl<'a> OwnChild<'a> {
    fn new(containment: &'a Containment, main: Process) -> Self {
        if let Some(reaper) = containment.reaper() {
            reaper.leave(main);
        }
        Self { containment, main }
    }
}

impl Drop for OwnChild<'_> {
    fn drop(&mut self) {
        if let Some(reaper) = self.containment.reaper() {
            reaper.forget(self.main);
        }
    }
}
