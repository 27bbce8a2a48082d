//! The server: reads schedules, queues what is due, streams it to workers and keeps what became of it.
//!
//! Rooms, in the order in which a run passes through them: [`plan`] and [`submit`] make runs, [`queue`] holds them, [`dispatch`] gives them to
//! workers, [`report`] takes what workers say, [`store`] keeps it, [`follow`] tells whoever waits, [`recover`] mends what broke on the way.

pub mod clock;
pub mod run;
pub mod task;

pub mod queue;
