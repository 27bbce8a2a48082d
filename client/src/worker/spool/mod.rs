//! What the server does not have yet: messages and ends of attempts, on disk until there is a verdict on them.
//!
//! ```text
//! Entry --> Ledger: numbers, groups --> Log: appends, syncs when an end is among them --> segment files
//!              |                                                                            |
//!              '--> Batch (read back from the log) --> server --> verdicts --> released ----'
//! ```
//!
//! - An end that was reported is on disk first, so a daemon that is killed and started again reports it instead of executing again.
//! - Everything in the log may be reported twice: the server records it once. So a lost note of what was settled costs nothing.
//! - A worker that may forget when it ends keeps all of it in memory, within the same bounds.
//! - Disk and memory are bounded. When the disk is full or fails, the ledger says so ([`Ledger::trouble`]), the worker takes no more
//!   work, results stay in memory, messages up to a bound; what goes over it is left out and the attempt marked as truncated.

mod batch;
mod frames;
mod ledger;
mod log;
mod record;

pub use batch::{Batch, Judged};
pub use ledger::{Entry, Ledger, Restored};
pub use log::LogError;
