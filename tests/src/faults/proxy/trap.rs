//! What happens at one point of a conversation.

use std::fmt;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::framer::{Frame, SEAM};
use super::rules::{Cut, Direction};

/// Generous: only a test that fails ever waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// When a trap springs, once a frame that holds its bytes has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moment {
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
    pub(super) moment: Moment,
    then: Then,
    deed: Box<dyn FnOnce() + Send>,
    sprung: watch::Sender<bool>,
}

impl Trap {
    /// For a request that holds these bytes, such as the hash of a script or the id of a run. Silences the connection and does nothing else.
    pub fn request(moment: Moment, bytes: impl AsRef<[u8]>) -> Self {
        Self::new(Direction::Requests, moment, bytes.as_ref())
    }

    /// For a reply, or a message of a server, that holds these bytes.
    pub fn reply(moment: Moment, bytes: impl AsRef<[u8]>) -> Self {
        assert!(moment != Moment::Answered, "a reply is not answered");
        Self::new(Direction::Replies, moment, bytes.as_ref())
    }

    fn new(direction: Direction, moment: Moment, bytes: &[u8]) -> Self {
        assert!((1..=SEAM).contains(&bytes.len()), "{} bytes: 1 to {SEAM} can be looked for", bytes.len());
        let sprung = watch::Sender::new(false);
        Self {
            bytes: bytes.to_owned(),
            direction,
            moment,
            then: Then::Silence,
            deed: Box::new(|| ()),
            sprung,
        }
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
        (self.deed)();
        self.sprung.send_replace(true);
        self.then
    }
}

impl fmt::Debug for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { direction, moment, then, .. } = self;
        write!(
            f,
            "{moment:?} {:?} among the {direction:?}, then {then:?}",
            self.bytes.escape_ascii().to_string()
        )
    }
}

/// Tells when a trap has sprung and its deed is done.
#[derive(Debug)]
pub struct Sprung {
    what: String,
    sprung: watch::Receiver<bool>,
}

impl Sprung {
    pub fn is(&self) -> bool {
        *self.sprung.borrow()
    }

    /// Waits for it, and panics when it does not come or the trap was taken away.
    pub async fn wait(&mut self) {
        let sprung = timeout(PATIENCE, self.sprung.wait_for(|sprung| *sprung)).await;
        assert!(matches!(sprung, Ok(Ok(_))), "the trap did not spring: {}", self.what);
    }
}
