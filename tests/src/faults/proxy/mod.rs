//! A TCP proxy that breaks what passes through it.
//!
//! A [`Proxy`] stands before one server and runs on a thread of its own, so that a test which blocks does not stop it. What it does to all
//! connections are rules: latency, a direction that stalls or whose bytes vanish, connections refused or cut. What it does at one point
//! of a conversation is a [`Trap`]: once a request holding these bytes has come, has gone on or has been answered, it withholds the rest and
//! runs a deed, such as to kill a server between a commit and its acknowledgement.
//!
//! ```text
//! accept -> connection -> pump (requests) -> framer -> traps, allowance -> upstream
//!                         pump (replies)  <- framer <- traps, allowance <-
//! ```

mod connection;
mod framer;
mod handle;
mod pump;
mod resp;
mod rules;
mod trap;

pub use framer::Protocol;
pub use handle::Proxy;
pub use rules::{Cut, Direction};
pub use trap::{At, Sprung, Then, Trap};
