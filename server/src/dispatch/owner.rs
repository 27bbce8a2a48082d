//! The one task that owns the sessions: it waits for an event, lets the board decide, and acts.

mod done;
mod hints;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use marabunta_proto::name::Name;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};
use uuid::Uuid;

use super::board::{Board, Live};
use super::event::{Event, Link};
use super::flapping::Flapping;
use super::session::HEARTBEAT;
use super::{ConnectError, Dispatch, Finding, FromWorker, Hello, Started, ToWorker};
use crate::metrics::{Metrics, SessionEnd, SessionRefused};
use crate::queue::{Queue, QueueError, Session, SessionId};
use crate::run::{Fence, Lease, Place, RunId};
use done::Done;

/// How many events may wait for the owner; a session's reader then waits, and its worker with it.
const EVENTS: usize = 4096;
/// How often everything is looked at, whatever the hints said.
const SWEEP: Duration = Duration::from_secs(30);

/// What of dispatch can be set.
#[derive(Debug, Clone)]
pub struct Options {
    /// This server's id: unique among all, new at each start.
    pub server: String,
    /// The age at which a session is told to reconnect, spread by up to a tenth.
    pub session_age: Duration,
}

/// How the owner reaches a session.
struct Reach {
    outbox: mpsc::Sender<ToWorker>,
    stop: CancellationToken,
}

/// The owner's state. [`Owner::run`] is its life.
pub struct Owner {
    queue: Arc<dyn Queue>,
    options: Options,
    metrics: Arc<Metrics>,
    events: mpsc::Receiver<Event>,
    hints: broadcast::Receiver<crate::queue::Hint>,
    /// Attempts that were accepted. For the store's record only: dropped when nobody keeps up.
    started: mpsc::Sender<Vec<Started>>,
    findings: mpsc::Sender<Vec<Finding>>,
    board: Board,
    flapping: Flapping,
    reach: HashMap<SessionId, Reach>,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    claiming: bool,
    accepting: bool,
    renewing: bool,
    accepted: Vec<Started>,
    /// Findings that nobody has taken yet: at most what the sessions were sent.
    found: Vec<Finding>,
    /// Places whose claim failed, to be looked at again at the next tick.
    failed: HashSet<Place>,
}

impl Owner {
    /// An owner without sessions, and the handle to it. What it finds goes to `findings` and is never dropped; what was started goes to `started`
    /// and may be.
    pub fn new(
        queue: Arc<dyn Queue>,
        options: Options,
        metrics: Arc<Metrics>,
        tracker: &TaskTracker,
        started: mpsc::Sender<Vec<Started>>,
        findings: mpsc::Sender<Vec<Finding>>,
    ) -> (Self, Dispatch) {
        let (sender, events) = mpsc::channel(EVENTS);
        let hints = queue.hints();
        let owner = Self {
            queue,
            options,
            metrics,
            events,
            hints,
            started,
            findings,
            board: Board::default(),
            flapping: Flapping::default(),
            reach: HashMap::new(),
            jobs: FuturesUnordered::new(),
            claiming: false,
            accepting: false,
            renewing: false,
            accepted: Vec::new(),
            found: Vec::new(),
            failed: HashSet::new(),
        };
        (owner, Dispatch { events: sender, tracker: tracker.clone() })
    }

    /// Serves sessions until `stop`; then tells every worker to reconnect and waits for them to go, at most `grace`.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut renewed, mut swept) = (Instant::now(), Instant::now());
        let mut stopping: Option<Instant> = None;
        let findings = self.findings.clone();
        while stopping.is_none_or(|since| !self.reach.is_empty() && since.elapsed() < grace) {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.on_event(event, stopping.is_some()),
                    None => break,
                },
                Some(done) = self.jobs.next() => self.on_done(done),
                hint = self.hints.recv() => self.on_hint(hint),
                permit = findings.reserve(), if !self.found.is_empty() => match permit {
                    Ok(permit) => permit.send(std::mem::take(&mut self.found)),
                    Err(_) => break,
                },
                now = tick.tick() => {
                    self.on_tick(now);
                    if now.duration_since(renewed) >= HEARTBEAT {
                        renewed = now;
                        self.renew();
                    }
                    if now.duration_since(swept) >= SWEEP {
                        swept = now;
                        self.sweep();
                    }
                }
                () = stop.cancelled(), if stopping.is_none() => {
                    stopping = Some(Instant::now());
                    info!(sessions = self.reach.len(), "telling the workers to reconnect");
                    self.reconnect_all();
                }
            }
            if stopping.is_none() {
                self.claim();
            }
            self.accept();
        }
        self.leave().await;
    }

    fn on_event(&mut self, event: Event, stopping: bool) {
        match event {
            Event::Connect { opened, .. } if stopping => {
                // A caller that has gone needs no answer.
                opened.send(Err(ConnectError::Stopping)).ok();
            }
            Event::Connect { hello, draining, outbox, opened } => {
                self.connect(*hello, draining, outbox, opened)
            }
            Event::Said { worker, session, message } => {
                self.accepted.extend(self.board.said(&worker, session, &message));
                if let FromWorker::Heartbeat(sequence) = message {
                    self.send(&worker, session, ToWorker::HeartbeatAck(sequence));
                }
            }
            Event::Ended { worker, session, cause } => self.close(&worker, session, cause),
        }
    }

    fn connect(
        &mut self,
        hello: Hello,
        draining: bool,
        outbox: mpsc::Sender<ToWorker>,
        opened: oneshot::Sender<Result<Link, ConnectError>>,
    ) {
        if self.flapping.refuses(&hello.worker, &hello.instance, Instant::now()) {
            self.metrics.sessions_refused.count(SessionRefused::Flapping);
            // A caller that has gone needs no answer.
            opened.send(Err(ConnectError::Flapping(hello.worker))).ok();
            return;
        }
        let id = SessionId(Uuid::new_v4());
        let session = Session {
            worker: hello.worker.clone(),
            id,
            server: self.options.server.clone(),
            instance: hello.instance.clone(),
        };
        let holding = pairs(&hello.holding);
        let queue = self.queue.clone();
        self.jobs.push(Box::pin(async move {
            let found = queue.open(session.clone(), holding).await;
            Done::Opened { session, hello: Box::new(hello), draining, outbox, opened, found }
        }));
    }

    /// Opens a session again that the queue no longer knows, with all that it holds.
    fn reopen(&mut self, worker: &Name, id: SessionId) {
        let Some(live) = self.board.get(worker, id) else { return };
        let (session, holding) = (live.session.clone(), live.holding());
        let held = pairs(&holding);
        let queue = self.queue.clone();
        self.jobs.push(Box::pin(async move {
            let found = queue.open(session.clone(), held).await;
            Done::Reopened { session, holding, found }
        }));
    }

    fn claim(&mut self) {
        if self.claiming {
            return;
        }
        let claims = self.board.claims();
        if claims.is_empty() {
            return;
        }
        self.claiming = true;
        let queue = self.queue.clone();
        self.jobs.push(Box::pin(async move {
            let claimed = queue.claim(claims.clone()).await;
            Done::Claimed { claims, claimed }
        }));
    }

    fn accept(&mut self) {
        if self.accepting || self.accepted.is_empty() {
            return;
        }
        self.accepting = true;
        let started = std::mem::take(&mut self.accepted);
        let queue = self.queue.clone();
        self.jobs.push(Box::pin(async move {
            let counted = queue.accept(started.iter().map(|one| (one.run, one.fence)).collect()).await;
            Done::Accepted { started, counted }
        }));
    }

    fn renew(&mut self) {
        let sessions: Vec<_> =
            self.board.sessions().map(|live| (live.session.worker.clone(), live.session.id)).collect();
        if self.renewing || sessions.is_empty() {
            return;
        }
        self.renewing = true;
        let queue = self.queue.clone();
        self.jobs.push(Box::pin(async move {
            let alive = queue.renew(sessions.clone()).await;
            Done::Renewed { sessions, alive }
        }));
    }

    fn sweep(&mut self) {
        let queue = self.queue.clone();
        self.jobs.push(Box::pin(async move { Done::Selectors(queue.selectors().await) }));
    }

    fn on_tick(&mut self, now: Instant) {
        self.flapping.tick(now);
        for place in std::mem::take(&mut self.failed) {
            self.board.ready(place);
        }
        for (worker, lease) in self.board.unaccepted(now) {
            warn!(%worker, run = %lease.run, "not accepted in time");
            self.found.push(Finding::Unaccepted {
                worker: worker.clone(),
                run: lease.run,
                fence: lease.fence,
            });
            if let Some(session) = self.board.find(&worker).map(|live| live.session.id) {
                self.send(&worker, session, ToWorker::Abandon(vec![lease]));
            }
        }
        let age = self.options.session_age;
        let aged: Vec<_> =
            self.board.sessions().filter(|live| !live.leaving && aged(live, age, now)).map(key).collect();
        for (worker, session) in aged {
            self.reconnect(&worker, session, "the session has reached its age");
        }
    }

    fn reconnect_all(&mut self) {
        let all: Vec<_> = self.board.sessions().map(key).collect();
        for (worker, session) in all {
            self.reconnect(&worker, session, "the server is stopping");
        }
    }

    fn reconnect(&mut self, worker: &Name, session: SessionId, reason: &'static str) {
        if let Some(live) = self.board.get(worker, session) {
            live.leaving = true;
        }
        self.send(worker, session, ToWorker::Reconnect(reason));
    }

    /// Sends to a session. One whose outbox is full has not read for long: it is closed.
    fn send(&mut self, worker: &Name, session: SessionId, message: ToWorker) {
        let Some(reach) = self.reach.get(&session) else { return };
        if let Err(error) = reach.outbox.try_send(message) {
            warn!(%worker, %session, %error, "worker does not read: session closed");
            self.close(worker, session, SessionEnd::Deaf);
        }
    }

    /// Takes a session off and gives it its grace in the queue.
    fn close(&mut self, worker: &Name, session: SessionId, cause: SessionEnd) {
        if self.forget(worker, session, cause) {
            self.flapping.left(worker);
            let (queue, worker) = (self.queue.clone(), worker.clone());
            self.jobs.push(Box::pin(async move {
                let closed = queue.close(worker.clone(), session).await;
                Done::Closed { worker, closed }
            }));
        }
    }

    /// Another daemon of this name has taken over from the one that had it.
    fn swapped(&mut self, worker: &Name, instance: &str) {
        if self.flapping.swapped(worker, instance, Instant::now()) {
            error!(%worker, "daemons of this name take over from each other all the time: the latest stays; is a host cloned?");
        }
    }

    /// Takes a session off without a word to the queue.
    fn forget(&mut self, worker: &Name, session: SessionId, cause: SessionEnd) -> bool {
        if let Some(reach) = self.reach.remove(&session) {
            self.metrics.sessions_ended.count(cause);
            self.metrics.sessions_connected.dec();
            reach.stop.cancel();
        }
        self.board.close(worker, session).is_some()
    }

    /// The server goes: what is open gets its grace, so that the workers can be adopted elsewhere.
    async fn leave(mut self) {
        let left: Vec<_> = self.board.sessions().map(key).collect();
        for (worker, session) in left {
            self.close(&worker, session, SessionEnd::Stopping);
        }
        while let Some(done) = self.jobs.next().await {
            self.on_done(done);
        }
        if !self.found.is_empty() && self.findings.send(std::mem::take(&mut self.found)).await.is_err() {
            warn!("findings of the last moment are left to the other servers");
        }
    }

    fn failed(what: &str, error: &QueueError) {
        warn!(%error, "failed to {what}");
    }
}

fn key(live: &Live) -> (Name, SessionId) {
    (live.session.worker.clone(), live.session.id)
}

fn pairs(leases: &[Lease]) -> Vec<(RunId, Fence)> {
    leases.iter().map(|lease| (lease.run, lease.fence)).collect()
}

/// Whether a session has reached its age. Each has its own, up to a tenth above, by its id.
fn aged(live: &Live, age: Duration, now: Instant) -> bool {
    let share = f64::from(live.session.id.0.as_bytes()[0]) / 2560.0;
    now.duration_since(live.since) >= age.mul_f64(1.0 + share)
}
