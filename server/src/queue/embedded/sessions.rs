//! The sessions of workers: one live one each, and those that are expected back.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::{Session, SessionId};
use marabunta_proto::name::Name;

/// The latest session of each worker that is connected or still has time to come back, or still has runs.
#[derive(Default)]
pub(super) struct Sessions {
    known: HashMap<Name, Known>,
    /// Live and closed ones, by deadline.
    deadlines: BTreeSet<(Instant, Name)>,
    /// Silent ones, by when they are offered again.
    offers: BTreeSet<(Instant, Name)>,
}

struct Known {
    session: Session,
    stage: Stage,
    deadline: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Live,
    /// Its stream has ended.
    Closed,
    /// Past its deadline; offered again at this moment. `ended`: it was closed.
    Silent {
        again: Instant,
        ended: bool,
    },
}

/// A session past its deadline.
pub(super) struct Overdue {
    pub session: Session,
    pub deadline: Instant,
    /// It was never offered before.
    pub first: bool,
    /// Its stream had ended.
    pub ended: bool,
}

impl Sessions {
    /// The session, if it is connected.
    pub fn live(&self, worker: &Name) -> Option<&Session> {
        self.known.get(worker).filter(|known| known.stage == Stage::Live).map(|known| &known.session)
    }

    /// The latest session that is known, connected or not.
    pub fn latest(&self, worker: &Name) -> Option<&Session> {
        self.known.get(worker).map(|known| &known.session)
    }

    /// Whether this is the live session of its worker.
    pub fn is_live(&self, worker: &Name, id: SessionId) -> bool {
        self.live(worker).is_some_and(|session| session.id == id)
    }

    /// The server that has or had this session; empty when it is forgotten.
    pub fn server_of(&self, worker: &Name, id: SessionId) -> String {
        let known = self.known.get(worker).filter(|known| known.session.id == id);
        known.map_or_else(String::new, |known| known.session.server.clone())
    }

    /// Makes this the live session of its worker.
    pub fn open(&mut self, session: Session, deadline: Instant) {
        let worker = session.worker.clone();
        self.forget(&worker);
        self.deadlines.insert((deadline, worker.clone()));
        self.known.insert(worker, Known { session, stage: Stage::Live, deadline });
    }

    /// Notes a worker that was given runs by nobody who is known: it has until the deadline to open a session. A live one is to be opened anew,
    /// and says what it holds.
    pub fn expect_back(&mut self, worker: &Name, deadline: Instant) {
        self.forget(worker);
        let (server, instance) = (String::new(), String::new());
        let session = Session { worker: worker.clone(), id: SessionId::NONE, server, instance };
        self.deadlines.insert((deadline, worker.clone()));
        self.known.insert(worker.clone(), Known { session, stage: Stage::Closed, deadline });
    }

    /// Every live session is to be opened again before this deadline.
    pub fn doubt_all(&mut self, deadline: Instant) {
        let live = self.known.iter().filter(|(_, known)| known.stage == Stage::Live);
        let live: Vec<Name> = live.map(|(worker, _)| worker.clone()).collect();
        for worker in live {
            self.expect_back(&worker, deadline);
        }
    }

    /// Moves the deadline of the live session; `false` if it is not this one.
    pub fn renew(&mut self, worker: &Name, id: SessionId, deadline: Instant) -> bool {
        let live = self.is_live(worker, id);
        if live {
            self.set_deadline(worker, deadline);
        }
        live
    }

    /// The stream of the live session has ended; it is given up at the deadline unless it was to be given up before.
    pub fn close(&mut self, worker: &Name, id: SessionId, deadline: Instant) {
        if let Some(known) = self.known.get_mut(worker)
            && known.session.id == id
            && known.stage == Stage::Live
        {
            known.stage = Stage::Closed;
            let deadline = deadline.min(known.deadline);
            self.set_deadline(worker, deadline);
        }
    }

    /// Nobody could come in time: each that is not silent yet has until this deadline.
    pub fn spare_all(&mut self, deadline: Instant) {
        for (_, worker) in std::mem::take(&mut self.deadlines) {
            if let Some(known) = self.known.get_mut(&worker) {
                known.deadline = deadline;
                self.deadlines.insert((deadline, worker));
            }
        }
    }

    /// Those past their deadline that are to be offered now, at most `most`; they are offered again after `again`.
    pub fn overdue(&mut self, now: Instant, again: Duration, most: usize) -> Vec<Overdue> {
        let late = |set: &BTreeSet<(Instant, Name)>| -> Vec<(Instant, Name)> {
            set.iter().take_while(|(at, _)| *at <= now).take(most).cloned().collect()
        };
        let (new, old) = (late(&self.deadlines), late(&self.offers));
        let mut overdue = Vec::new();
        for (at, worker) in new.into_iter().chain(old).take(most) {
            let Some(known) = self.known.get_mut(&worker) else { continue };
            let (first, ended) = match known.stage {
                Stage::Live => (true, false),
                Stage::Closed => (true, known.session.id != SessionId::NONE),
                Stage::Silent { ended, .. } => (false, ended),
            };
            known.stage = Stage::Silent { again: now + again, ended };
            overdue.push(Overdue { session: known.session.clone(), deadline: known.deadline, first, ended });
            self.deadlines.remove(&(at, worker.clone()));
            self.offers.remove(&(at, worker.clone()));
            self.offers.insert((now + again, worker));
        }
        overdue
    }

    /// Forgets a worker's session.
    pub fn forget(&mut self, worker: &Name) {
        if let Some(known) = self.known.remove(worker) {
            match known.stage {
                Stage::Silent { again, .. } => _ = self.offers.remove(&(again, worker.clone())),
                Stage::Live | Stage::Closed => _ = self.deadlines.remove(&(known.deadline, worker.clone())),
            }
        }
    }

    fn set_deadline(&mut self, worker: &Name, deadline: Instant) {
        if let Some(known) = self.known.get_mut(worker) {
            self.deadlines.remove(&(known.deadline, worker.clone()));
            known.deadline = deadline;
            self.deadlines.insert((deadline, worker.clone()));
        }
    }
}
