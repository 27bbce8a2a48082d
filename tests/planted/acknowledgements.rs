use marabunta_tests::faults::arena::{ALL, Arena, Plan};
use marabunta_tests::faults::checker::{Invariant, Verdict};
use marabunta_tests::faults::deed::Deed;
use marabunta_tests::faults::hand::{self, Hand};
use marabunta_tests::faults::history::Touched;
use marabunta_tests::faults::links::Links;
use marabunta_tests::faults::proxy::{At, Trap};
use marabunta_tests::faults::testimony::Word;
use marabunta_tests::support::Link;

use crate::is_found;

const BUG: &str = "early-acknowledgement";

#[tokio::test]
async fn a_submit_that_is_acknowledged_before_its_commit_is_found() {
    is_found(BUG, Invariant::Lost, a_server_dies_before_it_has_stored_a_run).await;
}

#[tokio::test]
async fn a_result_that_is_acknowledged_before_its_commit_is_found() {
    is_found(BUG, Invariant::Durable, a_server_dies_before_it_has_stored_a_result).await;
}

/// Two servers with proxies before their database, and one worker.
async fn watched(plan: Plan) -> (Arena, Links) {
    let links = Links::default();
    let detour = links.detour(|link| matches!(link, Link::ToStore(_)));
    (plan.servers(2).witnesses(1).detour(detour).start().await, links)
}

/// Of two runs, one for each server, the first server's never comes to the database. Its submitter has an answer before the server dies, or
/// none and asks the other.
async fn a_server_dies_before_it_has_stored_a_run(plan: Plan) -> Verdict {
    let (mut arena, links) = watched(plan).await;
    let mut sprung = links.to_store(0).trap(Trap::request(At::Before, "INSERT INTO open_runs"));
    let fault = arena.history.end("killed before the commit", [Touched::Server(0)]);
    let shape = arena.shape(&format!("any({ALL})"), true, &Deed::default());
    arena.burst(&[shape], 2).await;
    sprung.wait().await;
    arena.servers()[0].kill();
    arena.servers()[0].restart().await;
    arena.history.heal(fault);
    arena.conclude().await.1
}

/// A worker that has no answer tells the other server; one that has an answer has nothing more to tell, and gets the run again.
async fn a_server_dies_before_it_has_stored_a_result(plan: Plan) -> Verdict {
    let (mut arena, links) = watched(plan).await;
    let [first, second] = [0, 1].map(|at| arena.servers()[at].url());
    let mut hand = Hand::connect(&first, 1).await;
    let mut shape = arena.shape(Hand::NAME, true, &Deed::default());
    shape.workers = vec![Hand::NAME.to_owned()];
    arena.burst(&[shape], 1).await;
    let assignment = hand.take(1).await.remove(0);
    let witness = hand::witness(&arena, &assignment);
    witness.begin();
    witness.say(Word::Done);
    let mut sprung = links.to_store(0).trap(Trap::request(At::Before, "INSERT INTO attempts"));
    let fault = arena.history.end("killed before the commit", [Touched::Server(0)]);
    let told = hand::report(&first, &assignment).await;
    sprung.wait().await;
    arena.servers()[0].kill();
    if told.acknowledged {
        drop(witness);
        let again = Hand::connect(&second, 1).await.take(1).await.remove(0);
        let witness = hand::witness(&arena, &again);
        witness.begin();
        witness.say(Word::Done);
        arena.told([hand::report(&second, &again).await]);
    } else {
        arena.told([hand::report(&second, &assignment).await]);
    }
    arena.told([told]);
    arena.servers()[0].restart().await;
    arena.history.heal(fault);
    arena.conclude().await.1
}
