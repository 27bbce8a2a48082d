//! Ends of attempts of which the queue knows nothing: it has settled them, or has lost them.

use std::collections::{HashMap, HashSet};

use tracing::warn;

use super::{End, Settler, Verdict, Witness, unknown};
use crate::queue::{Entry, QueueError, Restored, Settlement, Step};
use crate::run::{AttemptEnd, Conclusion, Fence, Next, Outcome, RunId, next};
use crate::store::{EndedAttempt, OpenRun, Recorded, StoreError};

/// An end, and where its verdict goes.
pub(super) type Said = (usize, End);

impl Settler {
    /// What the store has open is ended all the same; what has ended is compared with what is said. After the loss of a queue there may be thousands: they are
    /// looked up together.
    pub(super) async fn end_unknown(&self, ends: Vec<Said>, verdicts: &mut [Verdict]) {
        if ends.is_empty() {
            return;
        }
        let count = ends.len();
        let kept = match self.queue.results(runs(&ends)).await {
            Ok(kept) => kept,
            Err(error) => return warn!(ends = count, %error, "failed to look for kept results"),
        };
        let mut rest = Vec::new();
        for ((index, end), kept) in ends.into_iter().zip(kept) {
            match kept.map(|kept| Conclusion::decode(end.run, &kept)) {
                Some(Ok(Conclusion { attempt: Some(last), .. })) if last.fence == end.fence => {
                    verdicts[index] = Verdict::Recorded;
                }
                Some(_) => verdicts[index] = Verdict::Stale,
                None => rest.push((index, end)),
            }
        }
        if let Err(error) = self.end_by_store(rest, verdicts).await {
            warn!(ends = count, %error, "failed to look up what was reported");
        }
    }

    async fn end_by_store(&self, ends: Vec<Said>, verdicts: &mut [Verdict]) -> Result<(), StoreError> {
        if ends.is_empty() {
            return Ok(());
        }
        let open = self.store.open_among(runs(&ends)).await?;
        let open: HashMap<RunId, OpenRun> = open.into_iter().map(|open| (open.run.id, open)).collect();
        let (forgotten, ended): (Vec<_>, Vec<_>) =
            ends.into_iter().partition(|(_, end)| open.contains_key(&end.run));
        // After the open ones, so that what ends in between is found.
        let states = self.store.states(runs(&ended)).await?;
        let attempts = self.store.attempts_of(runs(&ended)).await?;
        let known: HashSet<(RunId, Fence)> = attempts
            .iter()
            .filter(|(_, one)| one.outcome != Some(Outcome::Lost))
            .map(|(run, one)| (*run, one.fence))
            .collect();
        for ((index, end), state) in ended.into_iter().zip(states) {
            verdicts[index] = match state {
                None if end.by == Witness::Worker => unknown(end.fence, self.clock.now()),
                None => Verdict::Unknown,
                // Its row has come meanwhile.
                Some(state) if !state.is_final() => Verdict::Retry,
                Some(_) if known.contains(&(end.run, end.fence)) => Verdict::Recorded,
                Some(_) => Verdict::Stale,
            };
        }
        self.end_forgotten(forgotten, &open, verdicts).await
    }

    /// The queue has lost open runs whose attempts end now.
    async fn end_forgotten(
        &self,
        ends: Vec<Said>,
        open: &HashMap<RunId, OpenRun>,
        verdicts: &mut [Verdict],
    ) -> Result<(), StoreError> {
        let (mut said, mut rows, mut runs) = (Vec::new(), Vec::new(), HashSet::new());
        for (index, end) in ends {
            let Some(OpenRun { run, counters, cancelled, .. }) = open.get(&end.run) else { continue };
            // Nobody took charge of it, or it was lost: it goes back with the other open runs when the queue is rebuilt.
            let Some(kept) = end.end.clone().filter(|kept| kept.outcome != Outcome::Lost) else {
                verdicts[index] = Verdict::Recorded;
                continue;
            };
            // Of two attempts of a run one goes first, and the other is to be said again.
            if !runs.insert(end.run) {
                continue;
            }
            let next = next(&run.policy, *counters, Some(kept.outcome), *cancelled, rand::random());
            // The rows of earlier attempts may be on their way: whether another may follow is decided when they are there.
            let behind = counters.failed + counters.lost + 1 < end.number;
            if behind && matches!(next, Next::Again { .. }) {
                continue;
            }
            rows.push(self.forgotten(run, &end, kept, next));
            said.push((index, end, next));
        }
        if rows.is_empty() {
            return Ok(());
        }
        let recorded = self.store.end_attempts(rows).await?;
        let (mut again, mut over) = (Vec::new(), Vec::new());
        for ((index, end, next), recorded) in said.into_iter().zip(recorded) {
            verdicts[index] = match recorded {
                Recorded::Recorded | Recorded::Already => Verdict::Recorded,
                _ => Verdict::Stale,
            };
            // What was recorded before is in what the store has behind the run, which goes back to the queue with the other open ones.
            if recorded != Recorded::Recorded {
                continue;
            }
            self.count(&end, &next);
            match (next, open.get(&end.run)) {
                (Next::Again { delay, counters }, Some(open)) => again.push(Restored {
                    entry: Entry::of(&open.run, delay),
                    counters,
                    attempt: end.number,
                    fence: Some(end.fence),
                    held: None,
                    unsure: false,
                    missed: false,
                }),
                // Somebody may have given it back to the queue meanwhile, as the store had it before.
                _ => over.push(end.run),
            }
        }
        let retried: Vec<RunId> = again.iter().map(|again| again.entry.run).collect();
        if let Err(error) = self.retry(again).await {
            warn!(runs = retried.len(), %error, "failed to queue retries: it will be tried again");
            self.unqueued.note(retried);
        }
        self.drop_ended(over).await;
        Ok(())
    }

    /// Gives them back to the queue, or tells it of their end when somebody has given them back meanwhile, as the store had them before.
    async fn retry(&self, again: Vec<Restored>) -> Result<(), QueueError> {
        if again.is_empty() {
            return Ok(());
        }
        self.queue.restore(again.clone()).await?;
        let settle = |one: Restored| {
            let Restored { entry: Entry { run, delay, .. }, counters, attempt, fence, .. } = one;
            Settlement { run, fence, step: Step::Again { delay, counters, attempt } }
        };
        self.queue.settle(again.into_iter().map(settle).collect()).await?;
        Ok(())
    }

    fn forgotten(&self, run: &crate::run::Run, end: &End, kept: AttemptEnd, next: Next) -> EndedAttempt {
        EndedAttempt {
            run: run.clone(),
            fence: end.fence,
            number: end.number,
            worker: end.worker.clone(),
            server: self.server.clone(),
            end: kept,
            next,
        }
    }
}

fn runs(ends: &[Said]) -> Vec<RunId> {
    ends.iter().map(|(_, end)| end.run).collect()
}
