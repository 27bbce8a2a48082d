//! The means by which an installation is broken.

pub mod proxy;
