//! Attempts that have outlived the daemon that started them.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::handle::Handle;
use super::supervisor::frame::{self, Reply, Serving, Word};
use super::supervisor::knock;

/// How long supervisors may take to answer. They answer at once, but on a host that is overloaded: who does not answer at all is killed with
/// what it runs.
const PATIENCE: Duration = Duration::from_secs(30);

/// An attempt whose daemon is gone, with its supervisor: under way still, or ended and kept.
#[derive(Debug)]
pub struct Orphan {
    pub(super) supervisor: Handle,
    /// What the daemon left with it, see [`Supervised::start`](super::Supervised::start).
    pub ticket: Bytes,
    /// The number of the first word that no daemon has taken.
    pub first: u64,
}

/// All whose supervisors are alive and have doors in this directory, which is made if need be. Blocks.
///
/// # Errors
/// The directory cannot be used.
pub(super) fn find(doors: &Path, owner: &str) -> io::Result<Vec<Orphan>> {
    DirBuilder::new().recursive(true).mode(0o700).create(doors)?;
    let directory = File::open(doors)?;
    let mut callers = Vec::new();
    for entry in fs::read_dir(doors)? {
        let Ok(name) = entry?.file_name().into_string() else { continue };
        match knock(&directory, &name) {
            Ok(socket) => callers.push((name, socket)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Its supervisor was killed.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                if let Err(error) = fs::remove_file(doors.join(&name)) {
                    tracing::warn!(name, %error, "the socket of a dead supervisor stays");
                }
            }
            Err(error) => return Err(error),
        }
    }
    let deadline = Instant::now() + PATIENCE;
    let mut orphans = Vec::new();
    for (name, socket) in callers {
        match greet(socket, deadline, format!("{owner}/{name}")) {
            Ok(orphan) => orphans.push(orphan),
            // An idle one, which ends with its daemon, or one that hangs.
            Err(error) => tracing::debug!(name, %error, "a supervisor has nothing to say"),
        }
    }
    Ok(orphans)
}

fn greet(mut socket: UnixStream, deadline: Instant, mark: String) -> io::Result<Orphan> {
    let (mut heard, mut buffer) = (BytesMut::new(), [0; 16 << 10]);
    loop {
        match frame::decode::<Reply>(&mut heard)?.map(|reply| reply.word) {
            Some(Some(Word::Serving(Serving { ticket, first }))) => {
                socket.set_read_timeout(None)?;
                return Ok(Orphan { supervisor: Handle::adopt(socket, heard, mark)?, ticket, first });
            }
            Some(_) => continue,
            None => {}
        }
        let left = deadline.saturating_duration_since(Instant::now());
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match socket.read(&mut buffer)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => heard.extend_from_slice(&buffer[..count]),
        }
    }
}
