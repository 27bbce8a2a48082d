//! Whether the server can do its work now.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::queue::Queue;
use crate::store::Store;

/// How often the queue is asked.
const EVERY: Duration = Duration::from_secs(5);
/// The store is asked only each so many times while it answers: an idle server leaves the database alone.
const STORE: u32 = 6;
/// What has not answered by then does not.
const PATIENCE: Duration = Duration::from_secs(5);

/// Keeps `readiness` true until `stop`: empty, or why the server is not ready.
pub(super) async fn run(
    store: Store,
    queue: Arc<dyn Queue>,
    readiness: watch::Sender<String>,
    stop: CancellationToken,
) {
    let mut round = 0;
    let mut store_problem = String::new();
    loop {
        if round == 0 || !store_problem.is_empty() {
            store_problem = problem("store", async { store.now().await.map(|_| ()) }).await;
        }
        round = (round + 1) % STORE;
        let queue_problem = problem("queue", async { queue.is_empty_handed().await.map(|_| ()) }).await;
        let now = if store_problem.is_empty() { queue_problem } else { store_problem.clone() };
        if stop.is_cancelled() {
            return;
        }
        readiness.send_if_modified(|before| {
            let changed = *before != now;
            match (changed, now.is_empty()) {
                (true, true) => info!("ready"),
                (true, false) => warn!(reason = now, "not ready"),
                (false, _) => {}
            }
            before.clone_from(&now);
            changed
        });
        tokio::select! {
            () = sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

async fn problem<E: std::fmt::Display>(what: &str, asked: impl Future<Output = Result<(), E>>) -> String {
    match timeout(PATIENCE, asked).await {
        Ok(Ok(())) => String::new(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("the {what} does not answer"),
    }
}
