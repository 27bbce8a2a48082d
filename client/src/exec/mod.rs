//! How a worker runs a command and contains it.
//!
//! ```text
//! HandlerConfig + payload --.                                 .--> Piece, Piece, .. (output)
//!                            >-- Command --> Supervised ------+
//! FreeCommand (payload) ----'       a supervisor, a process   '--> Exit (how it ended, what it used)
//! an earlier daemon's ------ Orphan --^
//! ```
//!
//! What always holds:
//!
//! * A command is an argument vector, never a line for a shell; its environment is built anew, never inherited.
//! * When an [`Exit`] is told, nothing that the command started is alive, whichever way it ended: left-over
//!   descendants of a command that ended well are killed too. [`Exit::survivors`] names the one exception.
//! * Memory is bounded by [`Limits::output`] however much is printed and however slowly it is received.
//! * Time-out and cancellation work whatever the command, its children and the receiver of its output do.
//! * A command outlives the daemon that started it, and the next daemon hears each word of it, the end too, that is not in safe hands:
//!   once, in order, and under the same number.
//!
//! [`Containment`] says how a tree of processes is kept together and what can escape it. This module needs
//! Linux 5.3 or later (pidfd), a cgroup 5.14 (`cgroup.kill`).

mod account;
mod cgroup;
mod command;
mod containment;
mod environment;
mod exit;
mod free_command;
mod handle;
mod handler;
mod orphan;
mod output;
mod process;
mod quantity;
mod start;
mod supervised;
pub mod supervisor;
mod template;

pub use account::{AccountError, UserSpec};
pub use command::{Command, CommandError, Limits};
pub use containment::{Containment, ContainmentError, Method};
pub use exit::{Ending, Exit};
pub use free_command::FreeCommand;
pub use handler::{HandlerConfig, HandlerError, StdinSource};
pub use orphan::Orphan;
pub use output::Piece;
pub use quantity::{ByteSize, QuantityError, Span};
pub use supervised::{Said, Supervised};
pub use template::{ArgumentTemplate, TemplateError};
