//! The process that starts commands and owns what they start: `marabunta supervise`, which daemons run and people do not.
//!
//! ```text
//! daemon (run) == socket: start, cancel ===> supervisor --> command --> its descendants
//!              <== output, end ============= (sub-reaper of them all, and in their cgroup if there is one)
//! ```
//!
//! - A command is born where it belongs: the supervisor is the sub-reaper of whatever descends from it, and what it starts is
//!   in its cgroup from the first instant. Nothing has to be stopped and moved, and nothing can leave.
//! - Nobody is left when the kernel says that the supervisor has no children. Only when somebody is, /proc is walked.
//! - It is one thread around one poll(2), and serves one attempt at a time. After the end it waits for the next for a while, so that
//!   many short commands do not need a supervisor each.
//! - When the daemon is gone it kills what it started, and ends.
//!
//! Signals that stop a daemon do not stop it: a terminal's and a service manager's reach all processes of a service, and the daemon
//! may want to let its commands finish.

mod attempt;
mod channel;
pub(super) mod frame;
mod group;
mod pipes;
mod tree;

use std::ffi::OsString;
use std::io;
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
use self::frame::{Ask, Word};
use self::group::Group;
use self::tree::Tree;

/// What `tests/fuzz` reaches.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use super::frame::{Ask, Reply, Request, Word, decode};
}

/// The subcommand.
pub const SUBCOMMAND: &str = "supervise";

/// How long it waits for the next attempt: what runs each minute finds it ready. It takes about 1.5 MB.
const IDLE: Duration = Duration::from_secs(90);

/// Serves the daemon at the other end of standard input until that is gone, or has had nothing to do for a while.
///
/// `arguments`: the mark of what is started, and the directory of the daemon's cgroup if it has one.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    match supervise(arguments) {
        Ok(()) => ExitCode::SUCCESS,
        // Most likely the daemon has died, and reads this no more.
        Err(error) => {
            eprintln!("marabunta {SUBCOMMAND}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn supervise(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let usage = || io::Error::new(io::ErrorKind::InvalidInput, "it is started by `marabunta worker`");
    let mark = arguments.next().and_then(|mark| mark.into_string().ok()).ok_or_else(usage)?;
    let socket = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let mut channel = Channel::new(socket).map_err(|_| usage())?;
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))?;
    }
    let (children, child_ended) = UnixStream::pair()?;
    children.set_nonblocking(true)?;
    signal_hook::low_level::pipe::register(SIGCHLD, child_ended)?;
    let (group, problem) = match arguments.next().map(PathBuf::from).map(|path| Group::enter(&path)) {
        Some(Ok(group)) => (Some(group), None),
        Some(Err(error)) => (None, Some(format!("no cgroup could be made for it: {error}"))),
        None => (None, None),
    };
    let mut tree = Tree::new(group);
    while let Some(ask) = channel.wait(IDLE) {
        let Ask::Start(start) = ask else { continue };
        match Attempt::start(start, &mark, &mut tree) {
            Ok(mut attempt) => {
                problem.iter().for_each(|problem| attempt.note(problem.clone()));
                let ending = attempt.serve(&mut channel, &children);
                attempt.finish(&mut channel, ending);
            }
            Err(exit) => channel.say(Word::End(exit.into())),
        }
    }
    channel.retire();
    Ok(())
}
