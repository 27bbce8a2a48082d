//! What may reach the store a little later than it happened: the history of fast runs, and what people see of those under way.
//!
//! A fast run's row is written at its submission and moved to the history at its end, in the background, many in a transaction; when both
//! are there at once only the second is. While the database is away it is kept, up to [`ROOM`]; then those who have more must wait.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::task::TaskTracker;
use tracing::{debug, error, warn};

use crate::metrics::{Metrics, PanicIn};
use crate::panics::Panics;
use crate::queue::{Queue, Settlement, Step};
use crate::run::{Next, Outcome, RunId, State, TaskId};
use crate::store::{EndedAttempt, EndedRun, Mirror, NewRun, Started, Store, StoreError};

/// How many entries may wait.
const ROOM: usize = 100_000;
/// The most in one transaction.
const MOST: usize = 500;
/// How often the latest runs are shown beside their tasks, and beginnings are written that came before their runs.
const TICK: Duration = Duration::from_secs(1);

/// A cheap handle to the one task that writes the journal.
#[derive(Clone)]
pub struct Journal {
    entries: mpsc::Sender<Entry>,
    metrics: Arc<Metrics>,
}

enum Entry {
    Submitted(NewRun),
    Started(Started),
    Attempt(EndedAttempt),
    Ended(EndedRun),
    Mirror(Mirror),
    /// Whoever waits until all before it is written.
    Waiting(oneshot::Sender<()>),
}

impl Journal {
    /// Starts the writer. It ends when the last handle is dropped and all is written, or cannot be.
    #[must_use]
    pub fn spawn(tracker: &TaskTracker, store: Store, queue: Arc<dyn Queue>, metrics: Arc<Metrics>) -> Self {
        let (entries, inbox) = mpsc::channel(ROOM);
        tracker.spawn(write(inbox, store, queue, metrics.clone()));
        Self { entries, metrics }
    }

    /// A fast run was accepted. Waits when there is no room.
    pub async fn submitted(&self, run: NewRun) {
        self.put(Entry::Submitted(run)).await;
    }

    /// A fast run's attempt has ended. Waits when there is no room.
    pub async fn attempt(&self, attempt: EndedAttempt) {
        self.put(Entry::Attempt(attempt)).await;
    }

    /// A fast run has ended without an attempt. Waits when there is no room.
    pub async fn ended(&self, run: EndedRun) {
        self.put(Entry::Ended(run)).await;
    }

    /// An attempt has begun. Left out when there is no room: its end says it too.
    pub fn started(&self, started: Started) {
        self.try_put(Entry::Started(started));
    }

    /// A task's latest run has changed. Left out when there is no room.
    pub fn mirror(&self, mirror: Mirror) {
        self.try_put(Entry::Mirror(mirror));
    }

    /// Waits until all that was put before is written, or given up.
    pub async fn written(&self) {
        let (heard, written) = oneshot::channel();
        self.put(Entry::Waiting(heard)).await;
        // A journal that is closed writes no more.
        written.await.ok();
    }

    async fn put(&self, entry: Entry) {
        self.metrics.journal_entries.inc();
        if self.entries.send(entry).await.is_err() {
            self.metrics.journal_entries.dec();
            self.metrics.journal_dropped.inc();
            warn!("the journal is closed: a fast run's history is left to the queue");
        }
    }

    fn try_put(&self, entry: Entry) {
        self.metrics.journal_entries.inc();
        if self.entries.try_send(entry).is_err() {
            self.metrics.journal_entries.dec();
            self.metrics.journal_dropped.inc();
            debug!("the journal is full");
        }
    }
}

async fn write(mut inbox: mpsc::Receiver<Entry>, store: Store, queue: Arc<dyn Queue>, metrics: Arc<Metrics>) {
    let (mut latest, mut early, mut ripe) = (HashMap::new(), Vec::new(), Vec::new());
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut entries = Vec::with_capacity(MOST);
    loop {
        tokio::select! {
            count = inbox.recv_many(&mut entries, MOST) => {
                if count == 0 {
                    break;
                }
                let mut sorted = Sorted::default();
                std::mem::take(&mut entries).into_iter().for_each(|entry| sorted.add(entry, &mut latest));
                let waiting = std::mem::take(&mut sorted.waiting);
                let over: Vec<RunId> = sorted.over.iter().copied().collect();
                let given_up = flush(&store, sorted, &mut early, &inbox, &metrics.panics).await;
                drop_ended(&*queue, over).await;
                metrics.journal_dropped.inc_by(given_up as u64);
                // Who does not wait any more has stopped.
                for heard in waiting {
                    heard.send(()).ok();
                }
                metrics.journal_entries.sub(i64::try_from(count).unwrap_or(i64::MAX));
            }
            _ = tick.tick(), if !(latest.is_empty() && early.is_empty() && ripe.is_empty()) => {
                begin(&store, std::mem::replace(&mut ripe, std::mem::take(&mut early))).await;
                show(&store, &mut latest).await;
            }
        }
    }
    ripe.append(&mut early);
    begin(&store, ripe).await;
    show(&store, &mut latest).await;
}

/// Another server may write the row of a fast run later than this one hears that it has begun: a tick later it has. Most have ended by then.
async fn begin(store: &Store, early: Vec<Started>) {
    if early.is_empty() {
        return;
    }
    if let Err(error) = store.mark_running(early).await {
        debug!(%error, "failed to write that runs have begun");
    }
}

/// They left the queue before. One that was rebuilt meanwhile has them again, from when the store had them open.
async fn drop_ended(queue: &dyn Queue, over: Vec<RunId>) {
    let gone = |run| Settlement { run, fence: None, step: Step::Remove { result: None } };
    if let Err(error) = queue.settle(over.into_iter().map(gone).collect()).await {
        debug!(%error, "failed to look whether ended runs are in the queue again");
    }
}

async fn show(store: &Store, latest: &mut HashMap<TaskId, Mirror>) {
    if latest.is_empty() {
        return;
    }
    if let Err(error) = store.mirror(latest.drain().map(|(_, mirror)| mirror).collect()).await {
        debug!(%error, "failed to show the latest runs beside their tasks");
    }
}

/// Writes all of it; if that panics, each entry alone. Answers how many it gave up.
async fn flush(
    store: &Store,
    mut sorted: Sorted,
    early: &mut Vec<Started>,
    inbox: &mpsc::Receiver<Entry>,
    panics: &Panics,
) -> usize {
    if let Some(given_up) = panics.catch(PanicIn::Journal, persist(store, &mut sorted, early, inbox)).await {
        return given_up;
    }
    error!("writing the journal panicked: each entry is written alone");
    let mut given_up = 0;
    for mut one in sorted.split() {
        let written = panics.catch(PanicIn::Journal, persist(store, &mut one, early, inbox)).await;
        given_up += written.unwrap_or(one.len());
    }
    given_up
}

/// Writes all of it, trying again until it is written or refused for good; once nobody can add any more, only a few times. Answers how
/// many it gave up.
async fn persist(
    store: &Store,
    sorted: &mut Sorted,
    early: &mut Vec<Started>,
    inbox: &mpsc::Receiver<Entry>,
) -> usize {
    let mut failures = 0;
    while let Err(error) = sorted.write(store, early).await {
        failures += 1;
        let stopping = inbox.is_closed() && failures > 3;
        if stopping || !matches!(error, StoreError::Unavailable(_)) {
            warn!(%error, "failed to write the journal: the history of some fast runs is left to the queue");
            return sorted.len();
        }
        if failures == 1 {
            warn!(%error, "failed to write the journal: trying again");
        }
        sleep(Duration::from_millis(200 * failures.min(10))).await;
    }
    0
}

/// The entries of one transaction each.
#[derive(Default)]
struct Sorted {
    submitted: Vec<NewRun>,
    started: Vec<Started>,
    attempts: Vec<EndedAttempt>,
    ended: Vec<EndedRun>,
    over: HashSet<RunId>,
    waiting: Vec<oneshot::Sender<()>>,
}

impl Sorted {
    fn add(&mut self, entry: Entry, latest: &mut HashMap<TaskId, Mirror>) {
        match entry {
            Entry::Submitted(run) => self.submitted.push(run),
            Entry::Started(started) => self.started.push(started),
            Entry::Attempt(attempt) => {
                // Of one that was lost, only the entry of its start says when that was.
                if matches!(attempt.next, Next::End { .. }) && attempt.end.outcome != Outcome::Lost {
                    self.over.insert(attempt.run.id);
                }
                self.attempts.push(attempt);
            }
            Entry::Ended(run) => {
                self.over.insert(run.run.id);
                self.ended.push(run);
            }
            Entry::Mirror(mirror) => {
                latest.insert(mirror.task, mirror);
            }
            Entry::Waiting(heard) => self.waiting.push(heard),
        }
    }

    /// Each of them alone, in the order in which they are written.
    fn split(self) -> impl Iterator<Item = Self> {
        let Self { submitted, started, attempts, ended, over: _, waiting: _ } = self;
        let submitted = submitted.into_iter().map(|run| Self { submitted: vec![run], ..Self::default() });
        let started = started.into_iter().map(|one| Self { started: vec![one], ..Self::default() });
        let attempts =
            attempts.into_iter().map(|attempt| Self { attempts: vec![attempt], ..Self::default() });
        let ended = ended.into_iter().map(|run| Self { ended: vec![run], ..Self::default() });
        submitted.chain(started).chain(attempts).chain(ended)
    }

    fn len(&self) -> usize {
        self.submitted.len() + self.started.len() + self.attempts.len() + self.ended.len()
    }

    /// What is written is taken out, so that trying again goes on where it failed. Beginnings of runs that are not open, or not yet, are `early`, of
    /// which there are never more than go into one transaction.
    async fn write(&mut self, store: &Store, early: &mut Vec<Started>) -> Result<(), StoreError> {
        let over = &self.over;
        self.submitted.retain(|run| !over.contains(&run.run.id));
        self.started.retain(|started| !over.contains(&started.run));
        if !self.submitted.is_empty() {
            store.insert_runs(self.submitted.clone()).await?;
            self.submitted.clear();
        }
        if !self.started.is_empty() {
            let closed: HashSet<_> = store.mark_running(self.started.clone()).await?.into_iter().collect();
            let room = MOST.saturating_sub(early.len());
            early.extend(self.started.drain(..).filter(|one| closed.contains(&one.run)).take(room));
        }
        if !self.attempts.is_empty() {
            store.end_attempts(self.attempts.clone()).await?;
            self.attempts.clear();
        }
        if !self.ended.is_empty() {
            store.end_runs(self.ended.clone()).await?;
            self.ended.clear();
        }
        Ok(())
    }
}

/// A task's run, as it is shown beside the task.
#[must_use]
pub fn mirror(
    run: &crate::run::Run,
    state: State,
    started: Option<chrono::DateTime<chrono::Utc>>,
    retried: u32,
) -> Option<Mirror> {
    Some(Mirror { task: run.task.as_ref()?.id, run: run.id, state, started, retried })
}
