//! The worker's hold on a server: the live session, the one that is being opened, and when to try again.
//!
//! A new session is opened before the old one is dropped: the old one stays until the new one has its Welcome. From the moment the new
//! one has said Hello, and so has named what is held, assignments count on it alone.

use std::time::Duration;

use tokio::{sync::watch, time::Instant};

use super::{
    backoff::Backoff,
    health::Pulse,
    session::{End, Events, Session, SessionId},
};
use crate::connect::{self, Connection};

/// A session that lasted this long was a good one: after it the next is tried at once.
const GOOD: Duration = Duration::from_secs(5);

/// See the module.
pub struct Link {
    servers: Vec<connect::Config>,
    /// The server to try next.
    at: usize,
    current: Option<(Session, Instant)>,
    opening: Option<Session>,
    retry: Option<Instant>,
    backoff: Backoff,
    next: u64,
    events: Events,
    pulse: watch::Sender<Option<Pulse>>,
    /// The live session's connection, for reports and payloads.
    connection: watch::Sender<Option<Connection>>,
}

impl Link {
    /// Begins to connect at once. `servers` are tried in turn.
    pub fn new(
        servers: Vec<connect::Config>,
        events: Events,
        pulse: watch::Sender<Option<Pulse>>,
        connection: watch::Sender<Option<Connection>>,
    ) -> Self {
        Self {
            servers,
            at: 0,
            current: None,
            opening: None,
            retry: Some(Instant::now()),
            backoff: Backoff::default(),
            next: 1,
            events,
            pulse,
            connection,
        }
    }

    /// When it is time to open a session, if one is wanted.
    pub fn due(&self) -> Option<Instant> {
        self.retry
    }

    /// Opens a session, to the next server in turn.
    pub fn open(&mut self) {
        self.retry = None;
        if self.opening.is_some() {
            return;
        }
        let server = &self.servers[self.at % self.servers.len()];
        match Connection::open(server) {
            Ok(connection) => {
                let id = SessionId(self.next);
                self.next += 1;
                self.opening = Some(Session::open(id, connection, self.events.clone(), self.pulse.clone()));
            }
            Err(error) => {
                tracing::error!(%error, "failed to open a session");
                self.at = self.at.wrapping_add(1);
                self.try_later();
            }
        }
    }

    /// The session that may say Hello now, if it is this one.
    pub fn greeting(&mut self, id: SessionId) -> Option<&mut Session> {
        self.opening.as_mut().filter(|session| session.id == id)
    }

    /// The new session stands: the old one is dropped.
    pub fn welcomed(&mut self, id: SessionId) {
        let Some(session) = self.opening.take_if(|session| session.id == id) else { return };
        self.connection.send_replace(Some(session.connection.clone()));
        self.current = Some((session, Instant::now()));
    }

    /// The server wants this session to be replaced.
    pub fn renew(&mut self, id: SessionId) {
        if self.opening.is_none() && self.retry.is_none() && self.is_current(id) {
            self.at = self.at.wrapping_add(1);
            self.judge_health();
            self.try_later();
        }
    }

    /// A session has ended. A server that cut it is asked again first, a silent one last.
    pub fn lost(&mut self, id: SessionId, end: &End) {
        if self.opening.take_if(|session| session.id == id).is_some() {
            self.at = self.at.wrapping_add(1);
            self.try_later();
        } else if self.is_current(id) {
            if let End::Silent(_) = end {
                self.at = self.at.wrapping_add(1);
            }
            self.judge_health();
            self.current = None;
            self.pulse.send_replace(None);
            self.connection.send_replace(None);
            if self.opening.is_none() && self.retry.is_none() {
                self.try_later();
            }
        }
    }

    /// The session that counts assignments: the newest that has said Hello.
    pub fn counting(&mut self) -> Option<&mut Session> {
        match &mut self.opening {
            Some(opening) if opening.greeted => Some(opening),
            _ => self.current.as_mut().map(|(session, _)| session),
        }
    }

    /// True if this is the session that counts.
    pub fn counts(&mut self, id: SessionId) -> bool {
        self.counting().is_some_and(|session| session.id == id)
    }

    /// The session that can be told things: that which counts, once it is welcome.
    pub fn speaking(&mut self) -> Option<&mut Session> {
        match &self.opening {
            Some(opening) if opening.greeted => None,
            _ => self.current.as_mut().map(|(session, _)| session),
        }
    }

    /// An assignment came on a session that does not count any more. Its server has spent credit on it nevertheless.
    pub fn missed(&mut self, id: SessionId) {
        if let Some((session, _)) = self.current.as_mut().filter(|(session, _)| session.id == id) {
            session.outbox.receive();
        }
    }

    fn is_current(&self, id: SessionId) -> bool {
        self.current.as_ref().is_some_and(|(session, _)| session.id == id)
    }

    /// Of a server that welcomes and cuts at once, Welcome alone is no sign of health.
    fn judge_health(&mut self) {
        if self.current.as_ref().is_some_and(|(_, since)| since.elapsed() >= GOOD) {
            self.backoff.reset();
        }
    }

    fn try_later(&mut self) {
        let now = Instant::now();
        self.retry = Some(now + self.backoff.next(now));
    }
}
