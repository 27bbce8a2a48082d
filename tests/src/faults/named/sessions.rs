//! Sessions that end because they are old.

use std::time::Duration;

use tokio::time::sleep;

use super::super::arena::Arena;
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::moment::Moment;
use crate::support::Backend;

const OPENED: &str = "marabunta_sessions_opened_total";

/// Each worker opens a new session before it leaves the old one, again and again, under load.
pub async fn aged(backend: Backend) -> Finding {
    let plan = Arena::on(backend).server_argument("--session-age").server_argument("15s");
    let mut arena = plan.witnesses(4).start().await;
    let opened = arena.counted(OPENED).await;
    let mix = arena.mix(&Deed::taking(Duration::from_millis(20)));
    let long = arena.mix(&Deed::taking(Duration::from_secs(5)));
    let tick = arena.shape("w-1", true, &Deed::default());
    arena.each_second("tick", tick).await;
    let began = Moment::now();
    let loads = [arena.load(mix, 30.0), arena.load(long, 2.0)];
    sleep(Duration::from_secs(50)).await;
    for load in loads {
        arena.stop(load).await;
    }
    let swapped = arena.counted(OPENED).await - opened;
    let (evidence, verdict) = arena.conclude().await;
    // No fault explains a loss here, and none a gap: the longest time in which nothing began.
    let starts: Vec<Moment> = {
        let mut starts: Vec<_> = evidence.testimony.executions.iter().map(|one| one.start).collect();
        starts.retain(|start| *start > began);
        starts.sort_unstable();
        starts
    };
    let gap = starts.windows(2).map(|pair| pair[1].since(pair[0])).max().unwrap_or_default();
    Finding::of(verdict)
        .recovered("the longest time in which nothing began", Some(gap), 5)
        .demand(swapped >= 8.0, format!("only {swapped} sessions were opened anew"))
        .seen(format!("{swapped} sessions of 4 workers opened anew"))
        .nothing_again()
}
