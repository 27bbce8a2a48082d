//! The composition root: opens what is kept, builds the rooms, opens the doors, and takes it all down in order.
//!
//! A test calls [`run`] as the binary does, with listeners and a shutdown of its own.

mod backend;
mod crew;
mod floor;
mod identity;
mod prune;
mod readiness;
mod rooms;
mod run;
mod signal;
mod tracing;

pub use backend::BackendError;
pub use run::{AppError, Listeners, run};
pub use signal::signals;
pub use tracing::init as init_tracing;
