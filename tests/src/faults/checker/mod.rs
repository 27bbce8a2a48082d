//! The invariants, each a pure function from the evidence to what violates it.

pub mod violation;

mod acknowledged;
mod bounds;
mod durable;
mod executions;
mod explanation;
mod fences;
mod firings;
mod lost;
mod overlap;
mod place;
mod quiet;
mod stale;
mod told;
mod twice;
mod waiting;

#[cfg(test)]
mod hand_made;

pub mod verdict;

pub use verdict::Verdict;
pub use violation::{Invariant, Violation};
