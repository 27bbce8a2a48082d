//! On demand: a request becomes a run, or one for each worker of an `all(..)`, and is queued.
//!
//! A durable run is committed before it is queued, a fast one is queued first. What arrives together is written together.

mod known;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use marabunta_proto::name::Name;
use marabunta_proto::target::Target;
use sha2::{Digest as _, Sha256};
use thiserror::Error;
use tokio_util::task::TaskTracker;

use crate::batch::{Batcher, Unanswered};
use crate::clock::StoreClock;
use crate::queue::{Queue, shard_of};
use crate::run::{Durability, GroupId, Key, Overlap, Place, Policy, Priority, Run, RunId, TaskRef};
use crate::settle::Settler;
use crate::store::{Store, StoreError};
use known::Known;
use write::{Prepared, Written};

/// A request to run something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub target: Target,
    pub handler: Name,
    /// JSON.
    pub payload: Bytes,
    pub policy: Policy,
    pub priority: Priority,
    /// Embedded, every run is durable.
    pub durability: Durability,
    /// A second request with the same key within a day is answered with the runs of the first.
    pub key: Option<String>,
    /// Refuse unless a worker that can take it is connected.
    pub online: bool,
    /// The task that is fired by hand.
    pub task: Option<TaskRef>,
    pub overlap: Overlap,
}

/// What was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Accepted {
    pub runs: Vec<(RunId, Place)>,
    pub group: Option<GroupId>,
    pub warnings: Vec<String>,
    /// These are the runs of an earlier request with the same key.
    pub repeated: bool,
}

/// Why a request was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SubmitError {
    #[error("target `{0}` matches no worker that ever connected")]
    NoWorker(String),
    #[error("no worker for `{0}` is connected now; without `online` the run would wait for one")]
    Offline(String),
    #[error("the queue of `{0}` is full: wait until some of it was worked off, or cancel some")]
    Full(String),
    #[error("the idempotency key `{0}` was used for another request within a day: choose another")]
    KeyReused(String),
    #[error("{0}")]
    Exhausted(String),
    /// Perhaps accepted all the same.
    #[error("{0}")]
    Unavailable(String),
    /// A bug of the server; perhaps accepted all the same.
    #[error("{0}")]
    Internal(String),
}

type Writer = Batcher<Prepared, Result<Written, SubmitError>>;

/// Accepts requests. Cloning is cheap.
#[derive(Clone)]
pub struct Submit {
    queue: Arc<dyn Queue>,
    store: Store,
    clock: StoreClock,
    /// A fast run does not wait for a database that is slow or away.
    fast: Writer,
    durable: Writer,
    known: Known,
}

impl Submit {
    /// Starts the writer.
    #[must_use]
    pub fn spawn(tracker: &TaskTracker, settler: &Settler) -> Self {
        let Settler { queue, store, journal, clock, metrics, unqueued, server } = settler.clone();
        let panics = metrics.panics.clone();
        let sink =
            write::Sink { queue: queue.clone(), store: store.clone(), journal, metrics, unqueued, server };
        let writer = || {
            let sink = sink.clone();
            Batcher::spawn(tracker, &panics, move |runs| {
                let sink = sink.clone();
                async move { sink.write(runs).await }
            })
        };
        let (fast, durable) = (writer(), writer());
        let known = Known::new(store.clone());
        Self { queue, store, clock, fast, durable, known }
    }

    /// Accepts a request: all of its runs, or none as far as is known.
    pub async fn submit(&self, request: Request) -> Result<Accepted, SubmitError> {
        let mut accepted = Accepted::default();
        let places = self.places(&request, &mut accepted).await?;
        let prepared = self.prepare(request, &places, accepted.group).await?;
        let fast = prepared.iter().all(|one| one.run.durability == Durability::Fast);
        let written = if fast { &self.fast } else { &self.durable }.write(prepared).await?;
        for (written, place) in written.into_iter().zip(places) {
            let written = written?;
            accepted.repeated |= written.repeated;
            accepted.runs.push((written.run, place));
            if written.waits && accepted.warnings.is_empty() {
                accepted
                    .warnings
                    .push("the queue is unavailable: the run is stored and starts when it is back".into());
            }
        }
        Ok(accepted)
    }

    /// Where the runs of a request wait. The group and warnings are noted on the way.
    async fn places(&self, request: &Request, accepted: &mut Accepted) -> Result<Vec<Place>, SubmitError> {
        let target = request.target.to_string();
        match &request.target {
            Target::Worker(name) => {
                if request.online {
                    self.online(&target, vec![name.clone()]).await?;
                } else if !self.known.has(&Place::Worker(name.clone())).await {
                    accepted
                        .warnings
                        .push(format!("no worker named `{name}` ever connected: the run waits for one"));
                }
                Ok(vec![Place::Worker(name.clone())])
            }
            Target::Any(selector) => {
                let able = selector.clone().with_handler(&request.handler);
                if request.online {
                    self.online(&target, self.store.matching(&able).await?).await?;
                } else if !self.known.has(&Place::Any(able)).await {
                    let handler = &request.handler;
                    accepted.warnings.push(format!(
                        "no worker of `{target}` that ever connected has the handler `{handler}`: the run waits for one"
                    ));
                }
                Ok(vec![Place::Any(selector.clone())])
            }
            Target::All(selector) => {
                let workers = self.store.matching(selector).await?;
                if workers.is_empty() {
                    return Err(SubmitError::NoWorker(target));
                }
                if request.online {
                    self.online(&target, workers.clone()).await?;
                }
                accepted.group = Some(request.key.as_deref().map_or_else(GroupId::new, GroupId::keyed));
                Ok(workers.into_iter().map(Place::Worker).collect())
            }
        }
    }

    async fn online(&self, target: &str, workers: Vec<Name>) -> Result<(), SubmitError> {
        let sessions = self.queue.sessions(workers).await;
        let sessions = sessions.map_err(|error| SubmitError::Unavailable(error.to_string()))?;
        if sessions.iter().any(Option::is_some) {
            Ok(())
        } else {
            Err(SubmitError::Offline(target.to_owned()))
        }
    }

    async fn prepare(
        &self,
        request: Request,
        places: &[Place],
        group: Option<GroupId>,
    ) -> Result<Vec<Prepared>, SubmitError> {
        let payload = self.store.intern(vec![request.payload.clone()]).await?.pop();
        let payload = payload.ok_or_else(|| SubmitError::Unavailable("the payload was not stored".into()))?;
        let durability = if self.store.is_embedded() { Durability::Durable } else { request.durability };
        let shard = self.shard(&request);
        let now = self.clock.now();
        let prepared = places.iter().map(|place| {
            let run = Run {
                id: RunId::new(now, shard),
                task: request.task.clone(),
                group,
                place: place.clone(),
                handler: request.handler.clone(),
                payload: payload.clone(),
                priority: request.priority,
                durability,
                policy: request.policy.clone(),
                overlap: request.overlap,
                created: now,
                due: now,
            };
            let key = request.key.as_deref().map(|text| key(text, &run, group.is_some()));
            Prepared { run, key, text: request.key.clone() }
        });
        Ok(prepared.collect())
    }

    /// The runs of a task meet in one shard, where its overlap policy is decided, and so do requests with the same key; others go anywhere.
    fn shard(&self, request: &Request) -> u16 {
        let shards = self.queue.shards();
        match (&request.task, &request.key) {
            (Some(task), _) => shard_of(&task.id.to_string(), shards),
            (None, Some(key)) => shard_of(key, shards),
            (None, None) => rand::random::<u16>() % shards,
        }
    }
}

/// The key of one run: the submitter's, and for one of a group its worker; with a hash of all that the request says.
fn key(text: &str, run: &Run, grouped: bool) -> Key {
    let epoch = chrono::DateTime::UNIX_EPOCH;
    let same = Run { created: epoch, due: epoch, group: None, ..run.clone() };
    let digest: [u8; 32] = Sha256::digest(same.encode()).into();
    let mut request = [0; 16];
    request.copy_from_slice(&digest[..16]);
    let text = if grouped { format!("{text}\n{}", run.place) } else { text.to_owned() };
    Key { text, request }
}

impl From<Unanswered> for SubmitError {
    fn from(error: Unanswered) -> Self {
        match error {
            Unanswered::Stopping => Self::Unavailable(error.to_string()),
            Unanswered::Panicked => Self::Internal(error.to_string()),
        }
    }
}

impl From<StoreError> for SubmitError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error.to_string())
    }
}
