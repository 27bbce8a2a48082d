//! What is said of an attempt, by whom, and what is answered.

use marabunta_proto::name::Name;

use crate::run::{AttemptEnd, Fence, RunId};

/// Somebody says that an attempt has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    pub run: RunId,
    pub fence: Fence,
    /// From 1.
    pub number: u32,
    pub worker: Name,
    /// `None`: nobody took charge of it.
    pub end: Option<AttemptEnd>,
    pub by: Witness,
}

/// Who says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Witness {
    /// Its worker, in a report.
    Worker,
    /// The clock: its worker's stream has ended, and it did not come back.
    Departure,
    /// The clock: its worker has not been heard of for longer than its lease, as its server has gone.
    Silence,
    /// Its worker, by coming back without it.
    Absence,
    /// The owner of the sessions: it was sent and not accepted.
    Delivery,
    /// The owner of the sessions: it was claimed and not sent.
    Claim,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Recorded, now or before.
    Recorded,
    /// A later attempt was given out, or the run has ended otherwise.
    Stale,
    /// There is no such run.
    Unknown,
    /// Not recorded, as far as is known: say it again.
    Retry,
}
