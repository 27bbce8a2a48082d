//! Ends that are told twice, or too late.

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::sleep;

use super::super::arena::{ALL, Arena};
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::hand::{self, Hand};
use super::super::history::Touched;
use super::super::links::Links;
use super::super::moment::Moment;
use super::super::testimony::Word;
use crate::support::{Backend, Link};

const STALE: &str = "marabunta_reports_total{verdict=\"stale\"}";

/// Both servers are told the same ends at the same time, and each of them says that it has them.
pub async fn told_twice_at_once(backend: Backend) -> Finding {
    const RUNS: usize = 20;
    let mut arena = Arena::on(backend).servers(2).witnesses(1).start().await;
    let mut hand = Hand::connect(&arena.servers()[0].url(), RUNS as u64).await;
    let mut shapes = [true, false].map(|durable| arena.shape("w-1", durable, &Deed::default()));
    for shape in &mut shapes {
        (shape.target, shape.workers) = (Hand::NAME.to_owned(), vec![Hand::NAME.to_owned()]);
    }
    let fault = arena.history.apply("ends told twice at once", [Touched::Worker(Hand::NAME.to_owned())]);
    arena.burst(&shapes, RUNS).await;
    let taken = hand.take(RUNS).await;
    let mut unheard = 0;
    for one in taken {
        let witness = hand::witness(&arena, &one);
        witness.begin();
        witness.say(Word::Done);
        let doors: Vec<String> = arena.servers().iter().map(|server| server.url()).cycle().take(4).collect();
        let told = join_all(doors.iter().map(|door| hand::report(door, &one))).await;
        unheard += told.iter().filter(|told| !told.acknowledged).count();
        arena.told(told);
    }
    drop(hand);
    arena.history.heal(fault);
    let (evidence, verdict) = arena.conclude().await;
    let attempts = evidence.records.attempts.len();
    Finding::of(verdict)
        .demand(unheard == 0, format!("{unheard} ends were not acknowledged"))
        .demand(attempts == RUNS, format!("{attempts} attempts of {RUNS} runs are recorded"))
        .seen(format!("{RUNS} ends, each told 4 times at once"))
        .nothing_again()
}

/// A worker finishes what it has while nobody hears it, others do it again, and then it tells its end.
pub async fn told_too_late(backend: Backend) -> Finding {
    let links = Links::default();
    let detour = links.detour(|link| matches!(link, Link::ToServer(name, _) if name == "w-1"));
    let mut arena = Arena::on(backend).witnesses(2).detour(detour).start().await;
    let (gate, open) = (arena.gate("late"), Deed::default());
    let deed = Deed { gate: Some(gate.clone()), ..open };
    let anywhere = [true, false].map(|durable| arena.shape(&format!("any({ALL})"), durable, &deed));
    let runs = arena.burst(&anywhere, 8).await;
    let stale = arena.counted(STALE).await;
    arena.until("w-1 has some", |testimony, one| testimony.worker(one) == "w-1").await;
    sleep(Duration::from_secs(1)).await;
    let fault = arena.history.apply("nothing passes", [Touched::Worker("w-1".to_owned())]);
    let gone = arena.history.applied(fault);
    links.of_worker("w-1").iter().for_each(|proxy| proxy.black_hole());
    // All end now, and nobody hears of those of w-1.
    fs::remove_file(gate).expect("a gate is opened once");
    let mine: Vec<u128> = {
        let testimony = arena.testimony();
        let of = |run: &u128| testimony.of(*run).iter().any(|one| testimony.worker(one) == "w-1");
        runs.iter().map(|run| run.run).filter(of).collect()
    };
    for run in &mine {
        arena
            .until("w-2 has done what w-1 had", |testimony, one| {
                one.run == *run && testimony.worker(one) == "w-2" && one.word == Some(Word::Done)
            })
            .await;
    }
    let again = Moment::now();
    sleep(Duration::from_secs(2)).await;
    let before: Vec<_> = mine.clone();
    links.of_worker("w-1").iter().for_each(|proxy| proxy.heal());
    arena.counted_more(STALE, stale).await;
    arena.cluster.online("w-1").await;
    arena.history.heal(fault);
    let (evidence, verdict) = arena.conclude().await;
    let audited = before.iter().filter(|run| {
        let attempts = evidence.records.attempts.iter().filter(|attempt| attempt.run == **run);
        attempts.count() == 2
    });
    let audited = audited.count();
    Finding::of(verdict)
        .recovered("others have done what it had", Some(again.since(gone)), 30)
        .demand(!mine.is_empty(), "w-1 had nothing")
        .demand(
            audited == mine.len(),
            format!("of {} runs only {audited} have both attempts in their history", mine.len()),
        )
        .seen(format!("{} ends came too late", mine.len()))
}
