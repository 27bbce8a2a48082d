//! From due tasks to queued runs.
//!
//! Every server plans. A poll asks the store in one statement whether anything is due, changed or orphaned; if so, tasks are locked (each
//! by one server), [their firings](firings) up to the horizon computed, their runs committed, and then queued with the time until each is due, so
//! that a poll each minute still fires on the second. A change through the API is planned at once, by the server that took it. If a server
//! dies between the commit and the queue, the reconciler queues what is missing.

mod firings;
mod planner;
mod tasks;

pub use planner::{Options, Planner};
pub use tasks::{Edit, Tasks, TasksError};
