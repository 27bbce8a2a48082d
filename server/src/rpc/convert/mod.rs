//! Proto to domain and back. Every limit that the proto files name is enforced here, each with an error that says which field, which value
//! and what would be right.

mod dispatch;
mod exec;
mod invalid;
mod job;
mod json;
mod page;
mod report;
mod run;
mod run_list;
mod submit;
mod task;
mod task_update;
mod time;
mod what;
mod worker;

pub use dispatch::{FromWire, first, from_worker, to_worker};
pub use invalid::Invalid;
pub use page::page_size;
pub use report::Reported;
pub use run::{follow_event, run, run_detail};
pub use run_list::run_filter;
pub use submit::{accepted, idempotency_key, request};
pub use task::{TaskDraft, bad_task, draft, task};
pub use task_update::update;
pub use worker::worker;
