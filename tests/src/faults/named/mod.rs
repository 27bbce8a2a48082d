//! The named faults. Each gets an arena of its own, breaks it in one way, and tells what it found.

mod everything;
mod forgotten;
mod list;
mod queue;
mod servers;
mod store;
mod workers;

pub use list::{Named, all};
