//! The supervisor's end of the socket to the daemon.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use rustix::event::{PollFd, PollFlags, poll};

use super::frame::{self, Ask, Request, Word};

pub(super) struct Channel {
    socket: UnixStream,
    heard: BytesMut,
    /// What is being said: one word, so that what waits for a slow daemon waits where it is counted.
    saying: Bytes,
    closed: bool,
}

impl Channel {
    /// # Errors
    /// It is no socket.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.peer_addr()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, heard: BytesMut::new(), saying: Bytes::new(), closed: false })
    }

    /// The next word of the daemon; `None` when it is gone, or has said nothing for so long.
    pub fn wait(&mut self, patience: Duration) -> Option<Ask> {
        let deadline = Instant::now() + patience;
        loop {
            self.flush();
            if let Some(ask) = self.hear() {
                return Some(ask);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.closed || left.is_zero() {
                return None;
            }
            wait_for(&mut [PollFd::new(&self.socket, self.interest())], Some(left));
        }
    }

    /// What the daemon has said, without waiting. One that makes no sense is as good as gone.
    pub fn hear(&mut self) -> Option<Ask> {
        while !self.closed {
            match frame::decode::<Request>(&mut self.heard) {
                // What a newer daemon says and we do not know is passed over.
                Ok(Some(request)) if request.ask.is_none() => {}
                Ok(Some(request)) => return request.ask,
                Ok(None) if self.receive() => {}
                Ok(None) => return None,
                Err(error) => {
                    eprintln!("cannot make out what the worker says: {error}");
                    self.closed = true;
                }
            }
        }
        None
    }

    /// Whether something came.
    fn receive(&mut self) -> bool {
        let mut buffer = [0; 16 << 10];
        match self.socket.read(&mut buffer) {
            Ok(0) => self.closed = true,
            Ok(count) => self.heard.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(_) => self.closed = true,
        }
        true
    }

    /// Whether the last word has left, so that the next can be said.
    pub fn is_ready(&self) -> bool {
        self.saying.is_empty()
    }

    /// Whether the daemon is gone.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Says a word, if need be piece by piece in calls of [`flush`](Self::flush).
    pub fn say(&mut self, word: Word) {
        debug_assert!(self.is_ready());
        self.saying = word.into();
        self.flush();
    }

    pub fn flush(&mut self) {
        while !self.saying.is_empty() && !self.closed {
            match self.socket.write(&self.saying) {
                Ok(count) => self.saying.advance(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.closed = true,
            }
        }
        if self.closed {
            self.saying = Bytes::new();
        }
    }

    /// Waits until the last word has left; what the daemon says meanwhile is kept.
    pub fn settle(&mut self) {
        self.flush();
        while !self.is_ready() {
            wait_for(&mut [PollFd::new(&self.socket, PollFlags::OUT)], None);
            self.flush();
        }
    }

    /// Says that no more is served.
    pub fn retire(mut self) {
        self.settle();
        self.say(Word::Retired(true));
        self.settle();
    }

    pub fn interest(&self) -> PollFlags {
        if self.is_ready() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Until one of them is ready, or so long; for ever if `None`. A signal ends it too.
pub(super) fn wait_for(fds: &mut [PollFd<'_>], patience: Option<Duration>) {
    // No deadline here is a year away; one that were would be looked at again then.
    let patience = patience.map(|patience| patience.min(Duration::from_secs(31_000_000)));
    let patience = patience.map(|patience| patience.try_into().expect("a year fits"));
    match poll(fds, patience.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        // The host is out of memory: whoever waits looks again, and nobody is let go for it.
        Err(error) => eprintln!("cannot wait for the command: {error}"),
    }
}
