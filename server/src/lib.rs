//! The server: reads schedules, queues what is due, streams it to workers and keeps what became of it.
//!
//! Rooms, in the order in which a run passes through them: [`plan`] and [`submit`] make runs, [`queue`] holds them, [`dispatch`] gives them to
//! workers, [`report`] takes what workers say, [`store`] keeps it, [`follow`] tells whoever waits, [`recover`] mends what broke on the way.
//!
//! They are reached through two doors, [`rpc`] and [`http`], which [`listen`] to the network; [`app`] puts it all together as [`config`] says.

pub mod clock;
pub mod metrics;
pub mod panics;
pub mod planted;
pub mod run;
pub mod task;

pub mod batch;
pub mod journal;
pub mod queue;
pub mod settle;
pub mod store;
pub mod unqueued;

pub mod dispatch;
pub mod follow;
pub mod plan;
pub mod recover;
pub mod report;
pub mod submit;
pub mod workers;

pub mod listen;

pub mod http;
pub mod rpc;

pub mod app;
pub mod config;
