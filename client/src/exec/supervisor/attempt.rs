//! One attempt of a command, from its start until nothing of it is left.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::unistd::Pid;
use rustix::event::{PollFd, PollFlags};
use rustix::process::{Resource, Rlimit, prlimit};

use super::channel::Channel;
use super::frame::Start;
use super::pipes::Pipes;
use super::tree::Tree;
use super::words::Words;
use crate::exec::account::Account;
use crate::exec::command::Command;
use crate::exec::exit::{Ending, Exit};
use crate::exec::output::Piece;
use crate::exec::start::{StartError, start};

/// How long the pipes are read after the main process has ended, if a descendant keeps them open; and once more after
/// that one was killed, if somebody outside of the tree does.
const DRAIN: Duration = Duration::from_millis(500);

/// How long processes may take to die of SIGKILL. Long, because on a host that is overloaded a large tree takes its time;
/// only what hangs in the kernel ever takes it all.
const KILL_WAIT: Duration = Duration::from_secs(30);

/// The pause between two rounds of SIGKILL, doubled up to the longest: a tree that dies needs few, one that breeds many.
const ROUND: Duration = Duration::from_millis(1);
const LONGEST_ROUND: Duration = Duration::from_millis(100);

/// A command that has been started.
pub(super) struct Attempt<'a> {
    main: Pid,
    tree: &'a mut Tree,
    pipes: Pipes,
    started: Instant,
    timeout: Option<Instant>,
    kill_grace: Duration,
    phase: Phase,
    /// How the main process ended.
    ended: Option<Ending>,
    /// Why it was stopped, if it was.
    stopped: Option<Ending>,
    survivors: usize,
    notes: Vec<String>,
    cpu_before: Duration,
}

/// What is waited for, and until when.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// The main process.
    Running,
    /// Everybody has got SIGTERM.
    Terminating(Instant),
    /// The main process has ended; others may write their last words.
    Lingering(Instant),
    /// Everybody gets SIGKILL in rounds: the next one, the pause after it, and when to give up.
    Killing { round: Instant, pause: Duration, until: Instant },
    /// Nobody is left; what is in the pipes is read.
    Draining(Instant),
}

impl<'a> Attempt<'a> {
    /// Starts the command, or says why not.
    pub fn start(ask: Start, mark: &str, tree: &'a mut Tree) -> Result<Self, Exit> {
        let now = Instant::now();
        let refused = |error: StartError| Exit::without_start(error.into());
        let command = Command::try_from(ask).map_err(|error| refused(error.into()))?;
        let limited = tree.limit_memory(command.limits.memory);
        let unlimited = limited.map_err(|error| refused(StartError::Host(error)))?;
        let cpu_before = children_cpu();
        let account = Account::look_up(command.user.as_ref()).map_err(|error| refused(error.into()))?;
        let mut child = start(&command, &account, mark).map_err(refused)?;
        let main = Pid::from_raw(child.id().cast_signed());
        let mut notes = Vec::new();
        if let Some(Err(error)) = unlimited.map(|bytes| limit_address_space(main, bytes)) {
            notes.push(format!("the memory limit could not be set: {error}"));
        }
        let pipes = Pipes::new(&mut child, command.stdin, command.limits.output);
        let pipes = pipes.expect("a pipe that was just made can be made non-blocking");
        Ok(Self {
            main,
            tree,
            pipes,
            started: now,
            timeout: command.timeout.and_then(|timeout| now.checked_add(timeout)),
            kill_grace: command.limits.kill_grace,
            phase: Phase::Running,
            ended: None,
            stopped: None,
            survivors: 0,
            notes,
            cpu_before,
        })
    }

    /// A remark for whoever reads the output.
    pub fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    /// 1. The main process runs until it ends, its time is up, or the daemon cancels it. In the latter two cases the whole tree
    ///    gets SIGTERM, and after the grace SIGKILL.
    /// 2. When the main process has ended by itself, descendants that keep its output open have half a second to end;
    ///    then everything that is left is killed. A command that means to leave a daemon behind must hand it to the
    ///    host's service manager.
    ///
    /// A daemon that does not listen, or is gone, delays nothing of this. Only where none can ever come again all is killed: the next one
    /// would not know of it.
    ///
    /// Returns when nothing of it is left and all that it said is among the words.
    pub fn serve(mut self, words: &mut Words, channel: &mut Channel, mut children: &UnixStream) -> Exit {
        loop {
            if channel.is_deserted() && !matches!(self.phase, Phase::Killing { .. } | Phase::Draining(_)) {
                self.stopped = Some(Ending::Cancelled);
                self.phase = killing();
            }
            let now = Instant::now();
            self.pipes.serve(now);
            if self.advance(now) {
                self.pipes.close();
                return self.finish(words);
            }
            while self.pipes.output.due(now).is_some_and(|due| due <= now)
                && let Some(piece) = self.pipes.output.next_piece(now)
            {
                words.push(piece.into());
            }
            if words.exchange(channel) && matches!(self.phase, Phase::Running) {
                self.stop(Ending::Cancelled);
            }
            self.wait(channel, children);
            // One byte per child that ended, or several: only that there were some counts.
            while io::Read::read(&mut children, &mut [0; 64]).is_ok_and(|count| count == 64) {}
        }
    }

    fn finish(mut self, words: &mut Words) -> Exit {
        let out_of_memory = self.tree.settle().unwrap_or_else(|error| {
            self.notes.push(format!("its cgroup cannot be used again: {error}"));
            false
        });
        if self.survivors > 0 {
            let left = self.survivors;
            self.notes.push(format!("{left} processes did not die of SIGKILL and are left behind"));
        }
        if out_of_memory {
            self.notes.push("the kernel killed a process for the memory limit".into());
        }
        let exit = Exit {
            ending: self.ending(),
            elapsed: self.started.elapsed(),
            output_bytes: self.pipes.output.total(),
            truncated: self.pipes.output.is_truncated(),
            cpu: children_cpu().saturating_sub(self.cpu_before),
            out_of_memory,
            survivors: self.survivors,
        };
        let notes = self.notes.into_iter().map(Piece::Note);
        self.pipes.output.into_rest().chain(notes).for_each(|piece| words.push(piece.into()));
        exit
    }

    /// Looks who has ended and goes on to the next phase if it is time; true after the last.
    fn advance(&mut self, now: Instant) -> bool {
        let reaped = self.tree.reap(self.main);
        self.ended = self.ended.take().or(reaped.main);
        if reaped.nobody && !matches!(self.phase, Phase::Draining(_)) {
            self.survivors = 0;
            self.drain(now);
        }
        match self.phase {
            Phase::Running if self.ended.is_some() => self.phase = Phase::Lingering(now + DRAIN),
            Phase::Running if self.timeout.is_some_and(|at| at <= now) => self.stop(Ending::TimedOut),
            Phase::Terminating(until) if until <= now => self.phase = killing(),
            _ => {}
        }
        if let Phase::Lingering(until) = self.phase
            && (until <= now || !self.pipes.is_open())
        {
            self.phase = killing();
        }
        if let Phase::Killing { round, pause, until } = self.phase
            && round <= now
        {
            self.survivors = self.tree.kill();
            self.phase = Phase::Killing { round: now + pause, pause: (pause * 2).min(LONGEST_ROUND), until };
            if until <= now {
                self.drain(now);
            }
        }
        matches!(self.phase, Phase::Draining(until) if until <= now || !self.pipes.is_open())
    }

    fn stop(&mut self, why: Ending) {
        self.stopped = Some(why);
        self.tree.terminate();
        self.phase = Phase::Terminating(Instant::now() + self.kill_grace);
    }

    fn drain(&mut self, now: Instant) {
        self.pipes.close_input();
        self.pipes.serve(now);
        self.phase = Phase::Draining(now + DRAIN);
    }

    fn wait(&self, channel: &Channel, children: &UnixStream) {
        let phase = match self.phase {
            Phase::Running => self.timeout,
            Phase::Terminating(until) | Phase::Lingering(until) | Phase::Draining(until) => Some(until),
            Phase::Killing { round, .. } => Some(round),
        };
        let now = Instant::now();
        let output = self.pipes.output.due(now);
        let patience = phase.into_iter().chain(output).min().map(|at| at.saturating_duration_since(now));
        let mut fds = vec![PollFd::new(children, PollFlags::IN)];
        fds.extend(self.pipes.interest());
        channel.wait_for(&mut fds, patience);
    }

    fn ending(&mut self) -> Ending {
        self.stopped.take().or(self.ended.take()).expect("the main process was stopped or has ended")
    }
}

fn killing() -> Phase {
    let now = Instant::now();
    Phase::Killing { round: now, pause: ROUND, until: now + KILL_WAIT }
}

/// Of all that have ended and been waited for.
fn children_cpu() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_CHILDREN) else { return Duration::ZERO };
    let micros = [usage.user_time(), usage.system_time()]
        .map(|time| time.tv_sec().cast_unsigned() * 1_000_000 + time.tv_usec().cast_unsigned());
    Duration::from_micros(micros.iter().sum())
}

/// Limits the address space of a process that was just started, where no cgroup can count its memory. What it has mapped
/// before is not undone, and what it has forked before is not limited.
fn limit_address_space(main: Pid, bytes: u64) -> io::Result<()> {
    let limit = Rlimit { current: Some(bytes), maximum: Some(bytes) };
    prlimit(rustix::process::Pid::from_raw(main.as_raw()), Resource::As, limit)?;
    Ok(())
}
