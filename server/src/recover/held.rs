//! What workers have and the queue does not know: it was lost with the queue, or has ended meanwhile.

use std::collections::BTreeMap;
use std::time::Duration;

use marabunta_proto::name::Name;
use tracing::warn;

use super::rebuild::RebuildError;
use crate::metrics::Reconciled;
use crate::queue::{Entry, Restored};
use crate::run::{Fence, RunId, State};
use crate::settle::{Settler, micros};

/// How many are looked up together.
const BATCH: usize = 500;

/// Attempts, each with the worker that has it.
#[derive(Debug, Default)]
pub(super) struct Held(BTreeMap<(RunId, Fence), Name>);

impl Held {
    pub fn note(&mut self, worker: Name, run: RunId, fence: Fence) {
        self.0.insert((run, fence), worker);
    }

    /// Gives the queue back what is open in the store, as it was. What could not be looked up stays noted: a run that nobody knows to be with its worker would be
    /// given to another.
    ///
    /// A queue that has lost everything is rebuilt first: what the store has behind a run is not all there before, see [`super::rebuild`].
    pub async fn remember(&mut self, settler: &Settler) {
        if self.0.is_empty() || settler.queue.is_empty_handed().await.unwrap_or(true) {
            return;
        }
        while !self.0.is_empty() {
            let batch: Vec<_> = self
                .0
                .iter()
                .take(BATCH)
                .map(|(&(run, fence), worker)| (run, fence, worker.clone()))
                .collect();
            if let Err(error) = remember(settler, &batch).await {
                return warn!(runs = self.0.len(), %error, "failed to look up what workers hold: trying again");
            }
            for (run, fence, _) in batch {
                self.0.remove(&(run, fence));
            }
        }
    }
}

async fn remember(settler: &Settler, held: &[(RunId, Fence, Name)]) -> Result<(), RebuildError> {
    let open = settler.store.open_among(held.iter().map(|(run, ..)| *run).collect()).await?;
    let open: BTreeMap<RunId, _> = open.into_iter().map(|open| (open.run.id, open)).collect();
    let attempts = settler.store.attempts_of(open.keys().copied().collect()).await?;
    let number = |run: RunId, fence: Fence, latest: Option<Fence>, attempt: u32| match latest {
        Some(latest) if latest == fence => attempt,
        // One that the store has not heard of comes after all that it has.
        _ => attempts
            .iter()
            .find(|(of, one)| *of == run && one.fence == fence)
            .map_or(attempt + 1, |(_, one)| one.number),
    };
    let now = micros(settler.clock.now());
    let mut restored = Vec::new();
    for (run, fence, worker) in held {
        if !fence.is_possible(now) {
            warn!(%run, %worker, "a worker holds what nobody can have given it");
            continue;
        }
        let Some(open) = open.get(run) else { continue };
        restored.push(Restored {
            entry: Entry::of(&open.run, Duration::ZERO),
            counters: open.counters,
            attempt: number(*run, *fence, open.fence, open.attempt),
            fence: Some(*fence),
            held: Some(worker.clone()),
            unsure: false,
            missed: false,
        });
    }
    if restored.is_empty() {
        return Ok(());
    }
    let runs: Vec<RunId> = restored.iter().map(|one| one.entry.run).collect();
    let entered = settler.queue.restore(restored).await?;
    if entered > 0 {
        settler.metrics.runs_reconciled.add(Reconciled::WithWorker, entered);
        // An end may have been on its way to the store: whoever writes it takes the run out of the queue after that, so that one of the two sees the other.
        let states = settler.store.states(runs.clone()).await?;
        let over = runs.into_iter().zip(states).filter(|(_, state)| state.is_some_and(State::is_final));
        settler.drop_ended(over.map(|(run, _)| run).collect()).await;
    }
    Ok(())
}
