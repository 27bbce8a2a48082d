//! How a worker runs a command and contains it.
//!
//! ```text
//! HandlerConfig + payload --.                                     .--> Piece, Piece, .. (output, bounded channel)
//!                            >-- Command --> run(.., Containment) -+
//! FreeCommand (payload) ----'          supervisor, a process      '--> Exit (how it ended, what it used)
//! ```
//!
//! What always holds:
//!
//! * A command is an argument vector, never a line for a shell; its environment is built anew, never inherited.
//! * When [`run`] returns, nothing that the command started is alive, whichever way it ended: left-over
//!   descendants of a command that ended well are killed too. [`Exit::survivors`] names the one exception.
//! * Memory is bounded by [`Limits::output`] however much is printed and however slowly it is received.
//! * Time-out and cancellation work whatever the command, its children and the receiver of its output do.
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
mod output;
mod process;
mod quantity;
mod run;
mod start;
pub mod supervisor;
mod template;

pub use account::{AccountError, UserSpec};
pub use command::{Command, CommandError, Limits};
pub use containment::{Containment, ContainmentError, Method};
pub use exit::{Ending, Exit};
pub use free_command::FreeCommand;
pub use handler::{HandlerConfig, HandlerError, StdinSource};
pub use output::Piece;
pub use quantity::{ByteSize, QuantityError, Span};
pub use run::run;
pub use template::{ArgumentTemplate, TemplateError};
