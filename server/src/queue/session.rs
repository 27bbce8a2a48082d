//! The sessions of workers, as the queue keeps them: leases hang on them.

use std::fmt;
use std::time::Duration;

use marabunta_proto::name::Name;
use uuid::Uuid;

use super::Record;
use crate::run::{Fence, RunId};

/// One live stream of one worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub Uuid);

impl SessionId {
    /// No session at all: that of a run which was in flight when the queue was lost.
    pub const NONE: Self = Self(Uuid::nil());
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Which server holds which session of which worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub worker: Name,
    pub id: SessionId,
    /// The id of the server; hints for the worker's place go there.
    pub server: String,
    /// The worker's [instance](marabunta_proto::v1::Hello::instance): new at each start of the daemon.
    pub instance: String,
}

impl Session {
    /// How long a session lives after it was last renewed: the time that the workers of a dead server have to appear elsewhere.
    pub const LIFE: Duration = Duration::from_secs(60);
    /// How long a session lives after a live server saw its stream end. It can neither claim nor be renewed meanwhile.
    pub const GRACE: Duration = Duration::from_secs(8);
}

/// What opening a session found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Opened {
    /// The session that this one replaces, if one was live; [`super::Hint::Superseded`] has gone to its server.
    pub superseded: Option<Session>,
    /// What the worker holds rightly: in flight under this session now, accepted, with the fence it had. Also a run that went back and that
    /// nobody claimed since, and one whose fence is later than any the queue remembers; of two attempts of one run the later.
    pub adopted: Vec<Record>,
    /// In flight for this worker under an earlier session by the queue's account, but the worker does not hold it: to be settled as lost where it may have begun,
    /// and as never accepted otherwise.
    pub missing: Vec<Missing>,
    /// What the worker holds though its fence has passed to a later attempt, or though the run ends.
    pub stale: Vec<(RunId, Fence)>,
    /// What the worker holds and the queue does not know: it has ended, or the queue has lost it.
    pub unknown: Vec<(RunId, Fence)>,
}

/// A run that the queue gave to a worker that does not have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    pub record: Record,
    /// The worker had taken charge of it, or this is not the instance that it was given to, which may have begun it and died before it could say so.
    pub begun: bool,
}

/// A session past its deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Silent {
    pub worker: Name,
    pub session: SessionId,
    /// How long ago the deadline passed.
    pub since: Duration,
    /// A live server had seen its stream end. Otherwise its server had gone, or the queue has forgotten who it was.
    pub ended: bool,
    /// What is in flight under it.
    pub holding: Vec<Record>,
}

/// What is known of the servers when one says that it lives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beat {
    /// Those that have lately, this one among them.
    pub alive: Vec<String>,
    /// Those that have not.
    pub gone: Vec<String>,
}
