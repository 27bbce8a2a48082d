//! The one loop that owns a worker: it waits for an event, lets [`Attempts`] decide, and carries out what it decided.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use marabunta_proto::v1::{self, Hello};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until, timeout_at},
};

use super::{
    attempts::{Action, Assignment, Attempts, Key, Stop},
    command::Led,
    execution::{Charge, Executed, Execution, Orders, Work},
    link::Link,
    payloads::Payloads,
    session::{Event, SessionId},
    spool::{Entry, Judged},
    ticket::Ticket,
    wire,
};
use crate::exec::Supervised;

/// How long what was told to stop may take to do so at the end: a command has the time between SIGTERM and SIGKILL, and dies.
const DEATH: Duration = Duration::from_secs(20);
/// How long the last reports may take. What is not delivered stays in the spool for the next start.
const FLUSH: Duration = Duration::from_secs(10);

/// Whether the worker is to go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    #[default]
    No,
    /// Take nothing more, let what runs end in its time; then commands are left running for the next daemon, and functions stopped.
    Drain,
    /// Stop all that runs at once.
    Kill,
}

/// Who this worker says it is.
#[derive(Clone, Debug)]
pub struct Identity {
    pub name: String,
    /// New at each start.
    pub instance: String,
    pub boot_id: String,
    pub labels: BTreeMap<String, String>,
    pub slots: u32,
}

/// Why a worker stopped other than by being told to.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RunError {
    #[error("go on: another worker with the name {name} has connected to server {server}, and took over")]
    Superseded { name: String, server: String },
    /// A defect: what it was is in the log.
    #[error("go on: the task that brings results to the server has ended")]
    Reporter,
}

/// Everything the loop owns.
pub struct Daemon {
    pub identity: Identity,
    pub handlers: BTreeMap<String, Work>,
    pub attempts: Attempts,
    /// What an earlier daemon has started and goes on.
    pub adopted: Vec<(Ticket, Supervised)>,
    pub link: Link,
    pub payloads: Payloads,
    pub events: mpsc::Receiver<(SessionId, Event)>,
    pub entries: mpsc::Sender<Entry>,
    pub judged: mpsc::Receiver<Judged>,
    pub trouble: watch::Receiver<bool>,
    pub reporter: JoinSet<()>,
    pub drain_timeout: Duration,
    pub running: JoinSet<Executed>,
    pub orders: HashMap<Key, watch::Sender<Orders>>,
    /// Supervisors that keep an end until it is in the spool.
    pub released: JoinSet<()>,
}

impl Daemon {
    /// Runs until it is told to stop, or superseded. All that it started has ended when it returns, but commands that it was told to leave.
    pub async fn run(mut self, mut shutdown: watch::Receiver<Shutdown>) -> Result<(), RunError> {
        for (ticket, supervised) in std::mem::take(&mut self.adopted) {
            let orders = Orders { lease: ticket.lease(), stop: ticket.stop() };
            self.execute(ticket.key(), orders, Charge::Adopted(ticket, supervised.into()));
        }
        let (mut phase, mut deadline, mut dying) = (Shutdown::No, None, false);
        while phase == Shutdown::No || self.attempts.busy() > 0 {
            tokio::select! {
                Some((session, event)) = self.events.recv() => {
                    if let Some(server) = self.hear(session, event).await {
                        return Err(self.surrender(server).await);
                    }
                }
                Some(ended) = self.running.join_next() => match ended {
                    Ok(Executed { key, led }) => {
                        self.orders.remove(&key);
                        if let Some(led) = led {
                            self.released.spawn(Led::release(led, key));
                        }
                        let actions = self.attempts.ended(key);
                        self.act(actions).await;
                    }
                    Err(error) => tracing::error!(%error, "an attempt was dropped without an end"),
                },
                Some(_) = self.released.join_next() => {}
                Some(Judged { key, lease, verdict }) = self.judged.recv() => {
                    let actions = self.attempts.judged(key, &lease, verdict);
                    self.act(actions).await;
                }
                Ok(()) = self.trouble.changed() => {
                    let trouble = *self.trouble.borrow_and_update();
                    self.attempts.set_trouble(trouble);
                }
                Some(_) = self.reporter.join_next() => return Err(RunError::Reporter),
                () = until(self.link.due()) => self.link.open(),
                Some(permit) = ready(&mut self.link) => {
                    if let Some(message) = self.link.speaking().and_then(|session| session.outbox.next()) {
                        permit.send(message);
                    }
                }
                asked = asked(&mut shutdown, phase) => {
                    let grace = if asked == Shutdown::Drain { self.drain_timeout } else { Duration::ZERO };
                    tracing::info!(running = self.attempts.busy(), ?grace, "stopping: no new work is taken");
                    (phase, deadline, dying) = (asked, Some(Instant::now() + grace), false);
                    let actions = self.attempts.drain();
                    self.act(actions).await;
                }
                () = until(deadline) => {
                    if dying {
                        tracing::error!(running = self.attempts.busy(), "what was told to stop did not; dropping it");
                        break;
                    }
                    (dying, deadline) = (true, Some(Instant::now() + DEATH));
                    let why = if phase == Shutdown::Drain { Stop::Leave } else { Stop::Drain };
                    let actions = self.attempts.stop_all(why);
                    self.act(actions).await;
                }
            }
            let free = self.attempts.free();
            if let Some(session) = self.link.speaking() {
                session.outbox.grant(free);
            }
        }
        self.flush().await;
        Ok(())
    }

    /// Returns the server that has the newer session, if there is one.
    async fn hear(&mut self, id: SessionId, event: Event) -> Option<String> {
        match event {
            Event::HelloWanted(reply) => {
                let hello = self.hello();
                let credit = hello.credit;
                if let Some(session) = self.link.greeting(id)
                    && reply.send(hello).is_ok()
                {
                    session.outbox = super::outbox::Outbox::new(credit);
                    session.greeted = true;
                }
            }
            Event::Welcome => self.link.welcomed(id),
            Event::Assign(assignments) => {
                let actions: Vec<Action> =
                    assignments.into_iter().flat_map(|assignment| self.assigned(id, assignment)).collect();
                let (starts, rest): (Vec<_>, Vec<_>) =
                    actions.into_iter().partition(|action| matches!(action, Action::Start(..)));
                self.act(rest).await;
                // What is started may end this process at once: then it must have been accepted, or it costs its run nothing and is
                // started again and again.
                if let Some(session) = self.link.speaking() {
                    session.speak();
                }
                self.act(starts).await;
            }
            Event::Cancel(leases) => {
                for lease in leases {
                    let actions = self.attempts.cancel(&lease);
                    self.act(actions).await;
                }
            }
            Event::Abandon(leases) => {
                for lease in leases {
                    let actions = self.attempts.abandon(&lease);
                    self.act(actions).await;
                }
            }
            Event::Reconnect { reason } => {
                tracing::info!(reason, "the server asks for a new session");
                self.link.renew(id);
            }
            // On an older session of this very worker it only says that the newer one has been heard.
            Event::Superseded { server } => return self.link.counts(id).then_some(server),
            Event::Lost(end) => {
                tracing::warn!(error = %end, "lost the server");
                self.link.lost(id, &end);
            }
        }
        None
    }

    fn assigned(&mut self, id: SessionId, assignment: v1::Assignment) -> Vec<Action> {
        if !self.link.counts(id) {
            self.link.missed(id);
            tracing::debug!(run = assignment.run, "not taken: a newer session is being opened");
            return Vec::new();
        }
        let Some(session) = self.link.speaking() else { return Vec::new() };
        if !session.outbox.receive() {
            tracing::warn!(run = assignment.run, "not taken: the server sent more than it has credit for");
            return Vec::new();
        }
        match wire::assignment(assignment) {
            Ok(assignment) => self.attempts.assign(assignment),
            Err(error) => {
                tracing::error!(%error, "failed to take an assignment");
                Vec::new()
            }
        }
    }

    /// Entries wait here for the disk; the reporter takes them whatever else it does.
    async fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Open { key, run, lease } => self.tell(Entry::Open { key, run, lease }).await,
                Action::Relet { key, lease } => {
                    if let Some(orders) = self.orders.get(&key) {
                        orders.send_modify(|orders| orders.lease = lease.clone());
                    }
                    self.tell(Entry::Relet { key, lease }).await;
                }
                Action::Forget(key) => self.tell(Entry::Forget { key }).await,
                Action::Drop(key, why) => {
                    let end = v1::AttemptEnd { ended: Some(wire::now()), ..wire::stopped(why) };
                    self.tell(Entry::End { key, end: Box::new(end) }).await;
                }
                Action::Accept(lease) => {
                    if let Some(session) = self.link.counting() {
                        session.outbox.accept(lease);
                    }
                }
                Action::Settled(lease) => {
                    if let Some(session) = self.link.counting() {
                        session.outbox.settle(lease);
                    }
                }
                Action::Start(key, assignment) => self.start(key, assignment),
                Action::Stop(key, why) => {
                    if let Some(orders) = self.orders.get(&key) {
                        orders.send_modify(|orders| orders.stop = Some(why));
                    }
                }
            }
        }
    }

    fn start(&mut self, key: Key, assignment: Assignment) {
        let work = self.handlers.get(&assignment.handler).cloned();
        tracing::debug!(
            run = assignment.run,
            attempt = assignment.attempt,
            handler = assignment.handler,
            "starting"
        );
        let orders = Orders { lease: assignment.lease.clone(), stop: None };
        self.execute(key, orders, Charge::Given(assignment, work));
    }

    fn execute(&mut self, key: Key, orders: Orders, charge: Charge) {
        let (give, orders) = watch::channel(orders);
        self.orders.insert(key, give);
        let (payloads, entries) = (self.payloads.clone(), self.entries.clone());
        self.running.spawn(Execution { key, payloads, entries, orders }.run(charge));
    }

    async fn tell(&self, entry: Entry) {
        if self.entries.send(entry).await.is_err() {
            tracing::error!("the reporter has ended before the worker");
        }
    }

    fn hello(&self) -> Hello {
        let identity = &self.identity;
        Hello {
            protocols: vec![wire::PROTOCOL],
            name: identity.name.clone(),
            instance: identity.instance.clone(),
            boot_id: identity.boot_id.clone(),
            labels: identity.labels.clone().into_iter().collect(),
            slots: identity.slots,
            handlers: self.handlers.keys().cloned().collect(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            holding: self.attempts.holding().into_iter().map(|lease| lease.0).collect(),
            credit: self.attempts.free(),
        }
    }

    /// What runs here is the newer worker's now: it is killed, and nothing is reported of it.
    async fn surrender(mut self, server: String) -> RunError {
        tracing::error!(server, "superseded by another worker with the same name; stopping");
        let actions = self.attempts.stop_all(Stop::Abandon);
        self.act(actions).await;
        let deadline = Instant::now() + DEATH;
        while let Ok(Some(_)) = timeout_at(deadline, self.running.join_next()).await {}
        self.running.shutdown().await;
        self.reporter.shutdown().await;
        RunError::Superseded { name: self.identity.name, server }
    }

    /// Delivers what has not been delivered, as far as a server takes it in time. The session stays open meanwhile.
    async fn flush(mut self) {
        self.running.shutdown().await;
        drop(self.entries);
        self.judged.close();
        if timeout_at(Instant::now() + FLUSH, self.reporter.join_next()).await.is_err() {
            tracing::warn!("not everything could be reported; it stays in the spool for the next start");
            self.reporter.shutdown().await;
        }
        // Nobody is left to tell them anything new: each goes, or keeps what is not in the spool.
        while self.released.join_next().await.is_some() {}
    }
}

async fn ready(link: &mut Link) -> Option<mpsc::OwnedPermit<v1::WorkerMessage>> {
    match link.speaking() {
        Some(session) if session.outbox.is_ready() => session.ready().await,
        _ => std::future::pending().await,
    }
}

async fn asked(shutdown: &mut watch::Receiver<Shutdown>, phase: Shutdown) -> Shutdown {
    match shutdown.wait_for(|asked| *asked > phase).await.map(|asked| *asked) {
        Ok(asked) => asked,
        // Whoever could ask is gone and will not.
        Err(_) => std::future::pending().await,
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
