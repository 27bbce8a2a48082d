//! A queue that has lost what it held is filled again from the store, by one server.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::missed;
use super::peers::Peers;
use crate::queue::{Entry, Queue, QueueError, Restored};
use crate::run::{Place, RunId, State};
use crate::settle::Settler;
use crate::store::{OpenRun, StoreError};

/// How often it is checked that the queue has not lost what it held.
const EVERY: Duration = Duration::from_secs(1);
/// How long servers have to write what they know of fast runs.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is asked whether they have.
const ASK: Duration = Duration::from_millis(100);
/// The right to rebuild lasts this long; a server that dies with it is followed by another.
const RIGHT: Duration = Duration::from_secs(30);
/// How many runs are entered at once.
const BATCH: u32 = 500;
// A worker that stayed connected said what it holds before the queue had it back, so all are asked again once it has, or while it gets it.

/// How long an `any(..)` run that was perhaps claimed waits at the least for whoever has it to say so.
const HOLD: Duration = Duration::from_secs(10);

/// How long any other waits before it is claimed: its end may have been on its way to the store, and takes it out again.
const PAUSE: Duration = Duration::from_secs(3);

/// How often all sessions say anew what they hold while a long rebuild goes on: what is held back is still held back then.
const DOUBT: Duration = Duration::from_secs(4);

/// Watches over the queue until `stop`.
pub async fn run(settler: Settler, peers: Peers, stop: CancellationToken) {
    loop {
        if let Err(error) = check(&settler, &peers, Unseen::End).await {
            warn!(%error, "failed to rebuild the queue: trying again");
        }
        tokio::select! {
            () = sleep(EVERY) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Why the queue was not rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum RebuildError {
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The most that may have happened to a run which the queue does not have, and nobody who is asked has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unseen {
    Nothing,
    /// It was given to a worker, which could not say so.
    Claim,
    /// Or it has ended, and its end is on its way to the store.
    End,
}

/// Rebuilds the queue if it is empty-handed and nobody else does.
pub async fn check(settler: &Settler, peers: &Peers, unseen: Unseen) -> Result<(), RebuildError> {
    if !settler.queue.is_empty_handed().await? {
        return Ok(());
    }
    let patience = Instant::now() + PATIENCE;
    if timeout_at(patience, settler.journal.written()).await.is_ok() {
        settler.queue.note_written().await?;
    }
    // Somebody else may have rebuilt it meanwhile.
    if !settler.queue.is_empty_handed().await? || !settler.queue.begin_rebuild(RIGHT).await? {
        return Ok(());
    }
    all_written(&*settler.queue, peers, patience).await?;
    settler.queue.raise_fence(settler.store.fence_floor().await?).await?;
    // Known from the first start on, so that nothing is due before it was asked for.
    let released = settler.store.released().await?;
    let (mut after, mut count) = (None, 0);
    let mut doubted = Instant::now();
    loop {
        let runs = settler.store.open_runs(after, BATCH).await?;
        let Some(last) = runs.last() else { break };
        after = Some(last.run.id);
        let now = settler.store.now().await?;
        let missed = missed::among(&settler.store, &runs, (released, now), now).await?;
        count += give_back(settler, runs, &missed, unseen, now).await?;
        renew(&*settler.queue).await?;
        if doubted.elapsed() > DOUBT {
            doubted = Instant::now();
            settler.queue.doubt().await?;
        }
    }
    settler.queue.finish_rebuild().await?;
    settler.queue.doubt().await?;
    settler.metrics.queue_rebuilds.inc();
    settler.metrics.runs_rebuilt.inc_by(count as u64);
    if count > 0 {
        info!(runs = count, "rebuilt the queue from the store");
    }
    Ok(())
}

/// The rows of fast runs are as old as the journal of whichever server is behind the most: it is waited for, as long as it may be alive, and not
/// for ever.
async fn all_written(queue: &dyn Queue, peers: &Peers, patience: Instant) -> Result<(), QueueError> {
    loop {
        let written = BTreeSet::from_iter(queue.written().await?);
        if peers.alive().is_subset(&written) {
            return Ok(());
        }
        if Instant::now() > patience {
            warn!("a server does not say that it has written its journal: the queue is rebuilt without");
            return Ok(());
        }
        sleep(ASK).await;
    }
}

/// The right is taken anew while it lasts, so that a long rebuild stays with one server.
async fn renew(queue: &dyn Queue) -> Result<(), QueueError> {
    queue.begin_rebuild(RIGHT).await.map(|_| ())
}

/// Gives the queue what the store has open, some of it `missed`. What has ended since the store was asked is taken out again: whoever ends a run that the queue does not
/// know looks there once more afterwards, so that one of the two sees the other. Answers how many the queue took.
pub(super) async fn give_back(
    settler: &Settler,
    open: Vec<OpenRun>,
    missed: &BTreeSet<RunId>,
    unseen: Unseen,
    now: DateTime<Utc>,
) -> Result<usize, RebuildError> {
    let ids: Vec<RunId> = open.iter().map(|open| open.run.id).collect();
    let runs = open.into_iter().map(|open| restored(open, missed, unseen, now)).collect();
    let entered = settler.queue.restore(runs).await?;
    let states = settler.store.states(ids.clone()).await?;
    // Of what was withdrawn there is no row.
    let over = ids.into_iter().zip(states).filter(|(_, state)| state.is_none_or(State::is_final));
    settler.drop_ended(over.map(|(run, _)| run).collect()).await;
    Ok(entered)
}

/// As it was: running ones stay with their worker. What waits is held back for a moment, as its end may be on its way; a run for any worker for longer,
/// as it may have been claimed unseen, while a worker that is named says what it holds before it is given anything. So is whatever is not to
/// take place.
fn restored(open: OpenRun, missed: &BTreeSet<RunId>, unseen: Unseen, now: DateTime<Utc>) -> Restored {
    let mut delay = (open.ready - now).to_std().unwrap_or(Duration::ZERO);
    let held = open.worker.filter(|_| open.state == State::Running);
    let missed = missed.contains(&open.run.id);
    // When a failure is written late, so is the time at which the run is due again: it may have been due, and more, before that.
    let waits = held.is_none() && (delay.is_zero() || open.attempt > 0);
    // One that was missed has not been let go since, and whether it takes place is not to hang on who connects.
    let unsure = waits && !missed && unseen >= Unseen::Claim && matches!(open.run.place, Place::Any(_));
    if unsure || waits && missed {
        delay = delay.max(HOLD);
    } else if waits && unseen == Unseen::End {
        delay = delay.max(PAUSE);
    }
    let entry = Entry::of(&open.run, delay);
    Restored {
        entry,
        counters: open.counters,
        attempt: open.attempt,
        fence: open.fence,
        held,
        unsure,
        missed,
    }
}
