//! Any sequence of calls, with requests, answers and callers that get lost, by servers and workers that come and go: after each call the
//! queue says what the [reference] says, fences grow, a run ends once, and in the end nothing is left.
//!
//! A sequence that fails is made as short as it can be and printed with the seed that repeats it. `MARABUNTA_TEST_SEED` is that seed,
//! `MARABUNTA_TEST_CASES` is how many sequences are tried.

mod call;
mod judge;
mod operation;
mod play;
mod reference;

use std::time::Duration;

use marabunta_tests::support::seeded;
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::bench::Bench;
use judge::limits;
use play::Play;

/// Operations of one case at the most.
const LENGTH: usize = 150;
/// How long a case may take.
const PATIENCE: Duration = Duration::from_secs(3600);

#[test]
fn the_queue_in_memory_is_the_reference_whatever_gets_lost() {
    seeded::check(150, &operation::sequence(LENGTH), |operations| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(play(Bench::in_memory_with(limits()), &operations));
    });
}

#[cfg(feature = "services")]
#[test]
fn redis_is_the_reference_whatever_gets_lost() {
    on_redis(1);
}

#[cfg(feature = "services")]
#[test]
fn redis_in_shards_is_the_reference_whatever_gets_lost() {
    on_redis(3);
}

#[cfg(feature = "services")]
fn on_redis(shards: u16) {
    // The shared Redis lives in the runtime in which it was started.
    let runtime = Runtime::new().unwrap();
    seeded::check(12, &operation::sequence(LENGTH), |operations| {
        runtime.block_on(async { play(Bench::redis_with(shards, limits()).await, &operations).await });
    });
}

async fn play(bench: Bench, operations: &[operation::Operation]) {
    let case = Play::new(bench).through(operations);
    timeout(PATIENCE, case).await.expect("a case comes to an end");
}
