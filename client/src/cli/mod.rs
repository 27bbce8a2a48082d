//! The command line `marabunta`. [`command`] holds the tree of commands; each command is a module, and `run`, the one that matters most,
//! goes [`job`] (arguments to a request) -> [`caller`] (submit) -> [`watch`] -> [`follow`] (events over broken connections) ->
//! [`display`] -> [`exit`].

pub mod command;

mod run;
mod runs;
mod task;
mod when;
mod worker;
mod workers;

mod job;
mod moment;
mod page;

mod backoff;
mod caller;
mod follow;
mod interrupt;
mod watch;

mod console;
mod display;
mod exit;
mod failure;
mod output;
mod table;
mod text;
mod view;
