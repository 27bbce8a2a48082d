//! The fault campaign: whatever dies, stalls or lies, each accepted run ends exactly once, is executed no more often than the faults
//! explain, and the installation is well again within seconds.
//!
//! ```text
//! workload --submits--> arena (MariaDB, Redis, servers, workers) --runs--> deed --writes--> testimony --.
//!    |                    ^  breaks, heals                                                              |
//!    |          named fault, nemesis                                                                    v
//!    '--- submissions --> history <-- faults ------------------ records (the store, at the end) --> checker --> table
//! ```
//!
//! The [`checker`] believes nobody whom it judges: it holds what the tasks themselves wrote down ([`testimony`]) against what was asked and
//! broken ([`history`]) and what stands in the tables when all is quiet ([`records`]). All times are read from one clock ([`moment`]).
//!
//! What processes and signals cannot break is broken by a [`proxy`] on a link, a [`network`] of namespaces, a [`clock`] that jumps and a
//! [`disk`] that is full.

pub mod moment;

pub mod deed;
pub mod testimony;
pub mod witness;

pub mod history;
pub mod workload;

pub mod clock;
pub mod disk;
pub mod links;
pub mod network;
pub mod proxy;

pub mod arena;
pub mod counted;
pub mod hand;
pub mod memory;
pub mod previous;
pub mod process;
pub mod quiet;
pub mod records;
pub mod sessions;
pub mod watch;

pub mod checker;
pub mod evidence;

pub mod chaos;
pub mod nemesis;
pub mod outage;
pub mod story;
pub mod strike;

pub mod finding;
pub mod named;
pub mod table;
