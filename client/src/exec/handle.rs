//! The daemon's end of a supervisor.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Stdio;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::environment::MARK;
use super::supervisor::SUBCOMMAND;
use super::supervisor::frame::{self, Ask, Reply, Word};

/// A supervisor. When it is dropped, the supervisor kills what it runs, and ends.
#[derive(Debug)]
pub(super) struct Handle {
    socket: UnixStream,
    heard: BytesMut,
    number: u32,
    mark: String,
}

/// Why a supervisor does not serve.
#[derive(Debug)]
pub(super) enum HandleError {
    /// It has not started what it was asked to: another one can.
    Retired,
    /// It has ended. What became of the attempt nobody knows.
    Lost(io::Error),
}

impl Handle {
    /// Starts one. `group`: the worker's cgroup, if it has one.
    ///
    /// # Errors
    /// The host could not start the process.
    pub fn start(program: &Path, mark: String, group: Option<&Path>) -> io::Result<Self> {
        let (own, other) = std::os::unix::net::UnixStream::pair()?;
        own.set_nonblocking(true)?;
        let mut command = tokio::process::Command::new(program);
        // In a group of its own, a terminal's Ctrl-C does not reach it.
        command.arg0("marabunta").arg(SUBCOMMAND).arg(&mark).args(group).env_clear().env(MARK, &mark);
        command.stdin(OwnedFd::from(other)).stdout(Stdio::null()).process_group(0);
        let child = command.spawn()?;
        let number = child.id().expect("a child that nobody has waited for has a number");
        // The runtime collects it when it has ended.
        drop(child);
        Ok(Self { socket: UnixStream::from_std(own)?, heard: BytesMut::new(), number, mark })
    }

    /// Its process id.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// By which its processes can be told.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    pub async fn ask(&mut self, ask: Ask) -> Result<(), HandleError> {
        let starts = matches!(ask, Ask::Start(_));
        match self.socket.write_all(&Bytes::from(ask)).await {
            Ok(()) => Ok(()),
            // It was not read to the end, so it was not begun.
            Err(_) if starts => Err(HandleError::Retired),
            // What it said before it ended can be read still.
            Err(_) => Ok(()),
        }
    }

    /// What it says next. Can be dropped and called again: nothing is lost.
    pub async fn hear(&mut self) -> Result<Word, HandleError> {
        loop {
            let reply = frame::decode::<Reply>(&mut self.heard).map_err(HandleError::Lost)?;
            match reply.map(|reply| reply.word) {
                Some(Some(word)) => return Ok(word),
                // A word that this version does not know.
                Some(None) => {}
                None => match self.socket.read_buf(&mut self.heard).await {
                    Ok(0) => return Err(HandleError::Lost(io::ErrorKind::UnexpectedEof.into())),
                    Ok(_) => {}
                    Err(error) => return Err(HandleError::Lost(error)),
                },
            }
        }
    }
}
