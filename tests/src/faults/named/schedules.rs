//! Those who plan race each other, or are away.

use std::time::Duration;

use marabunta_proto::v1::{CatchUp, RunState, TaskSpec};
use marabunta_server::clock;
use tokio::time::sleep;

use super::super::arena::{ALL, Arena};
use super::super::deed::Deed;
use super::super::evidence::Evidence;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::records::Record;
use crate::support::Backend;

/// Planned anew each second, so that a short outage has ticks that nobody planned.
const OFTEN: &str = "--poll-interval=1s";

/// Four servers are held and let go together, again and again: all of them find the same ticks due in the same moment.
pub async fn raced(backend: Backend) -> Finding {
    const TASKS: usize = 10;
    let arena = Arena::on(backend).servers(4).slots(16).witnesses(2).server_argument(OFTEN);
    let mut arena = arena.start().await;
    for number in 0..TASKS {
        let target = ["w-1", &format!("any({ALL})"), &format!("all({ALL})")][number % 3].to_owned();
        let shape = arena.shape(&target, true, &Deed::default());
        arena.each_second(&format!("tick-{number}"), shape).await;
    }
    for _ in 0..8 {
        let fault = arena.history.apply("SIGSTOP", (0..arena.servers().len()).map(Touched::Server));
        arena.servers().iter().for_each(|server| server.pause());
        sleep(Duration::from_millis(1_200)).await;
        arena.servers().iter().for_each(|server| server.resume());
        arena.history.heal(fault);
        sleep(Duration::from_millis(1_300)).await;
    }
    let (evidence, verdict) = arena.conclude().await;
    let (rows, executions) = (verdict.firings, verdict.executions);
    let skipped = evidence.records.ended.iter().filter(|record| is(record, RunState::Skipped)).count();
    Finding::of(verdict)
        .demand(
            rows == executions + skipped,
            format!("{rows} rows, {executions} executions, {skipped} skipped"),
        )
        .seen(format!(
            "{TASKS} tasks, a row for each of {rows} ticks, {executions} executed, {skipped} skipped"
        ))
        .nothing_again()
}

/// Tasks, what they say of missed ticks, and how many of the missed ticks take place at the most.
const POLICIES: [(&str, CatchUp, u32, usize); 4] = [
    ("none", CatchUp::None, 0, 0),
    ("latest", CatchUp::Unspecified, 0, 1),
    ("three", CatchUp::All, 3, 3),
    ("ten", CatchUp::All, 0, 10),
];

/// No server is there while each of these tasks would have fired so often.
const DARK: usize = 60;

pub async fn missed(backend: Backend) -> Finding {
    let arena = Arena::on(backend).slots(16).witnesses(2).server_argument(OFTEN);
    let mut arena = arena.start().await;
    for (name, catch_up, catch_up_max, _) in POLICIES {
        let shape = arena.shape("w-1", true, &Deed::default());
        let other = TaskSpec { catch_up: catch_up.into(), catch_up_max, ..TaskSpec::default() };
        arena.each_second_with(name, shape, other).await;
    }
    sleep(Duration::from_secs(4)).await;
    let fault = arena.history.end("kill -9", (0..arena.servers().len()).map(Touched::Server));
    arena.servers().iter().for_each(|server| server.kill());
    let down = wall();
    sleep(Duration::from_secs(DARK as u64 + 2)).await;
    let up = wall();
    for server in arena.servers() {
        server.restart().await;
    }
    let back = arena.history.heal(fault);
    let ready = wall();
    sleep(Duration::from_secs(10)).await;
    let (evidence, verdict) = arena.conclude().await;

    let mut finding = Finding::of(verdict).nothing_again();
    for (name, _, _, most) in POLICIES {
        let missed: Vec<&Record> = of(&evidence, name).filter(|row| row.due > down && row.due < up).collect();
        let count = |state| missed.iter().filter(|row| is(row, state)).count();
        let (fired, skipped) = (count(RunState::Done), count(RunState::Skipped));
        // The latest of them may have been due while the servers came up.
        let least = most.saturating_sub(usize::try_from((ready - up) / 1_000_000).unwrap_or_default() + 1);
        finding = finding
            .demand(
                (least..=most).contains(&fired),
                format!("{name}: {fired} missed ticks took place, not {most}"),
            )
            .demand(
                missed.len() >= DARK,
                format!("{name}: {} of {DARK} missed ticks are recorded", missed.len()),
            )
            .demand(
                fired + skipped == missed.len(),
                format!("{name}: {fired} took place, {skipped} were skipped"),
            )
            .seen(format!("{name}: {fired} of {} missed ticks took place", missed.len()));
    }
    let first = POLICIES.iter().flat_map(|(name, ..)| of(&evidence, name)).filter(|row| row.due >= ready);
    let first = first.flat_map(|row| evidence.testimony.of(row.run)).map(|one| one.start.since(back)).min();
    // A worker that has been alone for a minute tries again every 30 s at the most.
    finding.recovered("the first tick after it fires", first, 35)
}

fn of<'a>(evidence: &'a Evidence, task: &'a str) -> impl Iterator<Item = &'a Record> {
    evidence.records.ended.iter().filter(move |record| evidence.records.name(record.task) == task)
}

fn is(record: &Record, state: RunState) -> bool {
    i32::from(record.state) == state as i32
}

/// Microseconds since 1970, by the clock that this host shares with its databases.
fn wall() -> i64 {
    clock::wall().timestamp_micros()
}
