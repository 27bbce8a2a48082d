//! The support of these tests, put to the test: what starts real programs must be trusted before what it finds.

#![allow(clippy::unwrap_used, reason = "in a test, a panic is the report")]

mod binaries;
mod nothing_left_behind;
mod process;
mod proxy;
mod scenarios;

#[cfg(feature = "services")]
mod clock;
#[cfg(feature = "services")]
mod disk;
#[cfg(feature = "services")]
mod haproxy;
#[cfg(feature = "services")]
mod mariadb;
#[cfg(feature = "services")]
mod network;
#[cfg(feature = "services")]
mod redis;
