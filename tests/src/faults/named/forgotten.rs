//! Redis forgets a queue in which a great many runs are open.

use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::arena::Arena;
use super::super::deed::Deed;
use super::super::evidence::Evidence;
use super::super::finding::Finding;
use super::super::history::Submission;
use super::super::moment::Moment;
use super::super::testimony::Word;
use crate::support::Backend;
use crate::support::metrics::Metrics;

const REBUILDS: &str = "marabunta_queue_rebuilds_total";
const DONE: &str = "marabunta_runs_ended_total{state=\"done\",reason=\"\"}";

const WORKERS: usize = 50;
const RUNNING: usize = 1_000;
const WAITING: usize = 99_000;
/// How long it may take until all have ended.
const PATIENCE: Duration = Duration::from_secs(600);

/// 1,000 durable runs are with their workers and 99,000 wait. None that runs is started again, all that wait are executed, and what is asked for
/// meanwhile does not wait for them.
pub async fn with_100_000_open(backend: Backend) -> Finding {
    let mut arena = Arena::on(backend).servers(2).slots(20).witnesses(WORKERS + 1).start().await;
    let (busy, idle) = (arena.names[..WORKERS].to_vec(), arena.names[WORKERS].clone());
    let gate = arena.gate("gate");
    let held = Deed { gate: Some(gate.clone()), ..Deed::default() };
    let held: Vec<_> = busy.iter().map(|name| arena.shape(name, true, &held)).collect();
    arena.burst(&held, RUNNING).await;
    arena.until("all slots are taken", |testimony, _| testimony.executions.len() == RUNNING).await;
    let short: Vec<_> = busy.iter().map(|name| arena.shape(name, true, &Deed::default())).collect();
    arena.burst(&short, WAITING).await;

    let rebuilds = counted(&arena, REBUILDS).await;
    let mut redis = arena.cluster.redis().connect().await;
    let fault = arena.history.forget("FLUSHALL");
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis answers");
    let back = arena.history.heal(fault);
    let fresh = [true, false].map(|durable| arena.shape(&idle, durable, &Deed::default()));
    let load = arena.load(fresh.into(), 10.0);
    until(&arena, REBUILDS, rebuilds + 1.0).await;
    let rebuilt = Moment::now().since(back);
    // Whoever runs has been adopted by now, or would be started again.
    sleep(Duration::from_secs(12)).await;
    let opened = Moment::now();
    fs::remove_file(gate).expect("the gate is there");
    until(&arena, DONE, (RUNNING + WAITING) as f64).await;
    arena.stop(load).await;
    let (evidence, verdict) = arena.conclude().await;
    let executed =
        ends(&evidence, |submission| submission.asked < back).max().map(|(_, end)| end.since(opened));
    let slowest = ends(&evidence, |submission| submission.asked >= back)
        .map(|(asked, end)| end.since(asked))
        .max()
        .unwrap_or(Duration::MAX);
    Finding::of(verdict)
        .recovered("the first new run is done", evidence.first_end_after(back), 5)
        .demand(slowest < Duration::from_secs(10), format!("a new run had ended after {slowest:.1?} only"))
        .seen(format!("rebuilt after {rebuilt:.1?}; all had ended {executed:.1?} after the slots were free"))
        .seen(format!("the slowest new run took {slowest:.1?}"))
        .nothing_again()
}

async fn counted(arena: &Arena, series: &str) -> f64 {
    Metrics::sum(arena.servers()).await.expect("the servers tell what they count").get(series)
}

async fn until(arena: &Arena, series: &str, count: f64) {
    let began = Instant::now();
    while counted(arena, series).await < count {
        assert!(began.elapsed() < PATIENCE, "{series} is not {count} after {PATIENCE:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// When these were asked for, and when they had ended well.
fn ends(evidence: &Evidence, which: impl Fn(&Submission) -> bool) -> impl Iterator<Item = (Moment, Moment)> {
    evidence.submissions.iter().filter(move |one| one.run != 0 && which(one)).flat_map(|one| {
        let executions = evidence.testimony.of(one.run).into_iter();
        executions.filter(|one| one.word == Some(Word::Done)).map(|done| (one.asked, done.end))
    })
}
