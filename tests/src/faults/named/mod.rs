//! The named faults. Each gets an arena of its own, breaks it in one way, and tells what it found.

mod certificates;
mod commands;
mod everything;
mod list;
mod poison;
mod queue;
mod schedules;
mod servers;
mod store;
mod versions;
mod workers;
mod zones;

pub use list::{Named, all};
