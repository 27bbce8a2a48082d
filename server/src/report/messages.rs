//! Keeps messages of attempts that still count, and wakes whoever follows their runs.

use tracing::{debug, warn};

use crate::run::RunId;
use crate::settle::{Claim, Settler, Verdict, claim, unknown};
use crate::store::MessageBatch;

pub(super) async fn keep(settler: &Settler, batches: Vec<MessageBatch>) -> Vec<Verdict> {
    let Settler { queue, store, .. } = settler;
    let verdicts = match judge(settler, &batches).await {
        Ok(verdicts) => verdicts,
        Err(error) => {
            warn!(%error, "failed to look up the runs of messages");
            return vec![Verdict::Retry; batches.len()];
        }
    };
    let kept: Vec<_> =
        batches.into_iter().zip(&verdicts).filter(|(_, verdict)| **verdict == Verdict::Recorded).collect();
    let runs: Vec<RunId> = kept.iter().map(|(batch, _)| batch.run).collect();
    if runs.is_empty() {
        return verdicts;
    }
    if let Err(error) = store.append(kept.into_iter().map(|(batch, _)| batch).collect()).await {
        warn!(%error, "failed to store messages");
        return verdicts
            .into_iter()
            .map(|v| if v == Verdict::Recorded { Verdict::Retry } else { v })
            .collect();
    }
    if let Err(error) = queue.nudge(runs).await {
        debug!(%error, "failed to wake the followers of a run: they look by themselves");
    }
    verdicts
}

/// `Recorded` for each batch that is to be kept.
async fn judge(settler: &Settler, batches: &[MessageBatch]) -> Result<Vec<Verdict>, String> {
    let Settler { queue, store, clock, .. } = settler;
    let records = queue
        .look(batches.iter().map(|batch| batch.run).collect())
        .await
        .map_err(|error| error.to_string())?;
    let forgotten: Vec<RunId> = batches
        .iter()
        .zip(&records)
        .filter(|(_, record)| record.is_none())
        .map(|(batch, _)| batch.run)
        .collect();
    let mut states = Vec::new();
    if !forgotten.is_empty() {
        states = store.states(forgotten).await.map_err(|error| error.to_string())?;
    }
    let mut states = states.into_iter();
    let judged = batches.iter().zip(records).map(|(batch, record)| match record {
        Some(record) => match claim(&record, batch.fence, clock.now()) {
            Claim::Latest | Claim::Forgotten => Verdict::Recorded,
            Claim::Stale => Verdict::Stale,
            Claim::Unknown => Verdict::Unknown,
        },
        // The queue has settled or lost it. Its output is still its own.
        None => match states.next().flatten() {
            Some(_) => Verdict::Recorded,
            None => unknown(batch.fence, clock.now()),
        },
    });
    Ok(judged.collect())
}
