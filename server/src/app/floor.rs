//! What workers have accepted: noted in the store, and the least fence that may ever be given again raised with it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{MissedTickBehavior, interval};
use tracing::warn;

use crate::dispatch;
use crate::run::Fence;
use crate::settle::Settler;
use crate::store::{self, Store};

/// How often the floor is raised while runs are claimed.
const EVERY: Duration = Duration::from_secs(30);

/// Passes on what was started until nobody can start anything any more.
pub(super) async fn run(settler: Settler, started: Arc<Mutex<mpsc::Receiver<Vec<dispatch::Started>>>>) {
    let Settler { journal, store, server, .. } = settler;
    let mut started = started.lock().await;
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut latest, mut floor) = (Fence(0), Fence(0));
    loop {
        tokio::select! {
            batch = started.recv() => {
                let Some(batch) = batch else { break };
                for one in batch {
                    latest = latest.max(one.fence);
                    let dispatch::Started { run, fence, attempt, worker } = one;
                    journal.started(store::Started { run, fence, attempt, worker, server: server.clone() });
                }
            }
            _ = tick.tick(), if latest > floor => floor = raise(&store, latest, floor).await,
        }
    }
    if latest > floor {
        raise(&store, latest, floor).await;
    }
}

async fn raise(store: &Store, to: Fence, from: Fence) -> Fence {
    match store.raise_fence_floor(to).await {
        Ok(()) => to,
        Err(error) => {
            warn!(%error, "failed to raise the floor of the fences: trying again");
            from
        }
    }
}
