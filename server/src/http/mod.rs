//! The HTTP door: probes for balancers and supervisors.

mod door;
mod probes;

pub use door::serve;
pub use probes::{Probes, router};
