//! The worker: takes attempts from a server, runs them, and reports what became of them. As a library it is the SDK for programs that
//! run handlers of their own; the daemon `marabunta worker` is the same with command templates as handlers.
//!
//! ```text
//!               Assign, Cancel, ..                     Start, Stop                     messages, ends
//! server <==> session ------> daemon (attempts decides) ------> execution -> handler ------> reporter ==> server
//!               ^  Accepted, Credit |                             | or supervisor            |   ^
//!               '----- outbox <-----'                             '<== taken ------------- spool-'
//! ```
//!
//! - The stream carries what proves life; output and ends go by unary reports, to any server, also while the stream is down.
//! - [`Attempts`](attempts::Attempts) alone decides; it is pure. The daemon is the one loop around it.
//! - An attempt survives the loss of a server: the worker comes back and says what it holds.
//! - A command survives the loss of the worker too: its supervisor goes on with it and keeps what is not in the spool, and the next worker
//!   takes it over before it says Hello. A function is lost with its process. What had ended by then is reported from the spool.
//! - A worker that is superseded, because another one connected with its name, kills what it runs and stops for good: the server has
//!   given its attempts away.

mod attempts;
mod backoff;
mod command;
pub mod config;
mod daemon;
mod execution;
mod handler;
pub mod health;
mod link;
mod outbox;
mod payloads;
mod reporter;
mod session;
mod setup;
mod spool;
pub mod subcommand;
mod ticket;
mod wire;

pub use daemon::{RunError, Shutdown};
pub use handler::{Completion, Context, Failure, FailureKind, Handler, Handling, Printed, Stream, function};
pub use setup::{Builder, StartError, Worker};

/// What `tests/fuzz` reaches.
#[cfg(fuzzing)]
pub mod fuzzing {
    pub use super::spool::Ledger;
    pub use super::wire::{assignment, duration, verdict};
}
