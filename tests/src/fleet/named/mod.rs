//! Named faults that need members rather than hosts: what must happen, as an [`Outcome`](super::Outcome) of each.

mod lost_wakeup;
mod offline_host;
mod same_name;

pub use lost_wakeup::lost_wakeup;
pub use offline_host::offline_host;
pub use same_name::same_name;
