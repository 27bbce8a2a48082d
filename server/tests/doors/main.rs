//! The doors of a server in this process, on an embedded store and real sockets: what comes in wrong is refused with a precise error.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]
mod bad_input;
mod frames;
mod probes;
mod server;
mod sessions;
mod settings;
mod tls;
