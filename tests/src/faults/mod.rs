//! The means by which an installation is broken.

pub mod clock;
pub mod disk;
pub mod network;
pub mod proxy;
