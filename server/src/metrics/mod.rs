//! What happened here, counted since this process began, and how things stand; told at `/metrics` in the text format of Prometheus.
//!
//! Each is counted once, at the one place where it happens, by the server that does it: the sum over servers is what happened, and what a
//! second server finds done is not counted again. A server that dies between a step and its count takes the count along.
//!
//! [`Metrics`] is made by the composition root and handed down; there is no global registry. Every series is resolved when it is made: to count
//! is to add to an atomic number. Names, labels and meaning of all: `docs/metrics.md`.

mod counted;
mod family;
mod labels;
mod page;

pub use counted::Metrics;
pub use family::{Family, Label};
pub use labels::{Judged, Loss, PanicIn, Reconciled, Requeue, RunEnd, SessionEnd, SessionRefused, Submitted};
pub use page::Page;
