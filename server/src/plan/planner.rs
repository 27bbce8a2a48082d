//! The planner's life: a poll now and then, and a look at once when a door changed a task.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marabunta_proto::target::Target;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::firings::{Moment, NO_WORKER, plan};
use crate::clock::StoreClock;
use crate::metrics::{Metrics, PanicIn, RunEnd, Submitted};
use crate::queue::{Entry, Queue, QueueError};
use crate::run::{Place, TaskId};
use crate::store::{Committed, Inserted, NewRun, PlanBatch, PlanTask, Planned, Store, StoreError};
use crate::task::TaskSpec;
use crate::unqueued::Unqueued;
use thiserror::Error;

/// How many tasks are locked at once.
const BATCH: u32 = 200;

/// How long to wait for more workers when one has come.
const GATHER: Duration = Duration::from_millis(500);

/// What of planning can be set.
#[derive(Debug, Clone)]
pub struct Options {
    /// This server's id.
    pub server: String,
    /// How often the tasks are looked at: by then what was changed by plain SQL has its effect.
    pub poll_interval: Duration,
}

/// Plans tasks. Cloning is cheap.
#[derive(Clone)]
pub struct Planner {
    store: Store,
    queue: Arc<dyn Queue>,
    clock: StoreClock,
    metrics: Arc<Metrics>,
    unqueued: Unqueued,
    options: Arc<Options>,
    /// Other workers match than before.
    matched: Arc<Notify>,
}

/// Why a plan was not made.
#[derive(Debug, Error)]
pub enum PlanError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
}

impl Planner {
    /// A planner that does nothing until it is [run](Planner::run).
    #[must_use]
    pub fn new(
        store: Store,
        queue: Arc<dyn Queue>,
        clock: StoreClock,
        metrics: Arc<Metrics>,
        unqueued: Unqueued,
        options: Options,
    ) -> Self {
        Self { store, queue, clock, metrics, unqueued, options: Arc::new(options), matched: Arc::default() }
    }

    /// Polls until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut due = Instant::now();
        loop {
            // Servers that were started together do not poll together for ever.
            let jitter = 0.95 + 0.1 * rand::random::<f64>();
            let pause = match self.poll().await {
                Ok(()) => {
                    self.metrics.polled(due.elapsed());
                    let pause = self.options.poll_interval.mul_f64(jitter);
                    due = Instant::now() + pause;
                    pause
                }
                Err(error) => {
                    warn!(%error, "failed to plan the tasks: trying again");
                    self.options.poll_interval.min(Duration::from_secs(2)).mul_f64(jitter)
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.matched.notified() => self.look_at_fan_outs().await,
                () = stop.cancelled() => return,
            }
        }
    }

    /// A worker has come that selectors did not match before: what is queued ahead for an `all(..)` is to reach it too.
    pub fn workers_changed(&self) {
        self.matched.notify_one();
    }

    /// A moment after the first worker has come, so that many are one look.
    async fn look_at_fan_outs(&self) {
        sleep(GATHER).await;
        if let Err(error) = self.store.look_at_fan_outs().await {
            warn!(%error, "failed to look at the tasks that fire for all workers: left to the next poll");
        }
    }

    async fn poll(&self) -> Result<(), PlanError> {
        // What could not be queued is not planned: while the queue is away, firings are missed.
        self.queue.is_empty_handed().await?;
        let until = self.until(self.clock.now());
        let peek = self.store.peek(until).await?;
        self.clock.set(peek.now);
        if peek.orphaned {
            self.withdraw_orphans().await?;
        }
        if !peek.due && !peek.changed {
            return Ok(());
        }
        loop {
            let batch = self.store.plan_batch(self.until(self.clock.now()), BATCH).await?;
            if batch.tasks.is_empty() {
                return Ok(());
            }
            self.plan(batch).await?;
        }
    }

    /// Plans one task now: a door has changed it. If that fails, the next poll does it.
    pub async fn plan_now(&self, task: TaskId) {
        let planned = match self.store.plan_task(task).await {
            Ok(batch) => self.plan(batch).await,
            Err(error) => Err(error.into()),
        };
        if let Err(error) = planned {
            warn!(%task, %error, "failed to plan a changed task: left to the next poll");
        }
    }

    /// What is queued ahead of tasks that are gone leaves the queue, then the store.
    pub async fn withdraw_orphans(&self) -> Result<(), PlanError> {
        loop {
            let orphans = self.store.orphans(BATCH).await?;
            if orphans.is_empty() {
                return Ok(());
            }
            let gone = self.queue.withdraw(orphans.clone()).await?;
            let gone: Vec<_> =
                orphans.into_iter().zip(gone).filter_map(|(run, gone)| gone.then_some(run)).collect();
            if gone.is_empty() {
                return Ok(());
            }
            self.metrics.runs_withdrawn.inc_by(gone.len() as u64);
            info!(runs = gone.len(), "withdrew what was queued ahead of deleted tasks");
            self.store.withdraw(gone).await?;
        }
    }

    async fn plan(&self, batch: PlanBatch) -> Result<(), PlanError> {
        let now = batch.now;
        let mut planned = Vec::with_capacity(batch.tasks.len());
        for task in &batch.tasks {
            planned.push(self.plan_one(task, now).await?);
        }
        let runs: Vec<NewRun> = planned.iter().flat_map(|planned| planned.runs.clone()).collect();
        let withdrawn = planned.iter().map(|task| task.withdrawn.len()).sum();
        let skips: Vec<RunEnd> =
            planned.iter().flat_map(|task| &task.skipped).map(|(_, why)| skip(why)).collect();
        let committed = batch.commit(planned).await?;
        self.count(withdrawn, skips, &committed);
        let entries: Vec<Entry> = runs
            .iter()
            .zip(committed.inserted)
            .filter(|(_, inserted)| *inserted == Inserted::New)
            .map(|(new, _)| Entry::of(&new.run, (new.run.due - now).to_std().unwrap_or(Duration::ZERO)))
            .collect();
        if entries.is_empty() {
            return Ok(());
        }
        debug!(runs = entries.len(), "queueing what is due");
        let planned: Vec<_> = entries.iter().map(|entry| entry.run).collect();
        if let Err(error) = self.queue.enqueue(entries).await {
            warn!(%error, "failed to queue planned runs: trying again");
            self.unqueued.note(planned);
        }
        Ok(())
    }

    fn count(&self, withdrawn: usize, skips: Vec<RunEnd>, committed: &Committed) {
        self.metrics.runs_withdrawn.inc_by(withdrawn as u64);
        let new = committed.inserted.iter().filter(|inserted| **inserted == Inserted::New).count();
        self.metrics.runs_submitted.add(Submitted::Scheduled, new);
        for (skip, new) in skips.into_iter().zip(&committed.skipped) {
            if *new {
                self.metrics.runs_ended.count(skip);
            }
        }
    }

    async fn plan_one(&self, task: &PlanTask, now: DateTime<Utc>) -> Result<Planned, PlanError> {
        let gone = self.queue.withdraw(task.ahead.clone()).await?;
        let withdrawn = task.ahead.iter().zip(gone).filter_map(|(run, gone)| gone.then_some(*run)).collect();
        let spec = match &task.spec {
            Ok(spec) => spec,
            Err(problem) => {
                error!(task = %task.id, problem, "a task cannot be read");
                return Ok(Planned { withdrawn, ..unplanned(task, problem.clone(), now) });
            }
        };
        let places = self.places(spec).await?;
        let moment =
            Moment { now, until: self.until(now), shards: self.queue.shards(), server: &self.options.server };
        let planned = self.metrics.panics.catch_now(PanicIn::Task, || plan(task, spec, &places, &moment));
        let planned = planned.unwrap_or_else(|| {
            error!(task = %task.id, "planning a task panicked: it does not fire until it is edited");
            unplanned(task, "planning it panicked: a bug of the server; see its log".to_owned(), now)
        });
        Ok(Planned { withdrawn, ..planned })
    }

    async fn places(&self, spec: &TaskSpec) -> Result<Vec<Place>, PlanError> {
        Ok(match &spec.target {
            Target::Worker(name) => vec![Place::Worker(name.clone())],
            Target::Any(selector) => vec![Place::Any(selector.clone())],
            Target::All(selector) => {
                self.store.matching(selector).await?.into_iter().map(Place::Worker).collect()
            }
        })
    }

    /// A little more than the next poll, should it be late.
    fn until(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        let ahead = self.options.poll_interval.mul_f64(1.25) + Duration::from_secs(5);
        now + TimeDelta::from_std(ahead).unwrap_or(TimeDelta::hours(1))
    }
}

/// A task that does not fire until it is edited, and why.
fn unplanned(task: &PlanTask, problem: String, now: DateTime<Utc>) -> Planned {
    Planned {
        task: task.id,
        runs: Vec::new(),
        skipped: Vec::new(),
        withdrawn: Vec::new(),
        next: None,
        planned_to: now,
        problem,
    }
}

fn skip(why: &str) -> RunEnd {
    if why == NO_WORKER { RunEnd::NoWorker } else { RunEnd::Missed }
}
