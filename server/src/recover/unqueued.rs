//! What may not have come into the queue is queued as soon as the queue answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::rebuild::{RebuildError, Unseen};
use super::reconcile::queue_again;
use crate::run::RunId;
use crate::settle::Settler;

/// How many are looked for at once.
const BATCH: usize = 500;
/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// Looks for what is noted until `stop`. What is not found by then is left to the other servers.
pub async fn run(settler: Settler, noted: Arc<Mutex<mpsc::Receiver<RunId>>>, stop: CancellationToken) {
    let mut noted = noted.lock().await;
    let mut runs = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            count = noted.recv_many(&mut runs, BATCH) => if count == 0 { return },
            () = stop.cancelled() => return,
        }
        while let Err(error) = queue(&settler, &runs).await {
            warn!(%error, runs = runs.len(), "failed to look for runs that may not be queued: trying again");
            tokio::select! {
                () = sleep(AGAIN) => {}
                () = stop.cancelled() => return,
            }
        }
        runs.clear();
    }
}

/// A queue that was emptied is rebuilt, with these among all others.
async fn queue(settler: &Settler, runs: &[RunId]) -> Result<(), RebuildError> {
    let records = settler.queue.look(runs.to_vec()).await?;
    let missing: Vec<RunId> =
        runs.iter().zip(records).filter_map(|(run, record)| record.is_none().then_some(*run)).collect();
    if !missing.is_empty() && !settler.queue.is_empty_handed().await? {
        queue_again(settler, missing, Unseen::Nothing).await?;
    }
    Ok(())
}
