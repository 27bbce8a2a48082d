//! Where the next daemon finds a supervisor: a socket in a directory that outlives daemons.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

#[derive(Debug)]
pub(super) struct Door {
    listener: UnixListener,
    path: PathBuf,
}

impl Door {
    /// # Errors
    /// The directory is gone, or its disk full.
    pub fn open(directory: &Path, name: &str) -> io::Result<Self> {
        let listener = UnixListener::bind(within(&File::open(directory)?, name))?;
        let door = Self { listener, path: directory.join(name) };
        door.listener.set_nonblocking(true)?;
        Ok(door)
    }

    /// The newest of those who have come.
    pub fn newcomer(&self) -> Option<UnixStream> {
        std::iter::from_fn(|| self.listener.accept().ok()).map(|(socket, _)| socket).last()
    }

    /// Whether anybody can still come.
    pub fn can_be_found(&self) -> bool {
        self.path.exists()
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            super::complain(format_args!("the socket {} stays: {error}", self.path.display()));
        }
    }
}

/// Knocks at the door of this name in the directory.
///
/// # Errors
/// `ConnectionRefused` when its supervisor is dead.
pub fn knock(directory: &File, name: &str) -> io::Result<UnixStream> {
    UnixStream::connect(within(directory, name))
}

/// A path of a few characters, wherever the directory is: the address of a Unix socket has 108 bytes.
fn within(directory: &File, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()).into()
}
