//! The checker of the fault campaign, put to the proof: it finds what it is there to find.
//!
//! A server with a bug planted into it is broken as little as brings the bug up, and the verdict must name the invariant that it violates. The
//! same build without the bug, broken in the same way, must be found right: so it is the bug that is found, and not the fault.

#![cfg(feature = "services")]

mod acknowledgements;
mod claims;
mod fences;
mod firings;
mod hints;

use marabunta_tests::faults::arena::{Arena, Plan};
use marabunta_tests::faults::checker::{Invariant, Verdict};
use marabunta_tests::support::{Backend, program};

/// `scenario` violates this with the bug, and nothing without it.
async fn is_found(bug: &str, invariant: Invariant, scenario: impl AsyncFn(Plan) -> Verdict) {
    // Two installations share this thread: neither is to wait while a program is built for the other.
    program::built("witness");
    let plan = |bug| Arena::on(Backend::MariaDbRedis).planted(bug);
    let (with, without) = tokio::join!(Box::pin(scenario(plan(Some(bug)))), Box::pin(scenario(plan(None))));
    let found = with.violations.iter().any(|violation| violation.invariant == invariant);
    assert!(found, "{invariant:?} is not among {:#?}", with.violations);
    assert!(without.violations.is_empty(), "without the bug: {:#?}", without.violations);
}
