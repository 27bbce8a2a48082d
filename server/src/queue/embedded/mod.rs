//! The queue in the memory of one server: the one that has the store's file.
//!
//! [`State`](state::State) is a plain state machine behind a lock: no I/O, no clock, no await. Each call brings the moment and takes the hints
//! along. Time is tokio's, monotonic. Nothing outlives the process: it starts empty-handed and is rebuilt from the store, exactly as
//! Redis is after a `FLUSHALL`.

mod adopt;
mod attempt;
mod cancel;
mod census;
mod enter;
mod open;
mod overlap;
mod queue;
mod results;
mod sessions;
mod silence;
mod state;
mod tick;
mod unsure;

pub use queue::Embedded;
