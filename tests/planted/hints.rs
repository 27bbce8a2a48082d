use std::time::Duration;

use marabunta_tests::faults::arena::Plan;
use marabunta_tests::faults::checker::{Invariant, Verdict};
use marabunta_tests::faults::deed::Deed;
use marabunta_tests::faults::history::Touched;
use tokio::time::timeout;

use crate::is_found;

#[tokio::test]
async fn a_lost_hint_is_found() {
    is_found("lost-hint", Invariant::Waiting, one_run_for_a_free_worker).await;
}

/// It waits until something else has the server look: here its worker goes and comes back.
async fn one_run_for_a_free_worker(plan: Plan) -> Verdict {
    /// Longer than the checker lets anything wait.
    const WAIT: Duration = Duration::from_secs(16);
    let mut arena = plan.servers(1).witnesses(1).start().await;
    let shape = arena.shape("w-1", true, &Deed::default());
    let run = arena.burst(&[shape], 1).await[0].run;
    let begun = arena.until("the run has begun", |_, one| one.run == run);
    if timeout(WAIT, begun).await.is_err() {
        let fault = arena.history.end("SIGTERM", [Touched::Worker("w-1".to_owned())]);
        arena.worker("w-1").stop().await;
        arena.worker("w-1").restart();
        arena.until("the run has begun", |_, one| one.run == run).await;
        arena.history.heal(fault);
    }
    arena.conclude().await.1
}
