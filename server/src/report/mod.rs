//! What workers say of their attempts, taken by any server: messages first, then ends. Each item has its own verdict, and may be said again.

mod handle;
mod messages;

pub use handle::{Messages, Report};
