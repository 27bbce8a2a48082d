//! Hints: what a server may want to look at now. Losing one costs time, never a run.

use marabunta_proto::name::Name;

use super::SessionId;
use crate::run::{Fence, Place, RunId};

/// Something happened that this server may care about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// A place that was empty has something to claim.
    Ready(Place),
    /// A run with a nearer moment than any before was entered: tick sooner.
    Due,
    /// `session` of the worker was replaced by a newer one: on the server `by`, of the daemon `instance`.
    Superseded { worker: Name, session: SessionId, by: String, instance: String },
    /// A run in flight is to be cancelled.
    Cancel { worker: Name, run: RunId, fence: Fence },
    /// A run that somebody follows has changed.
    Changed(RunId),
    /// The worker is to be drained, or given work again.
    Drain { worker: Name, draining: bool },
    /// The connection was interrupted, or the queue has lost what it held: hints may have been lost, sessions be unknown. Look at everything.
    Interrupted,
}
