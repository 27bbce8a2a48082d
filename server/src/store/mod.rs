//! The store: what must outlive every process, and the only place with SQL.
//!
//! A run enters as a row of `open_runs` ([`NewRun`]), is marked when a worker accepts it ([`Started`]), and leaves in one transaction with
//! the end of its last attempt for `runs`, the history ([`EndedAttempt`], [`EndedRun`]). Tasks are rows that people also write by plain SQL;
//! [`PlanBatch`] finds what is due or was changed. All times are the store's own: [`Store::now`].
//!
//! One set of queries serves MySQL 8, MariaDB 10.6 and SQLite through sqlx's `Any`. What they do not share is in `dialect`. Every write is a
//! batch in one transaction: lock by primary key, decide in Rust, write; a deadlock or a lost race for a key is tried again with jitter. Each
//! call may have been carried out though it failed, and can be repeated.

mod clock;
mod database;
mod dialect;
mod error;
mod migrate;
mod retry;
mod sql;
mod time;

mod meta;
mod payloads;

mod columns;
mod ending;
mod entry;
mod finish;
mod history;
mod open;

mod messages;
mod workers;

mod mirror;
mod planned;
mod planning;
mod task_row;
mod tasks;

mod prune;

pub use database::{Store, StoreOptions, StoreUrl, StoreUrlError};
pub use error::StoreError;
pub use finish::{EndedAttempt, EndedRun, Recorded};
pub use history::{AttemptView, Cursor, CursorError, RunFilter, RunPage, RunView};
pub use messages::{Message, MessageBatch, MessageKind, StoredMessage};
pub use mirror::Mirror;
pub use open::{Inserted, NewRun, OpenRun, Started};
pub use planned::Committed;
pub use planning::{Peek, PlanBatch, PlanTask, Planned};
pub use prune::Retention;
pub use task_row::BadTask;
pub use tasks::TaskPage;
pub use workers::{Registered, Registration, WorkerPage, WorkerRow};
