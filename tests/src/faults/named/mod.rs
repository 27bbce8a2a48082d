//! The named faults. Each gets an arena of its own, breaks it in one way, and tells what it found.

mod crashes;
mod disk;
mod everything;
mod links;
mod list;
mod network;
mod queue;
mod reports;
mod servers;
mod services;
mod sessions;
mod store;
mod time;
mod workers;

pub use list::{Named, all};
