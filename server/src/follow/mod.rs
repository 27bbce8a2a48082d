//! Whoever waits for a run or reads its output, on any server.
//!
//! What people see of a run is put together from the queue, which knows where an open run is now, and the store, which knows what has been
//! ([`View`]). A follower reads from a cursor on, and is woken by a hint; a slow look stands behind each hint. A run nobody follows pays
//! nothing.

mod handle;
mod stream;
mod transition;
mod view;
mod waiting;
mod watch;

pub use handle::{Follow, FollowError};
pub use stream::{Cursor, CursorError, Event};
pub use transition::Transition;
pub use view::View;
