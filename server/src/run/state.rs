//! The states of a run with their given numbers, and the outcomes of an attempt.

/// Where a run stands. The numbers are part of the SQL interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Accepted, not due yet.
    Todo = 1,
    /// Waiting for a worker.
    Queued = 2,
    /// Accepted by a worker.
    Running = 3,
    Done = 4,
    Error = 5,
    Cancelled = 6,
    /// Was not started in time.
    Expired = 7,
    /// A firing that did not take place.
    Skipped = 8,
}

impl State {
    /// Whether nothing follows this state.
    #[must_use]
    pub fn is_final(self) -> bool {
        self >= Self::Done
    }

    /// The state with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Todo,
            2 => Self::Queued,
            3 => Self::Running,
            4 => Self::Done,
            5 => Self::Error,
            6 => Self::Cancelled,
            7 => Self::Expired,
            8 => Self::Skipped,
            _ => return None,
        })
    }
}

/// Why a run ended in [`State::Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    Failed = 1,
    Timeout = 2,
    Lost = 3,
    Poison = 4,
    Rejected = 5,
}

impl Reason {
    /// The reason with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Failed,
            2 => Self::Timeout,
            3 => Self::Lost,
            4 => Self::Poison,
            5 => Self::Rejected,
            _ => return None,
        })
    }
}

/// How one attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    Succeeded = 1,
    Failed = 2,
    TimedOut = 3,
    Cancelled = 4,
    /// The worker would not run it.
    Rejected = 5,
    /// The worker was lost with it.
    Lost = 6,
}

impl Outcome {
    /// The outcome with this number.
    #[must_use]
    pub fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            1 => Self::Succeeded,
            2 => Self::Failed,
            3 => Self::TimedOut,
            4 => Self::Cancelled,
            5 => Self::Rejected,
            6 => Self::Lost,
            _ => return None,
        })
    }
}
