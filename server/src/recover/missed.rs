//! Runs that were queued ahead and were due while nobody was there to let them go: their tasks' catch-up and start deadline decide, as they do for
//! firings that were never planned.
//!
//! A queue that was there all the time finds them itself, see [`Tick::missed`](crate::queue::Tick::missed). For one that is filled again, the store
//! remembers up to when runs were let go. What is later than that and may not run is still held back for a while, as a worker may have it. And it
//! remembers the last time that nobody let anything go, for what was planned then and never came into the queue.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::{info, warn};

use super::rebuild::RebuildError;
use crate::metrics::RunEnd;
use crate::queue::{Limits, Record, Settled, Settlement, Step};
use crate::run::{Run, RunId, State, TaskId};
use crate::settle::Settler;
use crate::store::{EndedRun, OpenRun, Store, StoreError};
use crate::task::left_out;

/// Lets go what is to take place, and records the rest as skipped.
pub async fn judge(settler: &Settler, missed: Vec<Record>) -> Result<(), RebuildError> {
    let (mut runs, mut counters, mut damaged) = (Vec::new(), Vec::new(), Vec::new());
    for record in missed {
        match Run::decode(record.run, &record.body) {
            Ok(run) => {
                runs.push(run);
                counters.push(record.counters);
            }
            Err(error) => {
                warn!(run = %record.run, %error, "a damaged run is dropped from the queue");
                damaged.push(record.run);
            }
        }
    }
    settler.drop_ended(damaged).await;
    let now = settler.store.now().await?;
    if let Some(oldest) = runs.iter().map(|run| run.due).min() {
        settler.store.note_dark(oldest, now).await?;
    }
    let reasons = reasons(&settler.store, &runs, now).await?;
    let (mut released, mut skipped) = (Vec::new(), Vec::new());
    for ((run, counters), reason) in runs.into_iter().zip(counters).zip(reasons) {
        match reason {
            None => {
                let step = Step::Again { delay: Duration::ZERO, counters, attempt: 0 };
                released.push(Settlement { run: run.id, fence: None, step });
            }
            Some(reason) => {
                let (error, server) = (reason.to_owned(), settler.server.clone());
                let row = EndedRun { run, state: State::Skipped, reason: None, error, server };
                skipped.push((row, RunEnd::Missed));
            }
        }
    }
    info!(late = released.len(), skipped = skipped.len(), "runs were due while no server was up");
    let settled = settler.queue.settle(released).await?;
    let let_go = settled.into_iter().filter(|settled| *settled == Settled::Settled).count();
    settler.metrics.runs_let_go_late.inc_by(let_go as u64);
    settler.end_unrun(skipped).await;
    Ok(())
}

/// Those of these open runs, which the queue does not have, that were missed and do not take place. `dark`: when nobody let anything go, from and to.
pub(super) async fn among(
    store: &Store,
    open: &[OpenRun],
    dark: (DateTime<Utc>, DateTime<Utc>),
    now: DateTime<Utc>,
) -> Result<BTreeSet<RunId>, StoreError> {
    let (from, to) = dark;
    let missed: Vec<Run> = open
        .iter()
        .filter(|open| is_overdue(open, now) && (from..=to).contains(&open.run.due))
        .map(|open| open.run.clone())
        .collect();
    let oldest = missed.iter().map(|run| run.due).min();
    if oldest.is_none_or(|due| (now - due).to_std().is_ok_and(|late| late < Limits::LATE)) {
        return Ok(BTreeSet::new());
    }
    let reasons = reasons(store, &missed, now).await?;
    Ok(missed.iter().zip(reasons).filter_map(|(run, reason)| reason.map(|_| run.id)).collect())
}

/// Whether it was queued ahead and is due, and as far as the store knows nobody has had it.
fn is_overdue(open: &OpenRun, now: DateTime<Utc>) -> bool {
    let run = &open.run;
    let ahead = run.task.is_some() && run.due > run.created;
    ahead && run.due <= now && open.fence.is_none() && open.attempt == 0
}

/// Why each of these does not take place, if it does not. What is of no task does.
async fn reasons(
    store: &Store,
    runs: &[Run],
    now: DateTime<Utc>,
) -> Result<Vec<Option<&'static str>>, StoreError> {
    let ids: BTreeSet<TaskId> = runs.iter().filter_map(|run| run.task.as_ref()).map(|task| task.id).collect();
    let mut tasks = BTreeMap::new();
    for id in ids {
        tasks.insert(id, store.task(&id.to_string()).await?.and_then(Result::ok));
    }
    let reason = |run: &Run| left_out(tasks[&run.task.as_ref()?.id].as_ref(), run, now);
    Ok(runs.iter().map(reason).collect())
}
