//! The supervisor's end of the socket to the daemon: at first to the one that started it, then to whichever came last to its door.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use rustix::event::{PollFd, PollFlags, poll};

use super::door::Door;
use super::frame::{self, Ask, Request, Word};

/// How often it is looked whether a daemon can still come.
const LOOK: Duration = Duration::from_secs(1);

pub(super) struct Channel {
    socket: UnixStream,
    heard: BytesMut,
    /// What is being said: one word, so that what waits for a slow daemon waits where it is counted.
    saying: Bytes,
    closed: bool,
    /// `None` if there is none: then nobody comes after the daemon that started it.
    door: Option<Door>,
}

impl Channel {
    /// # Errors
    /// It is no socket.
    pub fn new(socket: UnixStream) -> io::Result<Self> {
        socket.peer_addr()?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, heard: BytesMut::new(), saying: Bytes::new(), closed: false, door: None })
    }

    /// Lets others come after the daemon that is there.
    pub fn set_door(&mut self, door: Door) {
        self.door = Some(door);
    }

    /// A daemon that has come, to be [admitted](Self::admit) once what the one before it has said is heard. That one is dead, whether or not it
    /// has been noticed: both have held the lock on the worker's spool.
    pub fn newcomer(&self) -> Option<UnixStream> {
        let newcomer = self.door.as_ref()?.newcomer()?;
        match newcomer.set_nonblocking(true) {
            Ok(()) => Some(newcomer),
            Err(error) => {
                super::complain(format_args!("cannot listen to a daemon: {error}"));
                None
            }
        }
    }

    /// From now on it is this daemon that is heard and spoken to.
    pub fn admit(&mut self, newcomer: UnixStream) {
        (self.socket, self.closed) = (newcomer, false);
        (self.heard, self.saying) = (BytesMut::new(), Bytes::new());
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

    /// Until somebody comes, or one of these is ready, or so long.
    pub fn wait_for<'a>(&'a self, fds: &mut Vec<PollFd<'a>>, patience: Option<Duration>) {
        fds.extend(self.door.iter().map(|door| PollFd::new(door, PollFlags::IN)));
        let patience = if self.closed {
            Some(patience.map_or(LOOK, |patience| patience.min(LOOK)))
        } else {
            fds.push(PollFd::new(&self.socket, self.interest()));
            patience
        };
        wait_for(fds, patience);
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
                    super::complain(format_args!("cannot make out what the worker says: {error}"));
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

    /// Whether the daemon is gone, also if it has said something before that was not heard yet.
    pub fn was_left(&mut self) -> bool {
        while !self.closed && self.receive() {}
        self.closed
    }

    /// Whether the daemon is gone and no other can come.
    pub fn is_deserted(&self) -> bool {
        self.closed && !self.door.as_ref().is_some_and(Door::can_be_found)
    }

    /// Says an encoded word, if need be piece by piece in calls of [`flush`](Self::flush).
    pub fn say(&mut self, word: Bytes) {
        debug_assert!(self.is_ready());
        self.saying = word;
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

    /// Says that no more is served.
    pub fn retire(mut self) {
        // Nothing else waits here when it is idle, and a word so short is sent at once.
        self.say(Word::Retired(true).into());
    }

    fn interest(&self) -> PollFlags {
        if self.is_ready() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT }
    }
}

/// Until one of them is ready, or so long; for ever if `None`. A signal ends it too.
fn wait_for(fds: &mut [PollFd<'_>], patience: Option<Duration>) {
    // No deadline here is a year away; one that were would be looked at again then.
    let patience = patience.map(|patience| patience.min(Duration::from_secs(31_000_000)));
    let patience = patience.map(|patience| patience.try_into().expect("a year fits"));
    match poll(fds, patience.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        // The host is out of memory: whoever waits looks again, and nobody is let go for it.
        Err(error) => super::complain(format_args!("cannot wait for the command: {error}")),
    }
}
