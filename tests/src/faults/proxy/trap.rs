//! What happens at one point of a conversation.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::framer::{Frame, SEAM};
use super::rules::{Cut, Direction};
use crate::faults::moment::Moment;

/// Generous: only a test that fails ever waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a trap springs, once a frame that holds its bytes has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// Before anything of the frame is passed on.
    Before,
    /// With half of the frame passed on.
    Midway,
    /// After the frame is passed on.
    After,
    /// When the answer to the frame comes, before anything of it is passed on.
    Answered,
}

/// What becomes of the connection, once the deed is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing passes any more, either way, until its client closes it.
    Silence,
    Cut(Cut),
    /// It goes on as if nothing had happened.
    GoOn,
}

/// Springs at the first frame that holds its bytes, on whichever connection, and is gone.
pub struct Trap {
    bytes: Vec<u8>,
    direction: Direction,
    pub(super) at: At,
    then: Then,
    deed: Box<dyn FnOnce() + Send>,
    sprung: watch::Sender<Option<Moment>>,
}

impl Trap {
    /// For a request that holds these bytes, such as the hash of a script or the id of a run. Silences the connection and does nothing else.
    pub fn request(at: At, bytes: impl AsRef<[u8]>) -> Self {
        Self::new(Direction::Requests, at, bytes.as_ref())
    }

    /// For a reply, or a message of a server, that holds these bytes.
    pub fn reply(at: At, bytes: impl AsRef<[u8]>) -> Self {
        assert!(at != At::Answered, "a reply is not answered");
        Self::new(Direction::Replies, at, bytes.as_ref())
    }

    fn new(direction: Direction, at: At, bytes: &[u8]) -> Self {
        assert!((1..=SEAM).contains(&bytes.len()), "{} bytes: 1 to {SEAM} can be looked for", bytes.len());
        let sprung = watch::Sender::new(None);
        Self { bytes: bytes.to_owned(), direction, at, then: Then::Silence, deed: Box::new(|| ()), sprung }
    }

    /// What becomes of the connection.
    pub fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }

    /// What is done when it springs, before anything else passes through this proxy. It must not wait for the proxy.
    pub fn deed(mut self, deed: impl FnOnce() + Send + 'static) -> Self {
        self.deed = Box::new(deed);
        self
    }

    pub(super) fn sprung(&self) -> Sprung {
        Sprung { what: format!("{self:?}"), sprung: self.sprung.subscribe() }
    }

    pub(super) fn catches(&self, direction: Direction, frame: &Frame) -> bool {
        self.direction == direction && frame.holds(&self.bytes)
    }

    pub(super) fn spring(self) -> Then {
        let now = Moment::now();
        (self.deed)();
        self.sprung.send_replace(Some(now));
        self.then
    }
}

impl fmt::Debug for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { direction, at, then, .. } = self;
        write!(f, "{at:?} {:?} among the {direction:?}, then {then:?}", self.bytes.escape_ascii().to_string())
    }
}

/// Tells when a trap has sprung and its deed is done.
#[derive(Debug)]
pub struct Sprung {
    what: String,
    sprung: watch::Receiver<Option<Moment>>,
}

impl Sprung {
    pub fn is(&self) -> bool {
        self.sprung.borrow().is_some()
    }

    /// Waits for it and gives the moment at which it sprang. Panics when it does not come or the trap was taken away.
    pub async fn wait(&mut self) -> Moment {
        let sprung = timeout(PATIENCE, self.sprung.wait_for(Option::is_some)).await;
        let sprung = sprung.ok().and_then(|sprung| *sprung.ok()?);
        sprung.unwrap_or_else(|| panic!("the trap did not spring: {}", self.what))
    }
}
