//! Writes runs where their class promises, then queues them.

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use super::SubmitError;
use crate::journal::Journal;
use crate::metrics::{Metrics, Submitted};
use crate::planted::{self, Bug};
use crate::queue::{Admission, Entry, Queue, QueueError};
use crate::run::{Durability, Key, Run, RunId};
use crate::store::{Inserted, NewRun, Store};
use crate::unqueued::Unqueued;

/// How long a call that is alive may take between row and queue, in ms.
const UNANSWERED: i64 = 5_000;

/// A run on its way in.
#[derive(Clone)]
pub(super) struct Prepared {
    pub run: Run,
    pub key: Option<Key>,
    /// The key as its submitter wrote it.
    pub text: Option<String>,
}

/// A run that is accepted.
pub(super) struct Written {
    pub run: RunId,
    pub repeated: bool,
    /// It is stored, but could not be queued yet.
    pub waits: bool,
}

#[derive(Clone)]
pub(super) struct Sink {
    pub queue: Arc<dyn Queue>,
    pub store: Store,
    pub journal: Journal,
    pub metrics: Arc<Metrics>,
    pub unqueued: Unqueued,
    pub server: String,
}

type Answer = Result<Written, SubmitError>;

impl Sink {
    /// One answer for each, in order.
    pub async fn write(&self, runs: Vec<Prepared>) -> Vec<Answer> {
        let durable = |one: &Prepared| one.run.durability == Durability::Durable;
        if planted::is(Bug::EarlyAcknowledgement) && runs.iter().all(durable) {
            let answers = runs.iter().map(|one| Ok(accepted(one.run.id))).collect();
            let sink = self.clone();
            planted::unheard(async move { sink.commit(runs).await });
            return answers;
        }
        self.commit(runs).await
    }

    async fn commit(&self, runs: Vec<Prepared>) -> Vec<Answer> {
        let mut answers: Vec<Option<Answer>> = runs.iter().map(|_| None).collect();
        let classes: Vec<_> = runs.iter().map(|one| one.run.durability).collect();
        let (durable, fast): (Vec<_>, Vec<_>) =
            runs.into_iter().enumerate().partition(|(_, one)| one.run.durability == Durability::Durable);
        let stored = self.store(durable, &mut answers).await;
        let queued: Vec<_> = stored.into_iter().chain(fast).collect();
        self.enqueue(queued, &mut answers).await;
        for (class, answer) in classes.into_iter().zip(&answers) {
            if let Some(Ok(Written { repeated: false, .. })) = answer {
                self.metrics.runs_submitted.count(match class {
                    Durability::Durable => Submitted::Durable,
                    Durability::Fast => Submitted::Fast,
                });
            }
        }
        let lost = || Err(SubmitError::Unavailable("the run was not written".into()));
        answers.into_iter().map(|answer| answer.unwrap_or_else(lost)).collect()
    }

    /// Commits durable runs. Those that are new are to be queued.
    async fn store(
        &self,
        runs: Vec<(usize, Prepared)>,
        answers: &mut [Option<Answer>],
    ) -> Vec<(usize, Prepared)> {
        if runs.is_empty() {
            return runs;
        }
        let inserted = match self.store.insert_runs(runs.iter().map(|(_, one)| self.row(one)).collect()).await
        {
            Ok(inserted) => inserted,
            Err(error) => {
                for (index, _) in runs {
                    answers[index] = Some(Err(SubmitError::Unavailable(error.to_string())));
                }
                return Vec::new();
            }
        };
        let (mut new, mut repeats) = (Vec::with_capacity(runs.len()), Vec::new());
        for ((index, one), inserted) in runs.into_iter().zip(inserted) {
            match inserted {
                // One that is written again may not have been queued.
                Inserted::New | Inserted::Duplicate => new.push((index, one)),
                Inserted::Repeated { run, same: true } => repeats.push((index, one, run)),
                Inserted::Repeated { run, same } => answers[index] = Some(repeated(run, same, &one)),
            }
        }
        self.confirm(repeats, answers).await;
        new
    }

    /// These were asked for before. What the queue does not have may be refused by it just now, and taken back by whoever asked first: it is accepted only
    /// when it is there. One that has not been queued for long belongs to a server that died.
    async fn confirm(&self, repeats: Vec<(usize, Prepared, RunId)>, answers: &mut [Option<Answer>]) {
        if repeats.is_empty() {
            return;
        }
        let runs = repeats.iter().map(|(_, _, run)| *run).collect();
        let Ok(records) = self.queue.look(runs).await else {
            // The queue is away, and not full: nothing is taken back.
            for (index, _, run) in repeats {
                answers[index] = Some(Ok(Written { waits: true, repeated: true, ..accepted(run) }));
            }
            return;
        };
        let mut missing = Vec::new();
        for ((index, one, run), record) in repeats.into_iter().zip(records) {
            match record {
                Some(_) => answers[index] = Some(repeated(run, true, &one)),
                None => missing.push((index, one, run)),
            }
        }
        if missing.is_empty() {
            return;
        }
        // What has left the queue by ending has ended in the store since before that.
        let states = self.store.states(missing.iter().map(|(_, _, run)| *run).collect()).await;
        let states = states.unwrap_or_else(|_| vec![None; missing.len()]);
        for ((index, one, run), state) in missing.into_iter().zip(states) {
            answers[index] = Some(match state {
                Some(state) if state.is_final() => repeated(run, true, &one),
                _ => Err(self.unanswered(run, &one)),
            });
        }
    }

    /// Whoever asked first has not been answered, or is dead.
    fn unanswered(&self, run: RunId, again: &Prepared) -> SubmitError {
        let age = again.run.created.timestamp_millis() - i64::try_from(run.millis()).unwrap_or(0);
        if age > UNANSWERED {
            self.unqueued.note([run]);
        }
        SubmitError::Unavailable("an earlier call with this key has not been answered yet".into())
    }

    async fn enqueue(&self, runs: Vec<(usize, Prepared)>, answers: &mut [Option<Answer>]) {
        if runs.is_empty() {
            return;
        }
        let entries = runs.iter().map(|(_, one)| entry(one)).collect();
        let admitted = match self.queue.enqueue(entries).await {
            Ok(admitted) => admitted,
            Err(error) => return self.refused(runs, &error, answers).await,
        };
        let mut full = Vec::new();
        for ((index, one), admission) in runs.into_iter().zip(admitted) {
            let durable = one.run.durability == Durability::Durable;
            answers[index] = Some(match admission {
                Admission::Queued | Admission::Duplicate => Ok(accepted(one.run.id)),
                Admission::Repeated { run, same } => repeated(run, same, &one),
                Admission::Full => {
                    if durable {
                        full.push(self.row(&one));
                    }
                    Err(SubmitError::Full(one.run.place.to_string()))
                }
            });
            if admission == Admission::Queued && !durable {
                self.journal.submitted(self.row(&one)).await;
            }
        }
        self.take_back(full).await;
    }

    /// The queue took nothing, as far as is known. A durable run is accepted all the same when the queue is away, and not when it is full.
    async fn refused(
        &self,
        runs: Vec<(usize, Prepared)>,
        error: &QueueError,
        answers: &mut [Option<Answer>],
    ) {
        let mut full = Vec::new();
        for (index, one) in runs {
            let durable = one.run.durability == Durability::Durable;
            answers[index] = Some(match error {
                QueueError::Full(_) => {
                    if durable {
                        full.push(self.row(&one));
                    }
                    Err(SubmitError::Exhausted(error.to_string()))
                }
                _ if durable => {
                    self.unqueued.note([one.run.id]);
                    Ok(Written { waits: true, ..accepted(one.run.id) })
                }
                _ => Err(SubmitError::Unavailable(error.to_string())),
            });
        }
        self.take_back(full).await;
    }

    async fn take_back(&self, runs: Vec<NewRun>) {
        if !runs.is_empty()
            && let Err(error) = self.store.take_back(runs).await
        {
            warn!(%error, "failed to take back refused runs: they will be queued after all");
        }
    }

    fn row(&self, one: &Prepared) -> NewRun {
        NewRun { run: one.run.clone(), server: self.server.clone(), key: one.key.clone() }
    }
}

/// The store looks after the keys of durable runs, the queue after those of fast ones.
fn entry(one: &Prepared) -> Entry {
    let key = one.key.clone().filter(|_| one.run.durability == Durability::Fast);
    Entry { key, ..Entry::of(&one.run, Duration::ZERO) }
}

fn accepted(run: RunId) -> Written {
    Written { run, repeated: false, waits: false }
}

fn repeated(run: RunId, same: bool, one: &Prepared) -> Answer {
    if same {
        Ok(Written { run, repeated: true, waits: false })
    } else {
        Err(SubmitError::KeyReused(one.text.clone().unwrap_or_default()))
    }
}
