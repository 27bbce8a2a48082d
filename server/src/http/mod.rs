//! The HTTP door: probes for balancers and supervisors, metrics for whoever watches.

mod door;
mod metrics;
mod probes;

pub use door::serve;
pub use probes::{Probes, router};
