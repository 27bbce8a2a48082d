//! The worker against a server that a test plays by hand: every stream, and every report, waits for the test to say what comes next.

#![allow(clippy::unwrap_used)]

mod adoption;
mod exec;
mod fake;
mod reports;
mod sessions;
mod stopping;
