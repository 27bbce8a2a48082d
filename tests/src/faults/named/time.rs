//! Clocks that jump: an hour ahead, an hour behind, and right again. No time-table may notice, and no lease.

use std::time::Duration;

use marabunta_server::clock;
use tokio::time::sleep;

use super::super::arena::{Arena, Plan};
use super::super::clock::FakeClock;
use super::super::deed::Deed;
use super::super::evidence::Evidence;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::moment::Moment;
use super::super::witness::HANDLER;
use crate::support::Backend;

/// In seconds beside the true time, one after the other.
const JUMPS: [i64; 3] = [3_600, -3_600, 0];
/// How long each of them stays.
const STAYS: Duration = Duration::from_secs(12);

/// The wall clock of one server.
pub async fn of_a_server(backend: Backend) -> Finding {
    let clock = FakeClock::new();
    jumping(Arena::on(backend).server_clock(0, &clock).witnesses(2), &clock, Touched::Server(0)).await
}

/// The wall clock of a host with an SDK worker, and of one with a daemon.
pub async fn of_workers(backend: Backend) -> Finding {
    let clock = FakeClock::new();
    let seen = |worker: crate::support::worker::WorkerOptions| {
        clock.environment().into_iter().fold(worker, |worker, (name, value)| {
            worker.variable(name.to_str().expect("these names are ASCII"), value)
        })
    };
    let plan = Arena::on(backend).witness(seen).daemon("d-1", &[HANDLER], seen).witnesses(1);
    jumping(plan, &clock, Touched::Worker("w-1".to_owned())).await
}

async fn jumping(plan: Plan, clock: &FakeClock, touched: Touched) -> Finding {
    let mut arena = plan.start().await;
    let tick = arena.shape("w-1", true, &Deed::default());
    arena.each_second("tick", tick).await;
    let mix = arena.mix(&Deed::taking(Duration::from_millis(200)));
    let load = arena.load(mix, 10.0);
    sleep(Duration::from_secs(4)).await;
    let mut back = Moment::now();
    for seconds in JUMPS {
        let fault = arena.history.apply(&format!("clock {seconds:+} s"), [touched.clone()]);
        clock.offset(seconds);
        sleep(STAYS).await;
        back = arena.history.heal(fault);
    }
    sleep(Duration::from_secs(3)).await;
    arena.stop(load).await;
    let panicked = arena.servers().iter().any(|server| server.log().contains("panicked"));
    let alive = arena.names.iter().all(|name| arena.worker(name).is_running());
    let (evidence, verdict) = arena.conclude().await;
    let (firings, early) = (verdict.firings, early(&evidence));
    Finding::of(verdict)
        .recovered("the first new run is done", evidence.first_end_after(back), 5)
        .demand(!panicked, "a server panicked")
        .demand(alive, "a worker has ended")
        .demand(early == 0, format!("{early} firings began before they were due"))
        .demand(firings > 30, format!("only {firings} firings"))
        .seen(format!("{firings} firings, one a second"))
        .nothing_again()
}

/// How many firings began before they were due, by the true time, which is that of the database. A second is for the machine's own clock.
fn early(evidence: &Evidence) -> usize {
    let (now, wall) = (Moment::now(), clock::wall().timestamp_micros());
    let due = |moment: Moment| wall - i64::try_from(now.since(moment).as_micros()).unwrap_or(i64::MAX);
    let fired = evidence.records.ended.iter().filter(|record| record.task != 0);
    fired
        .filter(|record| {
            let first = evidence.testimony.of(record.run).first();
            first.is_some_and(|first| due(first.start) + 1_000_000 < record.due)
        })
        .count()
}
