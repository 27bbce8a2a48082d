//! What calls of the queue brought back to the owner.

use std::collections::HashSet;

use marabunta_proto::name::Name;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::{ConnectError, Finding, Hello, Link, Owner, Reach, Started, ToWorker, asked};
use crate::dispatch::assign::assignments;
use crate::dispatch::board::Brought;
use crate::metrics::SessionEnd;
use crate::queue::{Claim, Claimed, Opened, QueueError, Record, Session, SessionId};
use crate::run::{Fence, Lease, Place, RunId};

pub(super) enum Done {
    Opened {
        session: Session,
        hello: Box<Hello>,
        draining: bool,
        outbox: mpsc::Sender<ToWorker>,
        opened: oneshot::Sender<Result<Link, ConnectError>>,
        found: Result<Opened, QueueError>,
    },
    Reopened {
        session: Session,
        holding: Vec<Lease>,
        found: Result<Opened, QueueError>,
    },
    Claimed {
        claims: Vec<Claim>,
        claimed: Result<Vec<Claimed>, QueueError>,
    },
    /// What the queue has given to doubtful sessions, and what was known before.
    Recalled {
        sessions: Vec<(Name, SessionId)>,
        known: HashSet<(RunId, Fence)>,
        given: Result<Vec<Vec<(RunId, Fence)>>, QueueError>,
    },
    Accepted {
        started: Vec<Started>,
        counted: Result<Vec<bool>, QueueError>,
    },
    Renewed {
        sessions: Vec<(Name, SessionId)>,
        alive: Result<Vec<bool>, QueueError>,
    },
    /// Who is live for workers whose session could not be renewed.
    Rivals {
        sessions: Vec<(Name, SessionId)>,
        live: Result<Vec<Option<Session>>, QueueError>,
    },
    Selectors(Result<Vec<Place>, QueueError>),
    Closed {
        worker: Name,
        closed: Result<(), QueueError>,
    },
}

impl Owner {
    pub(super) fn on_done(&mut self, done: Done) {
        match done {
            Done::Opened { session, hello, draining, outbox, opened, found } => match found {
                Ok(found) => self.opened(session, *hello, draining, outbox, opened, found),
                Err(error) => {
                    Self::failed("open a session", &error);
                    // A caller that has gone needs no answer.
                    opened.send(Err(ConnectError::Queue(error.to_string()))).ok();
                }
            },
            Done::Reopened { session, holding, found } => match found {
                Ok(found) => {
                    self.state.board.reopened(&session.worker);
                    self.compared(&session.worker, session.id, &holding, found);
                    self.ended_meanwhile(&session.worker, session.id, holding);
                }
                Err(error) => self.unrenewed("open a session again", &error),
            },
            Done::Claimed { claims, claimed } => self.claimed(claims, claimed),
            Done::Recalled { sessions, known, given } => self.recalled(sessions, &known, given),
            Done::Accepted { started, counted } => self.counted(started, counted),
            Done::Renewed { sessions, alive } => self.renewed(sessions, alive),
            Done::Rivals { sessions, live } => self.rivals(sessions, live),
            Done::Selectors(Ok(places)) => self.state.board.sweep(places),
            Done::Selectors(Err(error)) => Self::failed("list the places that wait", &error),
            Done::Closed { worker, closed } => {
                if let Err(error) = closed {
                    warn!(%worker, %error, "failed to close a session: it ends by its deadline");
                }
            }
        }
    }

    fn opened(
        &mut self,
        session: Session,
        hello: Hello,
        draining: bool,
        outbox: mpsc::Sender<ToWorker>,
        opened: oneshot::Sender<Result<Link, ConnectError>>,
        found: Opened,
    ) {
        let (worker, id) = (session.worker.clone(), session.id);
        let welcome = ToWorker::Welcome { session: id.to_string(), server: session.server.clone() };
        let instance = session.instance.clone();
        if found.superseded.as_ref().is_some_and(|former| former.instance != instance) {
            self.swapped(&worker, &instance);
        }
        // What the queue does not know may get back into it: then the worker has it still.
        let stale = |lease: &Lease| found.stale.contains(&(lease.run, lease.fence));
        let right = hello.holding.iter().filter(|lease| !stale(lease)).cloned().collect();
        let former =
            self.state.board.open(session, hello.traits, hello.credit, draining, right, Instant::now());
        if let Some(former) = former {
            self.part(&former.session, &instance);
        }
        let stop = CancellationToken::new();
        self.state.reach.insert(id, Reach { outbox, stop: stop.clone() });
        self.metrics.sessions_opened.inc();
        self.metrics.sessions_connected.inc();
        self.send(&worker, id, welcome);
        info!(%worker, session = %id, adopted = found.adopted.len(), missing = found.missing.len(), "worker connected");
        self.compared(&worker, id, &hello.holding, found);
        if opened.send(Ok(Link { id, stop })).is_err() {
            debug!(%worker, "the worker had gone before its session was open");
            self.close(&worker, id, SessionEnd::Ended);
        }
    }

    /// A session was replaced by one of this instance: only another daemon of the same name is told to stop.
    pub(super) fn part(&mut self, former: &Session, instance: &str) {
        let other = former.instance != instance;
        if other {
            warn!(worker = %former.worker, "another daemon of the same name has taken over");
            let server = self.options.server.clone();
            self.send(&former.worker, former.id, ToWorker::Superseded { server });
        }
        self.forget(
            &former.worker,
            former.id,
            if other { SessionEnd::Superseded } else { SessionEnd::Replaced },
        );
    }

    /// What the queue and the worker hold against each other.
    fn compared(&mut self, worker: &Name, session: SessionId, holding: &[Lease], found: Opened) {
        for missing in found.missing {
            self.state.found.push(Finding::Missing { worker: worker.clone(), missing });
        }
        for (run, fence) in found.unknown {
            self.state.found.push(Finding::Unknown { worker: worker.clone(), run, fence });
        }
        let is_stale = |lease: &&Lease| found.stale.contains(&(lease.run, lease.fence));
        let stale: Vec<Lease> = holding.iter().filter(is_stale).cloned().collect();
        if !stale.is_empty() {
            if let Some(live) = self.state.board.get(worker, session) {
                live.take_off(&stale);
            }
            self.send(worker, session, ToWorker::Abandon(stale));
        }
        for record in found.adopted.into_iter().filter(|record| record.cancelled) {
            self.cancel(worker, &record);
        }
    }

    /// What has ended while the queue was told that the worker holds it.
    fn ended_meanwhile(&mut self, worker: &Name, session: SessionId, told: Vec<Lease>) {
        let Some(live) = self.state.board.get(worker, session) else { return };
        let (_, gone) = told.into_iter().partition(|lease| live.lease(lease.run).as_ref() == Some(lease));
        self.gone(worker, gone);
    }

    /// The queue may have taken the worker's word for what it settled just before, or got it back from the store: it would stay with the
    /// worker, which does not have it, as long as the session lasts.
    pub(super) fn gone(&mut self, worker: &Name, leases: Vec<Lease>) {
        let gone = leases.into_iter().map(|lease| Finding::Unaccepted {
            worker: worker.clone(),
            run: lease.run,
            fence: lease.fence,
        });
        self.state.found.extend(gone);
    }

    fn cancel(&mut self, worker: &Name, record: &Record) {
        let Some(fence) = record.fence else { return };
        if let Some((session, lease)) = self.state.board.lease(worker, record.run, fence) {
            self.send(worker, session, ToWorker::Cancel(vec![lease]));
        }
    }

    fn claimed(&mut self, claims: Vec<Claim>, claimed: Result<Vec<Claimed>, QueueError>) {
        self.state.claiming = false;
        let mut claimed = match claimed {
            Ok(claimed) => {
                let unknown = claims.iter().zip(&claimed).filter(|(_, claimed)| claimed.unknown);
                let unknown = unknown.map(|(claim, _)| (claim.worker.clone(), claim.session));
                self.find_rivals(unknown.collect());
                claimed.into_iter().map(Some).collect()
            }
            Err(error) => {
                Self::failed("claim", &error);
                self.state.failed.extend(claims.iter().map(|claim| claim.place.clone()));
                for claim in &claims {
                    // It may have been carried out all the same.
                    self.state.doubtful.push_front((claim.worker.clone(), claim.session));
                }
                Vec::new()
            }
        }
        .into_iter();
        let now = Instant::now();
        for claim in claims {
            match self.state.board.claimed(&claim, claimed.next().flatten(), now) {
                None => {}
                Some(Brought::Assign { session, worker, deliveries }) => {
                    let assignments = assignments(&worker, &deliveries);
                    self.send(&worker, session, ToWorker::Assign(assignments));
                }
                Some(Brought::Return { worker, deliveries }) => {
                    let back = deliveries.into_iter().map(|delivery| Finding::Unsent {
                        worker: worker.clone(),
                        run: delivery.run,
                        fence: delivery.fence,
                    });
                    self.state.found.extend(back);
                }
            }
        }
    }

    /// What never came here goes back.
    fn recalled(
        &mut self,
        sessions: Vec<(Name, SessionId)>,
        known: &HashSet<(RunId, Fence)>,
        given: Result<Vec<Vec<(RunId, Fence)>>, QueueError>,
    ) {
        self.state.claiming = false;
        match given {
            Ok(given) => {
                for ((worker, _), given) in sessions.into_iter().zip(given) {
                    let unsent: Vec<_> = given.into_iter().filter(|one| !known.contains(one)).collect();
                    if !unsent.is_empty() {
                        warn!(%worker, runs = unsent.len(), "claimed, but the answer never came");
                    }
                    let unsent = unsent.into_iter().map(|(run, fence)| Finding::Unsent {
                        worker: worker.clone(),
                        run,
                        fence,
                    });
                    self.state.found.extend(unsent);
                }
            }
            Err(error) => {
                Self::failed("ask what was claimed", &error);
                self.state.doubtful.extend(sessions);
            }
        }
    }

    fn counted(&mut self, started: Vec<Started>, counted: Result<Vec<bool>, QueueError>) {
        self.state.accepting.clear();
        match counted {
            Ok(counted) => {
                let started =
                    started.into_iter().zip(counted).filter_map(|(one, counts)| counts.then_some(one));
                let started: Vec<_> = started.collect();
                if !started.is_empty() && self.started.try_send(started).is_err() {
                    debug!("the store does not keep up with what is started");
                }
            }
            Err(error) => {
                // Still in flight and held: the queue learns it when the session is opened again, or by the result.
                Self::failed("record what was accepted", &error);
                self.state.accepted.splice(0..0, started);
            }
        }
    }

    fn renewed(&mut self, sessions: Vec<(Name, SessionId)>, alive: Result<Vec<bool>, QueueError>) {
        self.state.renewing = false;
        match alive {
            Ok(alive) => {
                let lost = sessions.into_iter().zip(alive).filter_map(|(key, alive)| (!alive).then_some(key));
                self.find_rivals(lost.collect());
            }
            Err(error) => self.unrenewed("renew sessions", &error),
        }
    }

    /// The queue may not know all sessions: that is not left until the next heartbeat.
    fn unrenewed(&mut self, what: &str, error: &QueueError) {
        Self::failed(what, error);
        self.state.unrenewed = true;
    }

    /// Asks who is live for workers whose sessions the queue does not know.
    fn find_rivals(&mut self, lost: Vec<(Name, SessionId)>) {
        if lost.is_empty() {
            return;
        }
        let (queue, panics) = self.asking();
        self.state.jobs.push(Box::pin(async move {
            let names = lost.iter().map(|(worker, _)| worker.clone()).collect();
            let live = asked(&panics, queue.sessions(names)).await;
            Done::Rivals { sessions: lost, live }
        }));
    }

    fn rivals(&mut self, sessions: Vec<(Name, SessionId)>, live: Result<Vec<Option<Session>>, QueueError>) {
        let live = match live {
            Ok(live) => live,
            Err(error) => return self.unrenewed("look at sessions", &error),
        };
        for ((worker, session), live) in sessions.into_iter().zip(live) {
            match live {
                Some(live) if live.id != session => {
                    self.superseded(&worker, session, &live.server, &live.instance)
                }
                // Known to some shards is not known to all.
                Some(_) | None => self.reopen(&worker, session),
            }
        }
    }
}
