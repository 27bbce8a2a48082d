use marabunta_tests::faults::arena::Plan;
use marabunta_tests::faults::checker::{Invariant, Verdict};
use marabunta_tests::faults::deed::Deed;
use marabunta_tests::faults::hand::{self, Hand};
use marabunta_tests::faults::history::Touched;
use marabunta_tests::faults::testimony::Word;

use crate::is_found;

#[tokio::test]
async fn an_unfenced_report_is_found() {
    is_found("unfenced-report", Invariant::Twice, an_end_is_told_after_the_next_attempt_has_begun).await;
}

async fn an_end_is_told_after_the_next_attempt_has_begun(plan: Plan) -> Verdict {
    let mut arena = plan.servers(1).start().await;
    let server = arena.servers()[0].url();
    let mut shape = arena.shape(Hand::NAME, true, &Deed::default());
    shape.workers = vec![Hand::NAME.to_owned()];
    let mut first = Hand::connect(&server, 1).await;
    arena.burst(&[shape], 1).await;
    let early = first.take(1).await.remove(0);
    let witness = hand::witness(&arena, &early);
    witness.begin();
    witness.say(Word::Done);
    drop(witness);
    // It comes back without what it had, and so gets it again.
    let fault = arena.history.end("session lost", [Touched::Worker(Hand::NAME.to_owned())]);
    drop(first);
    let late = Hand::connect(&server, 1).await.take(1).await.remove(0);
    arena.history.heal(fault);
    let witness = hand::witness(&arena, &late);
    witness.begin();
    let told = hand::report(&server, &early).await;
    witness.say(Word::Done);
    arena.told([told, hand::report(&server, &late).await]);
    arena.conclude().await.1
}
