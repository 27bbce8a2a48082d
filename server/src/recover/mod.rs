//! What mends itself: lost workers, lost servers, lost queues, steps that were left half done.
//!
//! Every server does all of it, and none of it needs the others to have done theirs: what is found twice is settled once.
//!
//! - [`clock`]: lets go what is due in the queue, and ends what expired, was skipped or cancelled there.
//! - [`missed`]: what was due while nobody was there is let go or skipped, as its task says.
//! - [`reaper`]: sessions past their deadline, and what dispatch found missing, end as lost attempts.
//! - [`rebuild`]: a queue that has lost what it held is filled again from the store.
//! - [`peers`]: which servers live.
//! - [`unqueued`]: what was committed and may not be in the queue is queued as soon as the queue answers.
//! - [`unrecorded`]: ends that only the queue has, as their server died before it could write them.
//! - [`reconcile`]: all other open rows whose run the queue does not have are queued again, or recorded as lost.

pub mod clock;
mod held;
pub mod missed;
pub mod peers;
pub mod reaper;
pub mod rebuild;
pub mod reconcile;
pub mod unqueued;
pub mod unrecorded;
