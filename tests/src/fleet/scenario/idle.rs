//! Nothing but being connected, and a little work: what a fleet costs by itself.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Stage;
use crate::fleet::Plan;
use crate::fleet::audit::{percentile, waits};
use crate::fleet::load::Wish;
use crate::fleet::verdict::{Outcome, seconds};

/// What to do.
#[derive(Clone, Debug)]
pub struct Idle {
    pub plan: Plan,
    pub members: usize,
    /// Runs a second.
    pub rate: u32,
    pub time: Duration,
}

/// Runs it.
pub async fn idle(idle: &Idle) -> anyhow::Result<Outcome> {
    let mut stage = Stage::set(&idle.plan, idle.members, 4).await?;
    sleep(Duration::from_secs(5)).await;
    let (before, processor, from) = (stage.memory(), stage.processor(), Instant::now());
    sleep(idle.time).await;
    let share = (stage.processor() - processor).as_secs_f64() / from.elapsed().as_secs_f64();
    stage.outcome.figure("memory_mib", before);
    stage.outcome.figure("idle_processor", (share * 100.0).round() / 100.0);
    let (members, from, processor) = (idle.members, Instant::now(), stage.processor());
    let flow = stage.load.flow(idle.rate, move |turn| Wish::mixed(turn, members, 100));
    sleep(idle.time).await;
    let (share, to) =
        ((stage.processor() - processor).as_secs_f64() / from.elapsed().as_secs_f64(), Instant::now());
    flow.stop().await;
    sleep(Duration::from_secs(2)).await;
    let waits = waits(&stage.load.all(), stage.testimony(), from, to, |_| true);
    stage.outcome.figure("busy_processor", (share * 100.0).round() / 100.0);
    stage.outcome.figure("runs", waits.len());
    for (name, at) in [("start_p50_s", 0.5), ("start_p99_s", 0.99), ("start_max_s", 1.0)] {
        stage.outcome.figure(name, seconds(percentile(&waits, at)));
    }
    let after = stage.memory();
    stage.outcome.measure(
        "memory is flat",
        format!("{before} then {after} MiB"),
        after <= before * 1.25 + 32.0,
    );
    Ok(stage.close().await)
}
