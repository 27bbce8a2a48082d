//! The gRPC door: decode, hand to the owner, encode. No state and no policy of its own.
//!
//! [`principal`] says who calls, [`convert`] turns proto into the domain's types and back, [`status`] is the one table from errors to codes;
//! the services are [`runs`], [`tasks`], [`workers`] and [`dispatch`], served by [`Door`].

mod caught;
pub mod convert;
mod dispatch;
mod door;
mod health;
mod principal;
mod runs;
mod status;
mod tasks;
mod workers;

pub use door::{Door, Rooms};
pub use health::Health;
pub use principal::{Access, Tokens, TokensError};
