//! Real programs for tests, from the outside in.
//!
//! A scenario is written once, with [`scenarios!`](crate::scenarios), and runs on each [`Backend`]. It starts a [`Cluster`] of servers and
//! workers, drives it through the [`cli`] or an API client, and waits with [`eventually`](wait::eventually) for what must come. Contracts
//! use [`mariadb`] and [`redis`] directly. Whatever is missing is a failure that says what to run, never a skip.
//!
//! Below them, [`process`] owns one program, [`port`] reserves an address for it, [`scratch`] its directory, and the [`watchdog`] sees to it
//! that nothing outlives the tests.

pub mod scenario;

pub mod cli;
pub mod cluster;
pub mod server;
pub mod worker;

pub mod haproxy;
pub mod mariadb;
pub mod redis;

pub mod authority;
pub mod http;
pub mod journal;
pub mod metrics;
mod testimony;
pub mod wait;

pub mod seeded;

pub mod port;
pub mod process;
pub mod program;
pub mod scratch;
pub mod watchdog;

pub use cluster::{Cluster, ClusterOptions, Detour, Link};
pub use journal::Journal;
pub use scenario::Backend;
pub use wait::{eventually, eventually_within};
