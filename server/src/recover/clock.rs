//! The queue's clockwork, driven by whoever is there.

use std::time::Duration;

use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::queue::Hint;
use crate::settle::Settler;

/// The longest pause between two looks.
const SLOW: Duration = Duration::from_secs(1);
/// The shortest one.
const FAST: Duration = Duration::from_millis(5);

/// Ticks the queue when its next moment comes, and at least each second, until `stop`.
pub async fn run(settler: Settler, stop: CancellationToken) {
    let mut hints = settler.queue.hints();
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep_until(next) => {}
            hint = hints.recv() => match hint {
                Ok(Hint::Due) => {}
                Ok(_) | Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return,
            },
        }
        let pause = match settler.queue.tick().await {
            Ok(tick) => {
                if !tick.endings.is_empty() {
                    settler.conclude(tick.endings).await;
                }
                tick.next.unwrap_or(SLOW).clamp(FAST, SLOW)
            }
            Err(error) => {
                warn!(%error, "failed to tick the queue");
                SLOW
            }
        };
        next = Instant::now() + pause;
    }
}
