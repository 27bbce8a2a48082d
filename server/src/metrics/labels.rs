//! What is told apart in counting.

use super::family::labels;
use crate::run::{Reason, State};

labels! {
    /// Where a run came from, and its class.
    Submitted("class", "origin") {
        Scheduled = ["durable", "schedule"],
        Durable = ["durable", "on_demand"],
        Fast = ["fast", "on_demand"],
    }

    /// How a run ended.
    RunEnd("state", "reason") {
        Done = ["done", ""],
        Failed = ["error", "failed"],
        TimedOut = ["error", "timeout"],
        /// With its worker, its policy allowing no loss; or a fast one with the queue.
        Lost = ["error", "lost"],
        Poison = ["error", "poison"],
        Rejected = ["error", "rejected"],
        Cancelled = ["cancelled", ""],
        /// A later run of its task took its place.
        Replaced = ["cancelled", "replaced"],
        Expired = ["expired", ""],
        /// The run before it had not ended.
        Overlapped = ["skipped", "overlap"],
        /// No server was up, and its task's catch-up, its start deadline or a change leaves it out.
        Missed = ["skipped", "missed"],
        /// Its `all(..)` matched nobody.
        NoWorker = ["skipped", "no_worker"],
    }

    /// Why an attempt counts as lost.
    Loss("cause") {
        /// Its worker says so.
        Reported = ["reported"],
        /// Its worker's stream ended, and it did not come back.
        Ended = ["stream_ended"],
        /// Its worker was not heard of for longer than its lease, as its server had gone, or Redis had forgotten its session.
        Silent = ["silent"],
        /// Its worker came back without it.
        Missing = ["missing"],
    }

    /// Why a run went back to the queue.
    Requeue("cause") {
        /// To be tried again.
        Failed = ["failed"],
        /// To be tried again.
        TimedOut = ["timeout"],
        /// Its worker says that the attempt was lost.
        Reported = ["reported"],
        /// Its worker stops, or has no room, and had not begun it.
        GivenBack = ["given_back"],
        /// Its worker's stream ended, and it did not come back.
        Ended = ["stream_ended"],
        /// Its worker was not heard of for longer than its lease, as its server had gone, or Redis had forgotten its session.
        Silent = ["silent"],
        /// Its worker came back without it.
        Missing = ["missing"],
        /// Its worker did not accept it in time, or had gone before it was sent.
        Unaccepted = ["not_accepted"],
    }

    /// How a session ended.
    SessionEnd("cause") {
        /// The worker ended its stream, or had gone before the session was open.
        Ended = ["stream_ended"],
        /// The connection broke, or the worker broke the protocol.
        Broken = ["stream_broken"],
        /// The worker said nothing for too long.
        Silent = ["silent"],
        /// The worker read nothing for too long.
        Deaf = ["not_reading"],
        /// The same daemon has a later session.
        Replaced = ["replaced"],
        /// Another daemon of the same name has a later session.
        Superseded = ["superseded"],
        /// This server stops.
        Stopping = ["server_stopping"],
        /// This server panicked.
        Fault = ["server_fault"],
    }

    /// Why a worker got no session.
    SessionRefused("cause") {
        /// Daemons of its name have superseded each other too often.
        Flapping = ["flapping"],
    }

    /// What the server says to something that a worker reports.
    Judged("verdict") {
        Recorded = ["recorded"],
        Stale = ["stale"],
        Invalid = ["invalid"],
        Retry = ["retry"],
    }

    /// What was put right between store and queue.
    Reconciled("found") {
        /// The store had it open, and the queue did not have it: it was queued again.
        Unqueued = ["not_queued"],
        /// The queue kept how it ended, and the store did not have that.
        Unrecorded = ["not_recorded"],
        /// A fast run that neither the queue nor a worker has.
        Lost = ["lost"],
        /// A worker had it, and the queue did not.
        WithWorker = ["with_worker"],
    }
}

labels! {
    /// Where a panic was caught.
    PanicIn("where") {
        /// One call at the gRPC or HTTP door.
        Call = ["call"],
        /// One TLS handshake, or one connection of the HTTP door.
        Connection = ["connection"],
        /// One worker's stream.
        Session = ["session"],
        /// The owner of the sessions.
        Owner = ["sessions_owner"],
        /// A call of the queue by the owner of the sessions.
        Queue = ["queue_call"],
        /// Submits or reports that were written together.
        Batch = ["batch"],
        Journal = ["journal"],
        /// The planning of one task.
        Task = ["task"],
        Planner = ["planner"],
        Pruning = ["pruning"],
        Readiness = ["readiness"],
        /// What lets go what is due in the queue.
        Clock = ["clock"],
        Reaper = ["reaper"],
        Rebuilder = ["rebuilder"],
        Reconciler = ["reconciler"],
        /// What notes which attempts have begun.
        Floor = ["floor"],
        /// What listens to the hints of other servers.
        Hints = ["hints"],
        /// What must not end, and ended the process.
        Process = ["process"],
    }
}

impl RunEnd {
    /// The end that an attempt makes, or the loss of a queue. `None` for a state that is not final.
    #[must_use]
    pub fn of(state: State, reason: Option<Reason>) -> Option<Self> {
        Some(match (state, reason) {
            (State::Todo | State::Queued | State::Running, _) => return None,
            (State::Done, _) => Self::Done,
            (State::Error, None | Some(Reason::Failed)) => Self::Failed,
            (State::Error, Some(Reason::Timeout)) => Self::TimedOut,
            (State::Error, Some(Reason::Lost)) => Self::Lost,
            (State::Error, Some(Reason::Poison)) => Self::Poison,
            (State::Error, Some(Reason::Rejected)) => Self::Rejected,
            (State::Cancelled, _) => Self::Cancelled,
            (State::Expired, _) => Self::Expired,
            (State::Skipped, _) => Self::Missed,
        })
    }
}
