use marabunta_tests::faults::arena::{ALL, Plan};
use marabunta_tests::faults::checker::{Invariant, Verdict};
use marabunta_tests::faults::deed::Deed;

use crate::is_found;

#[tokio::test]
async fn a_double_firing_is_found() {
    is_found("double-firing", Invariant::Firings, two_servers_plan_the_same_ticks).await;
}

/// For an `all(..)` each plan goes through what is queued ahead again, as a worker may be new.
async fn two_servers_plan_the_same_ticks(plan: Plan) -> Verdict {
    let mut arena = plan.servers(2).witnesses(1).server_argument("--poll-interval=1s").start().await;
    let each = arena.shape(&format!("all({ALL})"), true, &Deed::default());
    arena.each_second("tick", each).await;
    arena.until("it has fired for some seconds", |testimony, _| testimony.executions.len() > 5).await;
    arena.conclude().await.1
}
