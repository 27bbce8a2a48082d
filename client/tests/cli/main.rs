//! The command line as a person or a script meets it: the real binary against a server whose answers the test has written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, its helpers too")]

mod fake;
mod marabunta;
mod snapshot;

mod fan_out;
mod help;
mod interrupts;
mod lists;
mod resume;
mod run;
mod schedules;
mod tasks;
mod terminal;
mod usage;
