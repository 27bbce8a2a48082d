//! Open rows are held against the queue, some at a time.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::missed;
use super::rebuild::{RebuildError, Unseen, give_back};
use super::unrecorded::record;
use crate::metrics::{PanicIn, Reconciled, RunEnd};
use crate::run::{Conclusion, Durability, Reason, RunId, State};
use crate::settle::Settler;
use crate::store::{EndedRun, OpenRun, Recorded};

/// How often some are looked at.
const EVERY: Duration = Duration::from_secs(30);
/// How many.
const BATCH: u32 = 1000;
/// For how many times as long as a batch took nothing is looked at.
const SHARE: u32 = 10;
/// Younger rows are left alone: their run may be on its way.
const SETTLED: Duration = Duration::from_secs(10);

/// Goes round all open rows, a batch at a time, until `stop`.
pub async fn run(settler: Settler, stop: CancellationToken) {
    let mut after = None;
    loop {
        let began = Instant::now();
        let pause = match pass(&settler, after).await {
            Ok(next) => {
                after = next;
                // A round goes on quickly, leaving most of the time to others, and rests when it is done.
                if after.is_some() {
                    Duration::from_millis(200).max(began.elapsed() * SHARE)
                } else {
                    EVERY.mul_f64(0.9 + 0.2 * rand::random::<f64>())
                }
            }
            Err(error) => {
                warn!(%error, "failed to hold the open runs against the queue");
                EVERY / 10
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// One batch; answers where the next one starts, or `None` when all were looked at.
async fn pass(settler: &Settler, after: Option<RunId>) -> Result<Option<RunId>, RebuildError> {
    if settler.queue.is_empty_handed().await? {
        return Ok(None);
    }
    let open = settler.store.unsettled(SETTLED, after, BATCH).await?;
    let next = if open.len() == BATCH as usize { open.last().map(|run| run.run.id) } else { None };
    if !open.is_empty()
        && let Some(mended) = settler.metrics.panics.catch(PanicIn::Reconciler, mend(settler, open)).await
    {
        mended?;
    }
    // One bad row, at which it panics, holds up its batch and not those after it.
    Ok(next)
}

async fn mend(settler: &Settler, open: Vec<OpenRun>) -> Result<(), RebuildError> {
    let ids: Vec<RunId> = open.iter().map(|run| run.run.id).collect();
    let records = settler.queue.look(ids).await?;
    let missing: Vec<OpenRun> =
        open.into_iter().zip(records).filter_map(|(run, record)| record.is_none().then_some(run)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let kept = settler.queue.results(missing.iter().map(|run| run.run.id).collect()).await?;
    let (mut back, mut unrecorded, mut forgotten) = (Vec::new(), Vec::new(), Vec::new());
    for (open, kept) in missing.into_iter().zip(kept) {
        let kept = kept.and_then(|kept| Conclusion::decode(open.run.id, &kept).ok());
        match (kept, open.run.durability) {
            (Some(conclusion), _) => unrecorded.push(conclusion),
            (None, Durability::Durable) => back.push(open.run.id),
            (None, Durability::Fast) => forgotten.push(open),
        }
    }
    record(settler, unrecorded).await?;
    lost(settler, forgotten).await?;
    queue_again(settler, back, Unseen::End).await
}

/// Queues durable runs that the queue was seen not to have. What left it by ending is not open any more since before that.
pub(super) async fn queue_again(
    settler: &Settler,
    missing: Vec<RunId>,
    unseen: Unseen,
) -> Result<(), RebuildError> {
    let back = settler.store.open_among(missing).await?;
    if !back.is_empty() {
        let now = settler.store.now().await?;
        // What was planned just when all went did not come into the queue, and was not let go either: in a darkness that is known, or that nobody has noted yet.
        let since = settler.store.released().await?;
        let mut missed = missed::among(&settler.store, &back, (since, now), now).await?;
        if let Some(dark) = settler.store.dark().await? {
            missed.extend(missed::among(&settler.store, &back, dark, now).await?);
        }
        let count = give_back(settler, back, &missed, unseen, now).await?;
        info!(runs = count, "queued open runs that the queue did not have");
        settler.metrics.runs_reconciled.add(Reconciled::Unqueued, count);
    }
    Ok(())
}

async fn lost(settler: &Settler, runs: Vec<OpenRun>) -> Result<(), RebuildError> {
    if runs.is_empty() {
        return Ok(());
    }
    warn!(runs = runs.len(), "fast runs were lost with the queue");
    let row = |open: OpenRun| EndedRun {
        run: open.run,
        state: State::Error,
        reason: Some(Reason::Lost),
        error: "the queue lost it".into(),
        server: settler.server.clone(),
    };
    let rows: Vec<EndedRun> = runs.into_iter().map(row).collect();
    let ends = vec![RunEnd::Lost; rows.len()];
    let recorded = settler.store.end_runs(rows).await?;
    let count = recorded.iter().filter(|recorded| **recorded == Recorded::Recorded).count();
    settler.metrics.runs_reconciled.add(Reconciled::Lost, count);
    settler.count_recorded(ends, &recorded);
    Ok(())
}
