use std::fs;
use std::time::Duration;

use anyhow::ensure;
use marabunta_tests::faults::arena::Plan;
use marabunta_tests::faults::checker::{Invariant, Verdict};
use marabunta_tests::faults::deed::Deed;
use marabunta_tests::faults::history::Touched;
use marabunta_tests::faults::records;
use marabunta_tests::support::eventually;

use crate::is_found;

#[tokio::test]
async fn a_pop_before_the_record_is_found() {
    is_found("pop-before-record", Invariant::Lost, a_worker_dies_with_what_it_took).await;
}

/// A fast run: of a durable one the store would make up for what the queue has lost.
async fn a_worker_dies_with_what_it_took(plan: Plan) -> Verdict {
    // Of the run that is lost the store learns a minute later.
    let mut arena = plan.servers(1).witnesses(1).patience(Duration::from_secs(15)).start().await;
    let gate = arena.gate("claim");
    let shape = arena.shape("w-1", false, &Deed { gate: Some(gate.clone()), ..Deed::default() });
    let run = arena.burst(&[shape], 1).await[0].run;
    arena.until("the run has begun", |_, one| one.run == run).await;
    eventually("the run is in the store", async || {
        ensure!(records::still_open(&arena.cluster.store()).await?.contains(&run), "it is not");
        Ok(())
    })
    .await;
    let fault = arena.history.end("kill -9", [Touched::Worker("w-1".to_owned())]);
    arena.worker("w-1").kill();
    fs::remove_file(gate).expect("a gate is opened once");
    arena.worker("w-1").restart();
    arena.cluster.online("w-1").await;
    arena.history.heal(fault);
    arena.conclude().await.1
}
