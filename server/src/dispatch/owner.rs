//! The one task that owns the sessions: it waits for an event, lets the board decide, and acts.

mod calls;
mod done;
mod hints;

use std::collections::{HashMap, HashSet, VecDeque};
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
use super::finding::Findings;
use super::flapping::Flapping;
use super::session::HEARTBEAT;
use super::{ConnectError, Dispatch, Finding, FromWorker, Hello, Started, ToWorker};
use crate::metrics::{Metrics, PanicIn, SessionEnd, SessionRefused};
use crate::planted::{self, Bug};
use crate::queue::{Queue, QueueError, Session, SessionId};
use crate::run::{Fence, Lease, Place, RunId};
use calls::asked;
use done::Done;

/// How many events may wait for the owner; a session's reader then waits, and its worker with it.
const EVENTS: usize = 4096;
/// How often it is looked at what was not accepted, or is old.
const TICK: Duration = Duration::from_secs(1);
/// When that is later by more than this, the server is short of processor time.
const LAG: Duration = Duration::from_millis(250);
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
    state: State,
}

/// What the owner knows: all of it is given up when there is a panic while it changes.
#[derive(Default)]
struct State {
    board: Board,
    flapping: Flapping,
    reach: HashMap<SessionId, Reach>,
    jobs: FuturesUnordered<BoxFuture<'static, Done>>,
    claiming: bool,
    /// What is being recorded as accepted.
    accepting: Vec<(RunId, Fence)>,
    renewing: bool,
    /// Sessions could not be renewed or opened again: the next tick tries again.
    unrenewed: bool,
    /// Sessions to which the queue may have given something that never came here: a claim of theirs failed, or it is time to look.
    doubtful: VecDeque<(Name, SessionId)>,
    /// It is time to ask for what they were given, instead of claiming.
    recall: bool,
    accepted: Vec<Started>,
    /// The latest finding of each attempt that nobody has taken yet: at most what the queue and the workers hold.
    found: Findings,
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
        let panics = metrics.panics.clone();
        let owner =
            Self { queue, options, metrics, events, hints, started, findings, state: State::default() };
        (owner, Dispatch { events: sender, tracker: tracker.clone(), panics })
    }

    /// Serves sessions until `stop`; then tells every worker to reconnect and waits for them to go, at most `grace`. If there is a panic, it begins anew
    /// without sessions: the workers come back with what they hold, and the queue tells what it gave them.
    pub async fn run(mut self, stop: CancellationToken, grace: Duration) {
        let panics = self.metrics.panics.clone();
        while panics.catch(PanicIn::Owner, self.serve(&stop, grace)).await.is_none() {
            self.begin_anew();
        }
    }

    fn begin_anew(&mut self) {
        let torn = std::mem::take(&mut self.state);
        error!(sessions = torn.reach.len(), "the owner of the sessions panicked: all of them are closed");
        for reach in torn.reach.values() {
            self.metrics.sessions_ended.count(SessionEnd::Fault);
            self.metrics.sessions_connected.dec();
            reach.stop.cancel();
        }
        for live in torn.board.sessions() {
            self.close_in_queue(&live.session.worker, live.session.id);
        }
    }

    async fn serve(&mut self, stop: &CancellationToken, grace: Duration) {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut renewed, mut swept, mut ticked) = (Instant::now(), Instant::now(), Instant::now());
        let mut stopping: Option<Instant> = None;
        let findings = self.findings.clone();
        while stopping.is_none_or(|since| !self.state.reach.is_empty() && since.elapsed() < grace) {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.on_event(event, stopping.is_some()),
                    None => break,
                },
                Some(done) = self.state.jobs.next() => self.on_done(done),
                hint = self.hints.recv() => self.on_hint(hint),
                permit = findings.reserve(), if !self.state.found.is_empty() => match permit {
                    Ok(permit) => permit.send(self.state.found.take()),
                    Err(_) => break,
                },
                _ = tick.tick() => {
                    let now = Instant::now();
                    // What has been said counts, however late it is heard; and for what is on its way yet, this server's own lag is no worker's.
                    for _ in 0..self.events.len() {
                        let Ok(event) = self.events.try_recv() else { break };
                        self.on_event(event, stopping.is_some());
                    }
                    let late = now.duration_since(ticked).saturating_sub(TICK);
                    if late > LAG {
                        warn!(?late, "this server does not keep up: workers get that much longer to accept");
                        self.state.board.spare(late);
                    }
                    ticked = now;
                    self.on_tick(now);
                    let failed = std::mem::take(&mut self.state.unrenewed);
                    if failed || now.duration_since(renewed) >= HEARTBEAT {
                        renewed = now;
                        self.renew();
                    }
                    if now.duration_since(swept) >= SWEEP && !planted::is(Bug::LostHint) {
                        swept = now;
                        self.sweep();
                    }
                }
                () = stop.cancelled(), if stopping.is_none() => {
                    stopping = Some(Instant::now());
                    info!(sessions = self.state.reach.len(), "telling the workers to reconnect");
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
                self.state.accepted.extend(self.state.board.said(&worker, session, &message));
                if let FromWorker::Credit { ended, .. } = &message {
                    let gone = self.state.board.untell(&worker, session, ended);
                    self.gone(&worker, gone);
                }
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
        if self.state.flapping.refuses(&hello.worker, &hello.instance, Instant::now()) {
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
        let (queue, panics) = self.asking();
        self.state.jobs.push(Box::pin(async move {
            let found = asked(&panics, queue.open(session.clone(), holding)).await;
            Done::Opened { session, hello: Box::new(hello), draining, outbox, opened, found }
        }));
    }

    fn on_tick(&mut self, now: Instant) {
        self.state.flapping.tick(now);
        for place in std::mem::take(&mut self.state.failed) {
            self.state.board.ready(place);
        }
        self.state.recall = !self.state.doubtful.is_empty();
        for (worker, lease) in self.state.board.unaccepted(now) {
            warn!(%worker, run = %lease.run, "not accepted in time");
            self.state.found.push(Finding::Unaccepted {
                worker: worker.clone(),
                run: lease.run,
                fence: lease.fence,
            });
            if let Some(session) = self.state.board.find(&worker).map(|live| live.session.id) {
                self.send(&worker, session, ToWorker::Abandon(vec![lease]));
            }
        }
        let age = self.options.session_age;
        let aged: Vec<_> = self
            .state
            .board
            .sessions()
            .filter(|live| !live.leaving && aged(live, age, now))
            .map(key)
            .collect();
        for (worker, session) in aged {
            self.reconnect(&worker, session, "the session has reached its age");
        }
    }

    fn reconnect_all(&mut self) {
        let all: Vec<_> = self.state.board.sessions().map(key).collect();
        for (worker, session) in all {
            self.reconnect(&worker, session, "the server is stopping");
        }
    }

    fn reconnect(&mut self, worker: &Name, session: SessionId, reason: &'static str) {
        if let Some(live) = self.state.board.get(worker, session) {
            live.leaving = true;
        }
        self.send(worker, session, ToWorker::Reconnect(reason));
    }

    /// Sends to a session. One whose outbox is full has not read for long: it is closed.
    fn send(&mut self, worker: &Name, session: SessionId, message: ToWorker) {
        let Some(reach) = self.state.reach.get(&session) else { return };
        if let Err(error) = reach.outbox.try_send(message) {
            warn!(%worker, %session, %error, "worker does not read: session closed");
            self.close(worker, session, SessionEnd::Deaf);
        }
    }

    /// Takes a session off and gives it its grace in the queue.
    fn close(&mut self, worker: &Name, session: SessionId, cause: SessionEnd) {
        if self.forget(worker, session, cause) {
            self.state.flapping.left(worker);
            self.close_in_queue(worker, session);
        }
    }

    /// Another daemon of this name has taken over from the one that had it.
    fn swapped(&mut self, worker: &Name, instance: &str) {
        if self.state.flapping.swapped(worker, instance, Instant::now()) {
            error!(%worker, "daemons of this name take over from each other all the time: the latest stays; is a host cloned?");
        }
    }

    /// Takes a session off without a word to the queue.
    fn forget(&mut self, worker: &Name, session: SessionId, cause: SessionEnd) -> bool {
        if let Some(reach) = self.state.reach.remove(&session) {
            self.metrics.sessions_ended.count(cause);
            self.metrics.sessions_connected.dec();
            reach.stop.cancel();
        }
        self.state.board.close(worker, session).is_some()
    }

    /// The server goes: what is open gets its grace, so that the workers can be adopted elsewhere.
    async fn leave(&mut self) {
        let left: Vec<_> = self.state.board.sessions().map(key).collect();
        for (worker, session) in left {
            self.close(&worker, session, SessionEnd::Stopping);
        }
        while let Some(done) = self.state.jobs.next().await {
            self.on_done(done);
        }
        if !self.state.found.is_empty() && self.findings.send(self.state.found.take()).await.is_err() {
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

#[cfg(test)]
mod tests;
