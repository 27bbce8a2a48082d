//! The daemon's end of a supervisor.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::environment::MARK;
use super::supervisor::SUBCOMMAND;
use super::supervisor::frame::{self, Ask, Reply, Word};

/// A supervisor. When it is dropped an idle one ends; one that has an attempt goes on, and waits for the next daemon.
#[derive(Debug)]
pub(super) struct Handle {
    socket: UnixStream,
    heard: BytesMut,
    /// What the socket has not taken yet.
    unsaid: BytesMut,
    number: u32,
    mark: String,
}

impl Handle {
    /// Starts one. `doors`: the directory for its door. `group`: the worker's cgroup, if it has one.
    ///
    /// # Errors
    /// The host could not start the process.
    pub fn start(program: &Path, mark: String, doors: &Path, group: Option<&Path>) -> io::Result<Self> {
        let (own, other) = std::os::unix::net::UnixStream::pair()?;
        own.set_nonblocking(true)?;
        let mut command = tokio::process::Command::new(program);
        command.arg0("marabunta").arg(SUBCOMMAND).arg(&mark).arg(doors).args(group);
        // In a group of its own, a terminal's Ctrl-C does not reach it.
        command
            .env_clear()
            .env(MARK, &mark)
            .stdin(OwnedFd::from(other))
            .stdout(Stdio::null())
            .process_group(0);
        let child = command.spawn()?;
        let number = child.id().expect("a child that nobody has waited for has a number");
        // The runtime collects it when it has ended.
        drop(child);
        let socket = UnixStream::from_std(own)?;
        Ok(Self { socket, heard: BytesMut::new(), unsaid: BytesMut::new(), number, mark })
    }

    /// One that an earlier daemon has started. `heard`: what of its words was read from the socket already.
    ///
    /// # Errors
    /// The host cannot say who it is.
    pub fn adopt(socket: std::os::unix::net::UnixStream, heard: BytesMut, mark: String) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let socket = UnixStream::from_std(socket)?;
        let number = socket.peer_cred()?.pid().and_then(|pid| u32::try_from(pid).ok());
        let number = number.ok_or(io::ErrorKind::NotConnected)?;
        Ok(Self { socket, heard, unsaid: BytesMut::new(), number, mark })
    }

    /// Its process id.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// By which its processes can be told.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Says it now or, what the socket does not take, with the next [`hear`](Self::hear). To one that has ended nothing is said.
    pub fn ask(&mut self, ask: Ask) {
        let ask = Bytes::from(ask);
        // The runtime may not have looked at the socket yet, and would say that it is not ready.
        let said = if self.was_told() { rustix::io::write(&self.socket, &ask).unwrap_or(0) } else { 0 };
        self.unsaid.extend_from_slice(&ask[said..]);
    }

    /// Whether it has been told everything.
    pub fn was_told(&self) -> bool {
        self.unsaid.is_empty()
    }

    /// What it says next. Can be dropped and called again: nothing is lost.
    ///
    /// # Errors
    /// It has ended.
    pub async fn hear(&mut self) -> io::Result<Word> {
        loop {
            match frame::decode::<Reply>(&mut self.heard)?.map(|reply| reply.word) {
                Some(Some(word)) => return Ok(word),
                // A word that this version does not know.
                Some(None) => continue,
                None => {}
            }
            let unsaid = if self.unsaid.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            self.socket.ready(unsaid).await?;
            self.flush();
            match self.socket.try_read_buf(&mut self.heard) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                Ok(_) | Err(_) => {}
            }
        }
    }

    fn flush(&mut self) {
        while !self.unsaid.is_empty() {
            match self.socket.try_write(&self.unsaid) {
                Ok(count) => self.unsaid.advance(count),
                // Of what it said before it ended the rest can be read still.
                Err(_) => return,
            }
        }
    }
}
