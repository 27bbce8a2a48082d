//! Attempts whose worker does not have them any more.

use std::sync::Arc;
use std::time::Duration;

use marabunta_proto::duration;
use marabunta_proto::name::Name;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::dispatch::Finding;
use crate::metrics::{PanicIn, Reconciled};
use crate::queue::{Phase, Record, Restored, Silent};
use crate::run::{AttemptEnd, Fence, Place, Run, RunId, State};
use crate::settle::{End, Settler, Verdict, Witness, micros};

/// How often silent sessions are looked for. It adds to the 8 s after which a dead worker's runs are given to others, who are to have them
/// within 10 s.
const EVERY: Duration = Duration::from_secs(1);

/// How long the store may take to say what has ended. Without it, what is lost is given to others all the same.
const PATIENCE: Duration = Duration::from_secs(1);

/// Ends what is lost until `stop`. A run that names its worker waits for it up to `lost_after`, since nobody else may run it.
pub async fn run(
    settler: Settler,
    findings: Arc<Mutex<mpsc::Receiver<Vec<Finding>>>>,
    lost_after: Duration,
    stop: CancellationToken,
) {
    let mut findings = findings.lock().await;
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // What could not be settled: nobody offers it again, except what belongs to silent sessions. At most what is in flight.
    let mut owed = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(found) = findings.recv() => owed.extend(mend(&settler, found).await),
            _ = tick.tick() => {
                owed = settle(&settler, owed).await;
                match settler.queue.reap().await {
                    Ok(silent) => _ = settle(&settler, buried(silent, lost_after)).await,
                    Err(error) => warn!(%error, "failed to look for silent sessions"),
                }
            }
        }
    }
    // What dispatch finds while it stops is mended before the server goes.
    while let Some(found) = findings.recv().await {
        owed.extend(mend(&settler, found).await);
    }
    settle(&settler, owed).await;
}

fn buried(silent: Vec<Silent>, lost_after: Duration) -> Vec<End> {
    let mut ends = Vec::new();
    for session in silent {
        let by = if session.ended { Witness::Departure } else { Witness::Silence };
        let lost = |record| end(record, &why_lost(record, session.since, lost_after)?, by);
        let lost: Vec<End> = session.holding.iter().filter_map(lost).collect();
        if !lost.is_empty() {
            info!(worker = %session.worker, session = %session.session, runs = lost.len(), "worker lost");
        }
        ends.extend(lost);
    }
    ends
}

/// Why somebody else may, or must, take it over; `None` while its worker is waited for.
fn why_lost(record: &Record, silent_for: Duration, lost_after: Duration) -> Option<String> {
    let silent = "its worker fell silent and did not come back";
    match Run::decode(record.run, &record.body).map(|run| run.place) {
        Ok(Place::Worker(_)) if silent_for < lost_after => None,
        Ok(Place::Worker(_)) => Some(format!("{silent} within {}", duration::format(lost_after))),
        Ok(Place::Any(_)) | Err(_) => Some(silent.into()),
    }
}

/// Answers what is still to be settled.
async fn mend(settler: &Settler, found: Vec<Finding>) -> Vec<End> {
    let mut ends = Vec::new();
    for finding in found {
        match finding {
            Finding::Unsent { worker, run, fence } => ends.push(unbegun(worker, run, fence, Witness::Claim)),
            Finding::Unaccepted { worker, run, fence } => {
                ends.push(unbegun(worker, run, fence, Witness::Delivery))
            }
            Finding::Missing { missing, .. } => {
                let text = "its worker came back without it";
                ends.extend(
                    end(&missing.record, text, Witness::Absence)
                        .map(|end| if missing.begun { end } else { End { end: None, ..end } }),
                );
            }
            Finding::Unknown { worker, run, fence } => remember(settler, worker, run, fence).await,
        }
    }
    settle(settler, ends).await
}

/// A worker runs what the queue does not know: if it is open in the store, the queue has lost it and gets it back as it was, unless it has ended
/// meanwhile, or just before.
async fn remember(settler: &Settler, worker: Name, run: RunId, fence: Fence) {
    if !fence.is_possible(micros(settler.clock.now())) {
        return warn!(%run, %worker, "a worker holds what nobody can have given it");
    }
    let view = match settler.store.run(run).await {
        Ok(Some(view)) if !view.state.is_final() => view,
        Ok(_) => return,
        Err(error) => return warn!(%run, %error, "failed to look up what a worker holds"),
    };
    let attempt =
        view.attempts.iter().find(|attempt| attempt.fence == fence).map_or(1, |attempt| attempt.number);
    let entry = crate::queue::Entry::of(&view.run, Duration::ZERO);
    let restored = Restored {
        entry,
        counters: view.counters,
        attempt,
        fence: Some(fence),
        held: Some(worker),
        unsure: false,
        missed: false,
    };
    let entered = match settler.queue.restore(vec![restored]).await {
        Ok(entered) => entered,
        Err(error) => return warn!(%run, %error, "failed to give the queue back what a worker holds"),
    };
    if entered > 0 {
        settler.metrics.runs_reconciled.count(Reconciled::WithWorker);
        // Its end may have been on its way to the store: whoever writes it takes the run out of the queue after that, so that one of the two sees the other.
        if let Ok(states) = settler.store.states(vec![run]).await
            && states.iter().flatten().any(|state| state.is_final())
        {
            settler.drop_ended(run).await;
        }
    }
}

/// Nobody took charge of it.
fn unbegun(worker: Name, run: RunId, fence: Fence, by: Witness) -> End {
    End { run, fence, number: 0, worker, end: None, by }
}

/// Lost, also where it was not accepted: whoever has it may have begun it.
fn end(record: &Record, error: &str, by: Witness) -> Option<End> {
    let Phase::InFlight { worker, .. } = &record.phase else { return None };
    Some(End {
        run: record.run,
        fence: record.fence?,
        number: record.attempt,
        worker: worker.clone(),
        end: Some(AttemptEnd::lost(error)),
        by,
    })
}

/// Without those that the store knows to have ended: a queue that was rebuilt while their end was on its way to the store has them once more.
async fn still_open(settler: &Settler, ends: Vec<End>) -> Vec<End> {
    let states = timeout(PATIENCE, settler.store.states(ends.iter().map(|end| end.run).collect())).await;
    let Ok(Ok(states)) = states else { return ends };
    let mut open = Vec::with_capacity(ends.len());
    for (end, state) in ends.into_iter().zip(states) {
        if state.is_some_and(State::is_final) {
            settler.drop_ended(end.run).await;
        } else {
            open.push(end);
        }
    }
    open
}

/// Answers those that could not be settled.
async fn settle(settler: &Settler, ends: Vec<End>) -> Vec<End> {
    if ends.is_empty() {
        return ends;
    }
    let ends = still_open(settler, ends).await;
    let (count, end) = (ends.len(), |ends| settler.end(ends));
    let verdicts = settler.metrics.panics.each(PanicIn::Reaper, ends.clone(), end).await;
    let retry = ends.into_iter().zip(verdicts).filter(|(_, verdict)| *verdict == Some(Verdict::Retry));
    let retry: Vec<End> = retry.map(|(end, _)| end).collect();
    if !retry.is_empty() {
        warn!(count, retry = retry.len(), "some lost attempts could not be settled: trying again");
    }
    retry
}
