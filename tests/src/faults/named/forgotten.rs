//! Redis forgets a queue in which a great many runs are open.

use std::fs;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::super::arena::{ALL, Arena};
use super::super::deed::Deed;
use super::super::evidence::Evidence;
use super::super::finding::Finding;
use super::super::history::Submission;
use super::super::moment::Moment;
use super::super::testimony::Word;
use super::super::workload::Shape;
use crate::support::Backend;
use crate::support::metrics::Metrics;

const REBUILDS: &str = "marabunta_queue_rebuilds_total";
const DONE: &str = "marabunta_runs_ended_total{reason=\"\",state=\"done\"}";

const WORKERS: usize = 50;
const RUNNING: usize = 1_000;
const WAITING: usize = 99_000;
/// How long it may take until all that waited have ended, and a new one behind them.
const ALL_DONE: Duration = Duration::from_secs(180);
/// How long that is waited for.
const PATIENCE: Duration = Duration::from_secs(300);

/// 1,000 durable runs are with their workers and 99,000 wait. None that runs is started again, all that wait are executed, and what is asked for
/// meanwhile does not wait for them.
pub async fn with_100_000_open(backend: Backend) -> Finding {
    let mut arena = Arena::on(backend).servers(2).slots(20).witnesses(WORKERS + 1).start().await;
    let (busy, idle) = (arena.names[..WORKERS].to_vec(), arena.names[WORKERS].clone());
    let gate = arena.gate("gate");
    let held = Deed { gate: Some(gate.clone()), ..Deed::default() };
    // One in six is for any of the busy ones, and the others are for one of them.
    let anywhere = Shape {
        target: format!("any({ALL},name!={idle})"),
        workers: busy.clone(),
        durable: true,
        ..Shape::default()
    };
    let spread = |deed: &Deed| -> Vec<Shape> {
        let own = busy.iter().map(|name| arena.shape(name, true, deed));
        own.chain((0..10).map(|_| Shape { deed: deed.clone(), ..anywhere.clone() })).collect()
    };
    let (held, short) = (spread(&held), spread(&Deed::default()));
    arena.burst(&held, RUNNING).await;
    let begun = Instant::now();
    // Who has more of its own than slots keeps some waiting, while another has a slot left.
    let most = RUNNING * 9 / 10;
    while arena.testimony().executions.len() < most {
        assert!(begun.elapsed() < PATIENCE, "{most} runs have not begun after {PATIENCE:?}");
        sleep(Duration::from_millis(100)).await;
    }
    arena.burst(&short, WAITING).await;

    let rebuilds = counted(&arena, REBUILDS).await;
    let mut redis = arena.cluster.redis().connect().await;
    let fault = arena.history.forget("FLUSHALL");
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis answers");
    let back = arena.history.heal(fault);
    let fresh = |name: &str| [true, false].map(|durable| arena.shape(name, durable, &Deed::default()));
    let (first, behind) = (fresh(&idle), fresh(&busy[0]));
    let loads = [arena.load(first.into(), 10.0), arena.load(behind.into(), 2.0)];
    until(&arena, REBUILDS, rebuilds + 1.0).await;
    let rebuilt = Moment::now().since(back);
    // Whoever runs has been adopted by now, or would be started again.
    sleep(Duration::from_secs(12)).await;
    let opened = Moment::now();
    fs::remove_file(gate).expect("the gate is there");
    until(&arena, DONE, (RUNNING + WAITING) as f64).await;
    for load in loads {
        arena.stop(load).await;
    }
    let (evidence, verdict) = arena.conclude().await;
    let last = ends(&evidence, |submission, _| submission.asked < back).map(|(_, end)| end).max();
    let executed = last.map_or(Duration::MAX, |last| last.since(opened));
    let slowest = |of: &str| {
        let new = ends(&evidence, |one, shape| one.asked >= back && shape.target == of);
        new.map(|(asked, end)| end.since(asked)).max().unwrap_or(Duration::MAX)
    };
    let (free, backlog) = (slowest(&idle), slowest(&busy[0]));
    Finding::of(verdict)
        .recovered("the first new run is done", evidence.first_end_after(back), 5)
        .measure(free < Duration::from_secs(10), format!("a new run had ended after {free:.1?} only"))
        .measure(
            executed < ALL_DONE,
            format!("what had waited took {executed:.1?}, and may take {ALL_DONE:?}"),
        )
        .measure(
            backlog < ALL_DONE,
            format!("a new run behind others took {backlog:.1?}, and may take {ALL_DONE:?}"),
        )
        .seen(format!("rebuilt after {rebuilt:.1?}; all had ended {executed:.1?} after the slots were free"))
        .seen(format!("a new run took at most {free:.1?}, behind a backlog {backlog:.1?}"))
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
fn ends(
    evidence: &Evidence,
    which: impl Fn(&Submission, &Shape) -> bool,
) -> impl Iterator<Item = (Moment, Moment)> {
    evidence.accepted().filter(move |(one, shape)| which(one, shape)).flat_map(|(one, _)| {
        let executions = evidence.testimony.of(one.run).iter();
        executions.filter(|one| one.word == Some(Word::Done)).map(|done| (one.asked, done.end))
    })
}
