//! Ends of fast runs that are in the queue and in no history: the server that was to write them has died.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::peers::{LIFE, Peers};
use super::rebuild::RebuildError;
use crate::metrics::Reconciled;
use crate::run::{Conclusion, Next, RunId, State};
use crate::settle::Settler;
use crate::store::{EndedAttempt, EndedRun, Recorded};

/// How often a server says that it lives.
const EVERY: Duration = Duration::from_secs(5);
/// How far back from when a death was noticed is looked: by so much the late writes of a server lag behind, unless the database was away for longer.
const LOOK_BACK: Duration = Duration::from_secs(300);
/// How many are looked for at once.
const BATCH: usize = 1000;
/// About the most that are looked for after a death: the latest.
const MOST: usize = 500_000;

/// Says that this server lives, and looks after others that have died, until `stop`.
pub async fn run(settler: Settler, peers: Peers, stop: CancellationToken) {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Whoever starts may have died a moment ago.
    let mut died = true;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
        if let Err(error) = look(&settler, &peers, &mut died).await {
            warn!(%error, "failed to look for ends that are in no history: trying again");
        }
    }
}

/// `died`: somebody has, and what that server had not written was not looked for yet.
async fn look(settler: &Settler, peers: &Peers, died: &mut bool) -> Result<(), RebuildError> {
    let beat = settler.queue.beat(LIFE).await?;
    peers.heard(&beat);
    let gone = beat.gone;
    if !gone.is_empty() {
        info!(servers = gone.join(" "), "servers have gone");
    }
    if !*died && gone.is_empty() {
        return Ok(());
    }
    *died = true;
    let now = settler.clock.now();
    let runs = settler.queue.kept(millis(now - LOOK_BACK)..millis(now), MOST).await?;
    if runs.len() >= MOST {
        warn!(
            runs = runs.len(),
            "too many ends to look for all in the history: those of earlier runs are left out"
        );
    }
    for some in runs.chunks(BATCH) {
        record_unwritten(settler, some).await?;
    }
    *died = false;
    Ok(())
}

/// Records how these ended, if the store does not say that they have.
async fn record_unwritten(settler: &Settler, runs: &[RunId]) -> Result<(), RebuildError> {
    let states = settler.store.states(runs.to_vec()).await?;
    let open = |state: Option<State>| !state.is_some_and(State::is_final);
    let open: Vec<RunId> =
        runs.iter().zip(states).filter_map(|(run, state)| open(state).then_some(*run)).collect();
    if open.is_empty() {
        return Ok(());
    }
    let kept = settler.queue.results(open.clone()).await?;
    let conclusions = open.into_iter().zip(kept);
    let conclusions = conclusions.filter_map(|(run, kept)| Conclusion::decode(run, &kept?).ok()).collect();
    record(settler, conclusions).await
}

/// Writes how runs ended that the queue remembers. One whose end is on its way to the store is written once all the same.
pub(super) async fn record(settler: &Settler, conclusions: Vec<Conclusion>) -> Result<(), RebuildError> {
    let (mut attempts, mut ended) = (Vec::new(), Vec::new());
    for conclusion in conclusions {
        let Conclusion { run, state, reason, error, counters, attempt, server } = conclusion;
        match attempt {
            Some(last) => attempts.push(EndedAttempt {
                run,
                fence: last.fence,
                number: last.number,
                worker: last.worker,
                server,
                end: last.end,
                next: Next::End { state, reason, counters },
            }),
            None => ended.push(EndedRun { run, state, reason, error, server }),
        }
    }
    let mut recorded = Vec::new();
    if !attempts.is_empty() {
        recorded.extend(settler.store.end_attempts(attempts).await?);
    }
    if !ended.is_empty() {
        recorded.extend(settler.store.end_runs(ended).await?);
    }
    let count = recorded.iter().filter(|recorded| **recorded == Recorded::Recorded).count();
    if count > 0 {
        warn!(runs = count, "the ends of fast runs were in no history");
        settler.metrics.runs_reconciled.add(Reconciled::Unrecorded, count);
    }
    Ok(())
}

fn millis(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_millis()).unwrap_or_default()
}
