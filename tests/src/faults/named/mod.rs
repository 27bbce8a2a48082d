//! The named faults. Each gets an arena of its own, breaks it in one way, and tells what it found.

mod certificates;
mod choice;
mod commands;
mod crashes;
mod disk;
mod everything;
mod fleet;
mod forgotten;
mod links;
mod list;
mod network;
mod poison;
mod queue;
mod refusals;
mod reports;
mod schedules;
mod servers;
mod services;
mod sessions;
mod store;
mod time;
mod versions;
mod workers;
mod zones;

pub use choice::{Unknown, choose};
pub use list::{Named, all};
