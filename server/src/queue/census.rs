//! How many there are.

use crate::run::RunId;

/// The open runs of the queue, by where they are; see [`super::Phase`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Census {
    /// Not due yet.
    pub delayed: u64,
    /// Behind another run with the same overlap key.
    pub behind: u64,
    /// Waiting for a worker.
    pub ready: u64,
    /// Given to a worker.
    pub in_flight: u64,
    /// To be ended, or missed and to be judged.
    pub ending: u64,
    /// The earliest, by the moment in its id, of those ready runs that are next among the ones of their urgency in their place.
    pub oldest: Option<RunId>,
}
