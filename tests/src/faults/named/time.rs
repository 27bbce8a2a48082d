//! Clocks that jump.

use std::time::Duration;

use tokio::time::sleep;

use super::super::arena::Arena;
use super::super::clock::FakeClock;
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::Touched;
use crate::support::Backend;

/// The clock of one server is an hour ahead, then an hour behind, then right again. No time-table may notice, and no lease.
pub async fn wall_clock(backend: Backend) -> Finding {
    let clock = FakeClock::new();
    let mut arena = Arena::on(backend).server_clock(0, &clock).witnesses(2).start().await;
    let tick = arena.shape("w-1", true, &Deed::default());
    arena.each_second("tick", tick).await;
    let mix = arena.mix(&Deed::taking(Duration::from_millis(200)));
    let load = arena.load(mix, 10.0);
    sleep(Duration::from_secs(4)).await;
    let mut back = super::super::moment::Moment::now();
    for seconds in [3_600, -3_600, 0] {
        let fault = arena.history.apply(&format!("clock {seconds:+} s"), [Touched::Server(0)]);
        clock.offset(seconds);
        sleep(Duration::from_secs(12)).await;
        back = arena.history.heal(fault);
    }
    sleep(Duration::from_secs(3)).await;
    arena.stop(load).await;
    let alive = arena.servers().iter().all(|server| !server.log().contains("panicked"));
    let (evidence, verdict) = arena.conclude().await;
    let firings = verdict.firings;
    Finding::of(verdict)
        .recovered("the first new run is done", evidence.first_end_after(back), 5)
        .demand(alive, "a server panicked")
        .demand(firings > 30, format!("only {firings} firings"))
        .seen(format!("{firings} firings, one a second"))
        .nothing_again()
}
