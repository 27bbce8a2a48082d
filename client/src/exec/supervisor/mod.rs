//! The process that starts commands and owns what they start: `marabunta supervise`, which daemons run and people do not.
//!
//! ```text
//! daemon == socket: start, cancel, taken ===> supervisor --> command --> its descendants
//!        <== output, end ==================== (sub-reaper of them all, and in their cgroup if there is one)
//! next daemon == through the door, a socket in the spool's directory ==^
//! ```
//!
//! - A command is born where it belongs: the supervisor is the sub-reaper of whatever descends from it, and what it starts is
//!   in its cgroup from the first instant. Nothing has to be stopped and moved, and nothing can leave.
//! - Nobody is left when the kernel says that the supervisor has no children. Only when somebody is, /proc is walked.
//! - It is one thread around one poll(2), and serves one attempt at a time. After the end it waits for the next for a while, so that
//!   many short commands do not need a supervisor each.
//! - An attempt outlives the daemon: however that ended, the supervisor goes on as before and keeps what nobody has taken yet, the end
//!   too, until the next daemon comes to its door ([`Words`](words::Words)). Without an attempt it ends with its daemon at once.
//! - Nothing runs that cannot be found: without a door, or when its directory was removed, all is killed as soon as the daemon is gone.
//!
//! Signals that stop a daemon do not stop it: a terminal's and a service manager's reach all processes of a service, and the daemon
//! may want to let its commands finish.

mod attempt;
mod channel;
mod door;
pub(super) mod frame;
mod group;
mod pipes;
mod spill;
mod tree;
mod words;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};

use self::attempt::Attempt;
use self::channel::Channel;
use self::door::Door;
pub(super) use self::door::knock;
use self::frame::Ask;
use self::group::Group;
use self::tree::Tree;
use self::words::Words;

/// What `tests/fuzz` reaches.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use super::frame::{Ask, Reply, Request, Word, decode};
}

/// The subcommand.
pub const SUBCOMMAND: &str = "supervise";

/// How long it waits for the next attempt: what runs each minute finds it ready. It takes about 1.5 MB.
const IDLE: Duration = Duration::from_secs(90);

/// Serves the daemon at the other end of standard input, and those that come after it while there is an attempt, until it has had nothing to
/// do for a while.
///
/// `arguments`: the mark of what is started, the directory for its door, and that of the daemon's cgroup if it has one.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match supervise(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("{error}"));
            ExitCode::FAILURE
        }
    }
}

fn supervise(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "it is started by `marabunta worker`");
    let mark = arguments.next().and_then(|mark| mark.into_string().ok()).ok_or_else(usage)?;
    let directory = PathBuf::from(arguments.next().ok_or_else(usage)?);
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut channel = Channel::new(socket).map_err(|_| usage())?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let (children, child_ended) = UnixStream::pair()?;
    children.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGCHLD, child_ended)?;
    let mut problems = Vec::new();
    match Door::open(&directory, door_of(&mark)) {
        Ok(door) => channel.set_door(door),
        Err(error) => problems.push(format!("it would not outlive the worker: {error}")),
    }
    let group = arguments.next().map(PathBuf::from).and_then(|path| {
        let failed = |error| problems.push(format!("no cgroup could be made for it: {error}"));
        Group::enter(&path).map_err(failed).ok()
    });
    let mut tree = Tree::new(group);
    while let Some(ask) = channel.wait(IDLE) {
        let Ask::Start(mut start) = ask else { continue };
        // The next daemon may have looked for us before we were there: what it does not know of must not be started.
        if channel.was_left() {
            return Ok(());
        }
        let mut words = Words::new(std::mem::take(&mut start.ticket), &directory);
        let exit = match Attempt::start(start, &mark, &mut tree) {
            Ok(mut attempt) => {
                problems.iter().for_each(|problem| attempt.note(problem.clone()));
                attempt.serve(&mut words, &mut channel, &children)
            }
            Err(exit) => exit,
        };
        words.finish(exit);
        words.until_taken(&mut channel);
    }
    channel.retire();
    Ok(())
}

/// The name of the door of whoever has this mark.
pub(super) fn door_of(mark: &str) -> &str {
    mark.rsplit('/').next().unwrap_or(mark)
}

/// Into the daemon's log, if that is still there.
fn complain(what: fmt::Arguments<'_>) {
    let said = writeln!(io::stderr(), "marabunta {SUBCOMMAND}: {what}");
    // There is nobody else to tell.
    said.unwrap_or_default();
}
