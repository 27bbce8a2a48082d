//! How long things last in the queue, and how much it takes.

use std::time::Duration;

use super::Session;

/// The spans and bounds of a queue. The defaults are what the rest of the program counts on; tests shorten them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// How long a session lives after it was renewed.
    pub life: Duration,
    /// How long a session lives after its stream has ended.
    pub grace: Duration,
    /// When nobody has reaped for so long, every session gets its whole life again first.
    pub pause: Duration,
    /// When the oldest of what is due is so late, nobody has ticked meanwhile: whatever is due then was missed.
    pub late: Duration,
    /// After this time a silent session and an ending are offered again.
    pub offer: Duration,
    /// How many runs may be ready in one place, and how many may wait behind one overlap key in it.
    pub waiting: usize,
    /// How long an idempotency key is remembered.
    pub keys: Duration,
    /// How long a result is kept.
    pub results: Duration,
}

impl Limits {
    /// By so much nothing that is due waits for its release while anybody ticks.
    pub const LATE: Duration = Duration::from_secs(5);
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            life: Session::LIFE,
            grace: Session::GRACE,
            pause: Duration::from_secs(15),
            late: Self::LATE,
            offer: Duration::from_secs(10),
            waiting: 10_000,
            keys: Duration::from_secs(24 * 3600),
            results: Duration::from_secs(3600),
        }
    }
}
