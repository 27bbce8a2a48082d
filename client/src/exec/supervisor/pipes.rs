//! The pipes of a running command: both outputs read, its input fed.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::time::Instant;

use bytes::{Buf as _, Bytes};
use rustix::event::{PollFd, PollFlags};

use crate::exec::output::{Output, PIECE, Stream};

/// Reads of one pipe in a row, so that one that is always full does not keep the other, or the daemon, waiting.
const READS: usize = 8;

/// Our ends of the pipes. Each is closed when it is `None`.
pub(super) struct Pipes {
    stdin: Option<File>,
    input: Bytes,
    stdout: Option<File>,
    stderr: Option<File>,
    buffer: Box<[u8]>,
    pub output: Output,
}

impl Pipes {
    /// # Errors
    /// The pipes cannot be made non-blocking.
    pub fn new(child: &mut Child, input: Bytes, limit: u64) -> io::Result<Self> {
        Ok(Self {
            stdin: child.stdin.take().map(file).transpose()?,
            input,
            stdout: child.stdout.take().map(file).transpose()?,
            stderr: child.stderr.take().map(file).transpose()?,
            buffer: vec![0; PIECE].into(),
            output: Output::new(limit),
        })
    }

    /// What to wait for.
    pub fn interest(&self) -> impl Iterator<Item = PollFd<'_>> {
        let outputs = [&self.stdout, &self.stderr].into_iter().flatten();
        let outputs = outputs.map(|pipe| PollFd::new(pipe, PollFlags::IN));
        outputs.chain(self.stdin.iter().map(|pipe| PollFd::new(pipe, PollFlags::OUT)))
    }

    /// Moves what can be moved now.
    pub fn serve(&mut self, now: Instant) {
        drain(&mut self.stdout, &mut self.buffer, |data| self.output.push(Stream::Stdout, data, now));
        drain(&mut self.stderr, &mut self.buffer, |data| self.output.push(Stream::Stderr, data, now));
        self.feed();
    }

    /// A command need not read all of its input.
    fn feed(&mut self) {
        while let Some(pipe) = &mut self.stdin {
            if self.input.is_empty() {
                return self.close_input();
            }
            match pipe.write(&self.input) {
                Ok(count) => self.input.advance(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.close_input(),
            }
        }
    }

    /// Nobody reads the input any more.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// What is written to them from now on is not waited for.
    pub fn close(&mut self) {
        (self.stdin, self.stdout, self.stderr) = (None, None, None);
    }

    /// Whether somebody may still write to the outputs.
    pub fn is_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }
}

fn file(pipe: impl Into<OwnedFd>) -> io::Result<File> {
    let pipe = File::from(pipe.into());
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Ok(pipe)
}

/// An error of a pipe is its end.
fn drain(pipe: &mut Option<File>, buffer: &mut [u8], mut push: impl FnMut(&[u8])) {
    for _ in 0..READS {
        let Some(open) = pipe else { return };
        match open.read(buffer) {
            Ok(0) => *pipe = None,
            Ok(count) => push(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => *pipe = None,
        }
    }
}
