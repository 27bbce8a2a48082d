//! The rooms of the house, and the loops that keep them going.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};
use tokio::time::{Duration, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::backend::Kept;
use super::crew::Crew;
use super::{floor, prune};
use crate::clock::StoreClock;
use crate::config::Config;
use crate::dispatch::{self, Owner};
use crate::follow::Follow;
use crate::journal::Journal;
use crate::metrics::{Metrics, Page, PanicIn};
use crate::plan::{self, Planner, Tasks};
use crate::recover::peers::Peers;
use crate::recover::{self, rebuild::Unseen};
use crate::report::Report;
use crate::rpc;
use crate::run::RunId;
use crate::settle::Settler;
use crate::submit::Submit;
use crate::unqueued::Unqueued;
use crate::workers::Workers;

/// How many batches of what was found, or started, may wait. What was started is then left out; what was found waits with the owner.
const BATCHES: usize = 256;

/// The crews, in the order in which they stop.
pub(super) struct House {
    /// What begins something by itself: planner, clock of the queue, pruning. What is due from then on is missed unless another server is there.
    pub early: Crew,
    /// Who owns the sessions.
    pub sessions: Crew,
    /// What mends and records: until the end.
    pub late: Crew,
    /// The writers, which end with the last handle to them.
    pub writers: TaskTracker,
    /// The readers of the workers' streams.
    pub readers: TaskTracker,
    pub rooms: rpc::Rooms,
    pub page: Page,
}

/// Builds the rooms and starts their loops. `settler` has checked the queue.
pub(super) fn build(config: &Config, settled: Settled, clock: StoreClock) -> House {
    let Settled { settler, noted, writers } = settled;
    let (store, queue, server) = (settler.store.clone(), settler.queue.clone(), settler.server.clone());
    let metrics = settler.metrics.clone();
    let (mut early, mut sessions, mut late) =
        (Crew::new(&metrics.panics), Crew::new(&metrics.panics), Crew::new(&metrics.panics));
    let readers = TaskTracker::new();

    let (started, has_started) = mpsc::channel(BATCHES);
    let (findings, found) = mpsc::channel(BATCHES);
    let options = dispatch::Options { server: server.clone(), session_age: config.session_age };
    let (owner, dispatch) = Owner::new(queue.clone(), options, metrics.clone(), &readers, started, findings);
    // An embedded server's workers have nowhere else to go.
    let grace = if store.is_embedded() { Duration::ZERO } else { config.drain_timeout };
    sessions.spawn("owner of the sessions", owner.run(sessions.stop.clone(), grace));

    let options = plan::Options { server: server.clone(), poll_interval: config.poll_interval };
    let planner = Planner::new(
        store.clone(),
        queue.clone(),
        clock.clone(),
        metrics.clone(),
        settler.unqueued.clone(),
        options,
    );
    early.keep("planner", PanicIn::Planner, {
        let planner = planner.clone();
        move |stop| planner.clone().run(stop)
    });
    early.keep("pruning", PanicIn::Pruning, {
        let (store, retention) = (store.clone(), config.retention);
        move |stop| prune::run(store.clone(), retention, stop)
    });
    early.keep("clock", PanicIn::Clock, {
        let (settler, clock) = (settler.clone(), clock.clone());
        move |stop| recover::clock::run(settler.clone(), clock.clone(), stop)
    });

    late.keep("reaper", PanicIn::Reaper, {
        let (settler, found, lost_after) = (settler.clone(), Arc::new(Mutex::new(found)), config.lost_after);
        move |stop| recover::reaper::run(settler.clone(), found.clone(), lost_after, stop)
    });
    let peers = Peers::default();
    late.keep("rebuilder", PanicIn::Rebuilder, {
        let (settler, peers) = (settler.clone(), peers.clone());
        move |stop| recover::rebuild::run(settler.clone(), peers.clone(), stop)
    });
    late.keep("reconciler", PanicIn::Reconciler, {
        let settler = settler.clone();
        move |stop| recover::reconcile::run(settler.clone(), stop)
    });
    late.keep("unqueued", PanicIn::Reconciler, {
        let (settler, noted) = (settler.clone(), Arc::new(Mutex::new(noted)));
        move |stop| recover::unqueued::run(settler.clone(), noted.clone(), stop)
    });
    late.keep("unrecorded", PanicIn::Reconciler, {
        let settler = settler.clone();
        move |stop| recover::unrecorded::run(settler.clone(), peers.clone(), stop)
    });
    late.keep("floor", PanicIn::Floor, {
        let (settler, started) = (settler.clone(), Arc::new(Mutex::new(has_started)));
        move |_| floor::run(settler.clone(), started.clone())
    });

    let stop = late.stop.clone();
    let submit = Submit::spawn(&writers, &settler);
    let follow = Follow::spawn(&writers, &settler, stop.clone());
    let report = Report::spawn(&writers, &settler);
    let workers = Workers::spawn(&writers, &metrics.panics, queue.clone(), store.clone());
    late.spawn("writers", all_at_work(writers.clone(), stop));

    let tasks = Tasks { store: store.clone(), planner };
    let page = Page::new(metrics.clone(), queue, clock.clone());
    let rooms = rpc::Rooms { submit, follow, tasks, workers, dispatch, report, metrics, store, clock };
    House { early, sessions, late, writers, readers, rooms, page }
}

/// What must be there before the rooms are: it fills the queue.
pub(super) struct Settled {
    settler: Settler,
    noted: mpsc::Receiver<RunId>,
    writers: TaskTracker,
}

/// Starts the journal, and what settles.
pub(super) fn settle(kept: &Kept, server: &str, clock: StoreClock, metrics: Arc<Metrics>) -> Settled {
    let writers = TaskTracker::new();
    let (queue, store) = (Arc::clone(&kept.queue), kept.store.clone());
    let journal = Journal::spawn(&writers, store.clone(), Arc::clone(&queue), metrics.clone());
    let (unqueued, noted) = Unqueued::new();
    let settler = Settler { queue, store, journal, clock, metrics, unqueued, server: server.to_owned() };
    Settled { settler, noted, writers }
}

impl Settled {
    /// Fills the queue from the store if it is empty.
    pub async fn check(&self) -> Result<(), recover::rebuild::RebuildError> {
        // The only server of an embedded store has just begun.
        let unseen = if self.settler.store.is_embedded() { Unseen::Claim } else { Unseen::End };
        // Who else lives is not known yet.
        recover::rebuild::check(&self.settler, &Peers::default(), unseen).await
    }
}

/// Ends when one of the writers does before `stop`: it has panicked, and all who wait for it wait in vain.
async fn all_at_work(writers: TaskTracker, stop: CancellationToken) {
    let count = writers.len();
    let mut tick = interval(Duration::from_secs(1));
    while writers.len() >= count {
        tokio::select! {
            _ = tick.tick() => {}
            () = stop.cancelled() => return,
        }
    }
}
