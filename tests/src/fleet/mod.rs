//! A fleet in one process: thousands of workers, each a real one of the SDK with a connection and a session of its own, and no host.
//!
//! ```text
//! Installation: servers, stores, balancers ---+                     +--- Load submits, keeps what was accepted
//!                                             |<== one TCP each ==> Fleet of Members
//! Watch: memory, probes, sessions ------------+                     +--- their handler writes Testimony: what began and ended where
//!                                                                        Audit holds one against the other: lost, doubled
//! ```
//!
//! A [`scenario`] breaks something and gives [`Verdict`](verdict::Verdict)s. Each member dials through a [`valve`]: it can be cut from its
//! server, and it can be kept from reading its socket.

pub mod valve;

pub mod deaf;
pub mod member;
pub mod testimony;

pub mod crew;
pub mod load;

pub mod installation;
pub mod watch;

pub mod audit;
pub mod named;
pub mod scenario;
pub mod verdict;

pub use crew::Fleet;
pub use installation::{Installation, Plan};
pub use verdict::{Outcome, Verdict};
