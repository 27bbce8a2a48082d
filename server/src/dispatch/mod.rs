//! The sessions of this server's workers, and the one loop that owns them.
//!
//! A door hands over a worker's Hello and its stream ([`Dispatch::connect`]). The [owner](owner) opens the session in the queue, puts it on the
//! [board](board), and from then on claims work for it whenever a hint or a credit says that there may be some: wait for an event, decide
//! (the board, a synchronous state without I/O), act. What it finds (an attempt that was never accepted, one that the worker does not have)
//! goes to the room that mends it as a [`Finding`]; it knows the queue and sessions, never the store.

mod assign;
mod board;
mod event;
mod finding;
mod flapping;
mod handle;
mod message;
mod owner;
mod session;

pub use event::ConnectError;
pub use finding::{Finding, Started};
pub use handle::Dispatch;
pub use message::{Assignment, FromWorker, Hello, ToWorker};
pub use owner::{Options, Owner};
pub use session::HEARTBEAT;
