//! Keeps history bounded.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::store::{Retention, Store};

/// How often, give or take a tenth, so that servers take turns.
const EVERY: Duration = Duration::from_secs(3600);
/// The pause between two batches, for others to write.
const PAUSE: Duration = Duration::from_millis(50);

/// Prunes each hour until `stop`, the first time soon after the start.
pub(super) async fn run(store: Store, retention: Retention, stop: CancellationToken) {
    let mut pause = EVERY / 60;
    loop {
        tokio::select! {
            () = sleep(pause.mul_f64(0.9 + 0.2 * rand::random::<f64>())) => {}
            () = stop.cancelled() => return,
        }
        pause = EVERY;
        let mut pruned = 0;
        while !stop.is_cancelled() {
            match store.prune(retention).await {
                Ok(0) => break,
                Ok(count) => pruned += count,
                Err(error) => {
                    warn!(%error, "failed to prune the history: trying again later");
                    break;
                }
            }
            sleep(PAUSE).await;
        }
        if pruned > 0 {
            info!(runs = pruned, "pruned the history");
        }
    }
}
