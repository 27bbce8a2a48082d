//! Some members stop reading their sockets with much queued for them; the others must not notice.

use std::time::Duration;

use marabunta_proto::v1::Durability;
use tokio::time::{Instant, sleep};

use super::Stage;
use crate::fleet::audit::{percentile, waits};
use crate::fleet::deaf::Deaf;
use crate::fleet::load::Wish;
use crate::fleet::verdict::{Outcome, seconds};
use crate::fleet::{Plan, member};
use crate::support::eventually_within;

/// How soon a server must have closed what does not read: it asks after 20 s, and waits 10 s for an answer.
const CLOSED: Duration = Duration::from_secs(40);

/// What to do.
#[derive(Clone, Debug)]
pub struct SlowReaders {
    pub plan: Plan,
    pub members: usize,
    /// Members that stop reading.
    pub slow: usize,
    /// Runs that are queued for them, shared out evenly.
    pub queued: usize,
    /// Runs a second for the others.
    pub rate: u32,
    pub time: Duration,
}

/// Runs it. The first members stop reading; as many peers that are no proper workers join them: those go on to say that they live, whatever
/// they do not read.
pub async fn slow_readers(scenario: &SlowReaders) -> anyhow::Result<Outcome> {
    let SlowReaders { members, slow, time, .. } = *scenario;
    let mut stage = Stage::set(&scenario.plan, members, 4).await?;
    let flow = stage.load.flow(scenario.rate, move |turn| healthy(turn, members, slow));
    sleep(time / 4).await;
    let (before, quiet) = (stage.memory(), Instant::now() - time / 4);
    let from = Instant::now();

    for number in 0..slow {
        stage.fleet.with(number, |member| member.valve.shut(true));
    }
    let config = stage.installation.configs().swap_remove(0);
    let deaf: Vec<_> = (0..slow).map(|number| Deaf::start(number, &config)).collect();
    eventually_within(Duration::from_secs(30), "the deaf are connected", async || {
        let connected = deaf.iter().filter(|deaf| deaf.is_connected()).count();
        anyhow::ensure!(connected == deaf.len(), "{connected} of {}", deaf.len());
        Ok(())
    })
    .await;
    deaf.iter().for_each(Deaf::stop_reading);
    let stopped = Instant::now();
    let wishes = (0..scenario.queued).map(|turn| Wish::of(turn % slow, 1));
    let theirs = stage.load.submit(wishes.collect()).await;
    let mut peak = stage.memory();
    let mut closed = None;
    while stopped.elapsed() < time.max(CLOSED) {
        sleep(Duration::from_millis(250)).await;
        peak = peak.max(stage.memory());
        if closed.is_none() && deaf.iter().all(|deaf| deaf.was_closed()) {
            closed = Some(stopped.elapsed());
        }
    }
    let to = Instant::now();
    let open = deaf.iter().filter(|deaf| !deaf.was_closed()).count();
    let begun = theirs.iter().filter(|run| !stage.testimony().of(run).is_empty()).count();
    drop(deaf);

    stage.fleet.open_valves(0..slow, from);
    flow.stop().await;
    stage.quiet().await;
    let after = stage.memory();
    let all = stage.load.all();
    let of_others =
        |one: &crate::fleet::load::Accepted| !(0..slow).any(|number| one.target == member::name(number));
    let calm = waits(&all, stage.testimony(), quiet, from, of_others);
    let disturbed = waits(&all, stage.testimony(), from, to, of_others);
    for (name, waits) in [("calm", &calm), ("with_slow_readers", &disturbed)] {
        let p = |share| seconds(percentile(waits, share));
        let figures =
            serde_json::json!({ "runs": waits.len(), "p50_s": p(0.5), "p99_s": p(0.99), "max_s": p(1.0) });
        stage.outcome.figure(&format!("start_of_others_{name}"), figures);
    }
    stage.outcome.figure("memory_mib", serde_json::json!({ "before": before, "peak": peak, "after": after }));
    stage.outcome.figure("begun_by_slow_readers_meanwhile", begun);
    let seen =
        closed.map_or_else(|| format!("{open} are open"), |closed| format!("{:.1} s", closed.as_secs_f64()));
    stage.outcome.measure(
        "who does not read is closed in under 40 s",
        seen,
        closed.is_some_and(|closed| closed < CLOSED),
    );
    stage.outcome.measure(
        "memory is flat",
        format!("{before}, peak {peak} MiB"),
        peak <= before * 1.25 + 64.0,
    );
    let (calm, disturbed) = (percentile(&calm, 0.99), percentile(&disturbed, 0.99));
    let holds = disturbed <= calm * 2 + Duration::from_millis(250);
    stage.outcome.measure(
        "the others start as soon as before (p99)",
        format!("{calm:?} then {disturbed:?}"),
        holds,
    );
    Ok(stage.close().await)
}

/// For a member that reads, by name or by selector: the latter is matched by slow readers too, and must not wait for them.
fn healthy(turn: u64, members: usize, slow: usize) -> Wish {
    let others = members - slow;
    let number = slow + (turn as usize).wrapping_mul(7919) % others;
    let target =
        if turn.is_multiple_of(2) { member::name(number) } else { format!("any(shard={})", number % 10) };
    Wish { target, milliseconds: 100, durability: Durability::Fast }
}
