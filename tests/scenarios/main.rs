//! What people can do with marabunta and what must hold meanwhile, through the real binaries, on each backend.
//!
//! What "was executed once" means is told by a [`Journal`](marabunta_tests::support::Journal) that the tasks write themselves. Those scenarios
//! that need several servers, or services to break, exist only with the feature `services`.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod steps;

mod adoption;
mod bad_input;
mod connections;
mod counting;
mod follow;
mod policy;
mod reflection;
mod run;
mod runs;
mod schedules;
mod security;
mod sql;
mod targets;
mod workers;

#[cfg(feature = "services")]
mod lockstep;
#[cfg(feature = "services")]
mod losses;
mod missed;
#[cfg(feature = "services")]
mod servers;
