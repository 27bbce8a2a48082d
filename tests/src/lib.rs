//! Scenarios, contracts and faults against real programs.
//!
//! The library is the [`support`] that the tests of this crate share: it starts real servers and workers, real MariaDB, Redis and
//! haproxy, on private ports and in private directories, and leaves nothing behind, however the tests end. On top of it stands the
//! campaign of [`faults`], and the [`fleet`] of thousands of workers in one process.
//!
//! `cargo test` runs what needs none of these services; `make test`, which installs them first, turns on the feature `services` and runs
//! everything.

pub mod faults;
pub mod fleet;
pub mod support;
