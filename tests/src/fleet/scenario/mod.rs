//! What a fleet does to an installation.

mod churn;
mod herd;
mod idle;
mod slow_readers;
mod stage;

pub use churn::{Churn, churn};
pub use herd::{Disaster, Herd, herd};
pub use idle::{Idle, idle};
pub use slow_readers::{SlowReaders, slow_readers};
pub use stage::Stage;
