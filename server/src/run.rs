//! A run: one firing of a task on one target, or one on-demand submission. Pure types and transitions.

mod body;
mod conclusion;
mod id;
mod lease;
mod next;
mod state;

use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use marabunta_proto::name::Name;
use marabunta_proto::selector::Selector;

pub use body::BodyError;
pub use conclusion::{Conclusion, LastAttempt};
pub use id::{GroupId, IdError, PayloadHash, RunId, TaskId};
pub use lease::{Fence, Lease, LeaseError};
pub use next::{Counters, Next, UNACCEPTED_DELIVERIES, next};
pub use state::{Outcome, Reason, State};

/// Where a run waits and which worker may take it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// Only this worker.
    Worker(Name),
    /// Any one worker that matches.
    Any(Selector),
}

impl Place {
    /// Where a run of this handler waits that was asked for here: of the workers that match, only those that have it may take it. A worker that was named
    /// gets it in any case, and says that it has not.
    #[must_use]
    pub fn with_handler(&self, handler: &Name) -> Self {
        match self {
            Self::Worker(name) => Self::Worker(name.clone()),
            Self::Any(selector) => Self::Any(selector.clone().with_handler(handler)),
        }
    }
}

impl std::fmt::Display for Place {
    /// The canonical target: `web-1`, `any(role=web)`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Worker(name) => name.fmt(f),
            Self::Any(selector) if selector.is_empty() => f.write_str("any"),
            Self::Any(selector) => write!(f, "any({selector})"),
        }
    }
}

/// How urgent a run is among those that wait in the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Priority {
    Low = 0,
    #[default]
    Normal = 1,
    High = 2,
    Urgent = 3,
}

impl Priority {
    /// All, least urgent first; the number of each is its index.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Urgent];

    /// The priority with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }
}

/// What an acknowledgement promises: see the two durability classes in the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// The queue has it; its history follows.
    Fast,
    /// The database has committed it.
    Durable,
}

/// What becomes of a run that fails, hangs or loses its worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// How often a failed or timed-out attempt is tried again.
    pub retries: u32,
    /// The longest wait before the first retry; doubled for each further one, up to an hour, with full jitter.
    pub backoff: Duration,
    /// How many lost workers it survives; 0: it is started at most once.
    pub max_lost: u32,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// How long it may wait to be started after it was due.
    pub expires: Option<Duration>,
}

impl Default for Policy {
    fn default() -> Self {
        Self { retries: 0, backoff: Duration::from_secs(1), max_lost: 3, timeout: None, expires: None }
    }
}

/// What a handler is given: JSON, inline up to [`Payload::INLINE`] bytes, by hash above.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    Inline(Bytes),
    Stored(PayloadHash),
}

impl Payload {
    /// The largest payload, in bytes, that travels with its run.
    pub const INLINE: usize = 4096;
}

/// What to do when a firing is due while an earlier run of the same task in the same place has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Overlap {
    /// Run both.
    #[default]
    Allow = 0,
    /// Do not run; recorded as skipped.
    Skip = 1,
    /// Wait for the other to end.
    Queue = 2,
    /// Cancel the other, then run.
    Replace = 3,
}

/// A run's definition: all of it that never changes once it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    pub id: RunId,
    /// The task that fired, if it was one.
    pub task: Option<TaskRef>,
    /// The other runs of the same `all(..)`.
    pub group: Option<GroupId>,
    pub place: Place,
    pub handler: Name,
    pub payload: Payload,
    pub priority: Priority,
    pub durability: Durability,
    pub policy: Policy,
    pub overlap: Overlap,
    /// When it was accepted, on the store's clock.
    pub created: DateTime<Utc>,
    /// When it is to start, on the store's clock: the submission, or the fire time plus splay.
    pub due: DateTime<Utc>,
}

/// The task of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskRef {
    pub id: TaskId,
    pub name: Name,
}

/// How one attempt ended, as its worker reports it or as the server finds it lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttemptEnd {
    pub outcome: Outcome,
    /// The command's exit code, 128 + n for signal n.
    pub exit_code: Option<i32>,
    /// What went wrong, in words; empty when nothing did.
    pub error: String,
    /// What the handler returned, JSON; empty for commands.
    pub result: Bytes,
    pub started: Option<DateTime<Utc>>,
    pub ended: Option<DateTime<Utc>>,
    pub output_bytes: u64,
    pub truncated: bool,
}

impl AttemptEnd {
    /// The end of an attempt of which nothing more was heard.
    #[must_use]
    pub fn lost(error: &str) -> Self {
        Self {
            outcome: Outcome::Lost,
            exit_code: None,
            error: error.to_owned(),
            result: Bytes::new(),
            started: None,
            ended: None,
            output_bytes: 0,
            truncated: false,
        }
    }
}

/// An idempotency key, and what tells whether it was used for the same request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// The submitter's key, extended by the place for the runs of an `all(..)`.
    pub text: String,
    /// A hash of the whole request.
    pub request: [u8; 16],
}
