//! The queue's clockwork, driven by whoever is there.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::missed;
use crate::clock::StoreClock;
use crate::metrics::PanicIn;
use crate::queue::{Ending, Hint, Record, Tick};
use crate::settle::Settler;

/// The longest pause between two looks.
const SLOW: Duration = Duration::from_secs(1);
/// The shortest one.
const FAST: Duration = Duration::from_millis(5);
/// How many ticks' findings may wait for the store. More are dropped: the queue offers them again.
const WAITING: usize = 16;
/// By so much the clocks of queue and store may differ.
const APART: TimeDelta = TimeDelta::milliseconds(250);

/// What a tick found.
struct Found {
    endings: Vec<Ending>,
    missed: Vec<Record>,
    /// Up to when all that is due has been let go, if something was.
    released: Option<DateTime<Utc>>,
}

/// Ticks the queue when its next moment comes, and at least each second, until `stop`: a store that is slow does not hold it up, since what is due
/// while nobody ticks was missed.
pub async fn run(settler: Settler, clock: StoreClock, stop: CancellationToken) {
    let (findings, found) = mpsc::channel(WAITING);
    tokio::join!(tick(&settler, &clock, findings, stop), settle(&settler, found));
}

async fn tick(settler: &Settler, clock: &StoreClock, findings: mpsc::Sender<Found>, stop: CancellationToken) {
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
            Ok(Tick { endings, missed, released, next }) => {
                let any = !released.is_empty();
                released.into_iter().for_each(|late| settler.metrics.released(late));
                let released = any.then(|| clock.now() + APART);
                if (released.is_some() || !endings.is_empty() || !missed.is_empty())
                    && findings.try_send(Found { endings, missed, released }).is_err()
                {
                    debug!("the store is behind: what the queue found is left to be found again");
                }
                next.unwrap_or(SLOW).clamp(FAST, SLOW)
            }
            Err(error) => {
                warn!(%error, "failed to tick the queue");
                SLOW
            }
        };
        next = Instant::now() + pause;
    }
}

/// Ends when ticks do, and all they found is settled.
async fn settle(settler: &Settler, mut found: mpsc::Receiver<Found>) {
    while let Some(Found { endings, missed, released }) = found.recv().await {
        let judged = match missed.is_empty() {
            true => Ok(()),
            false => missed::judge(settler, missed).await,
        };
        match (judged, released) {
            (Err(error), _) => warn!(%error, "failed to judge runs that were missed: trying again"),
            // After the darkness before it: whoever reads the two in the other order knows of one of them.
            (Ok(()), Some(to)) => {
                if let Err(error) = settler.store.note_released(to).await {
                    warn!(%error, "failed to note what was let go");
                }
            }
            (Ok(()), None) => {}
        }
        if !endings.is_empty() {
            let conclude = async |endings: Vec<Ending>| -> Vec<()> {
                let count = endings.len();
                settler.conclude(endings).await;
                vec![(); count]
            };
            settler.metrics.panics.each(PanicIn::Clock, endings, conclude).await;
        }
    }
}
