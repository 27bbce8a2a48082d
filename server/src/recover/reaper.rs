//! Attempts whose worker does not have them any more.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use marabunta_proto::duration;
use marabunta_proto::name::Name;
use tokio::sync::{Mutex, mpsc};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::held::Held;
use crate::dispatch::Finding;
use crate::metrics::PanicIn;
use crate::queue::{Phase, Record, Silent};
use crate::run::{AttemptEnd, Fence, Place, Run, RunId, State};
use crate::settle::{End, Settler, Verdict, Witness};

/// How often silent sessions are looked for. It adds to the 8 s after which a dead worker's runs are given to others, who are to have them
/// within 10 s.
const EVERY: Duration = Duration::from_secs(1);

/// How many are settled together.
const BATCH: usize = 500;

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
    // Nobody offers it again, as the queue does what belongs to silent sessions.
    let (mut owed, mut held) = (Owed::default(), Held::default());
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(found) = findings.recv() => sort(found, &mut owed, &mut held),
            _ = tick.tick() => match settler.queue.reap().await {
                Ok(silent) => _ = settle_all(&settler, buried(silent, lost_after)).await,
                Err(error) => warn!(%error, "failed to look for silent sessions"),
            }
        }
        owed.settle(&settler).await;
        held.remember(&settler).await;
    }
    // What dispatch finds while it stops is mended before the server goes.
    while let Some(found) = findings.recv().await {
        sort(found, &mut owed, &mut held);
    }
    held.remember(&settler).await;
    owed.settle(&settler).await;
}

/// Ends that are to be settled, one of each attempt: at most what is in flight.
#[derive(Default)]
struct Owed(BTreeMap<(RunId, Fence), End>);

impl Owed {
    fn add(&mut self, end: End) {
        self.0.insert((end.run, end.fence), end);
    }

    /// Keeps those that could not be settled.
    async fn settle(&mut self, settler: &Settler) {
        let ends = std::mem::take(&mut self.0).into_values().collect();
        settle_all(settler, ends).await.into_iter().for_each(|end| self.add(end));
    }
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

/// Notes what is found to be settled or remembered.
fn sort(found: Vec<Finding>, owed: &mut Owed, held: &mut Held) {
    for finding in found {
        match finding {
            Finding::Unsent { worker, run, fence } => owed.add(unbegun(worker, run, fence, Witness::Claim)),
            Finding::Unaccepted { worker, run, fence } => {
                owed.add(unbegun(worker, run, fence, Witness::Delivery));
            }
            Finding::Missing { missing, .. } => {
                let text = "its worker came back without it";
                if let Some(end) = end(&missing.record, text, Witness::Absence) {
                    owed.add(if missing.begun { end } else { End { end: None, ..end } });
                }
            }
            Finding::Unknown { worker, run, fence } => held.note(worker, run, fence),
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
    let is_over = |(_, state): &(End, Option<State>)| state.is_some_and(State::is_final);
    let (over, open): (Vec<_>, Vec<_>) = ends.into_iter().zip(states).partition(is_over);
    settler.drop_ended(over.into_iter().map(|(end, _)| end.run).collect()).await;
    open.into_iter().map(|(end, _)| end).collect()
}

/// Answers those that could not be settled.
async fn settle_all(settler: &Settler, mut ends: Vec<End>) -> Vec<End> {
    let mut retry = Vec::new();
    while !ends.is_empty() {
        let rest = ends.split_off(ends.len().min(BATCH));
        retry.extend(settle(settler, std::mem::replace(&mut ends, rest)).await);
    }
    retry
}

async fn settle(settler: &Settler, ends: Vec<End>) -> Vec<End> {
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
