//! What was asked and what was broken, in the order in which it happened.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::moment::Moment;

/// How an operation came out, as its caller knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Accepted.
    Ok,
    /// Refused: nothing was accepted.
    Fail,
    /// No answer, so both is possible; a time-out is this, never a failure.
    Unknown,
}

/// A run that was asked for. Small: an hour has millions. An `all(..)` has one for each of its runs, all with the same `op`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submission {
    /// Of the run; 0 unless the outcome is [`Outcome::Ok`].
    pub run: u128,
    /// When it was first asked for.
    pub asked: Moment,
    /// When the outcome was known.
    pub answered: Moment,
    pub op: u32,
    /// Which of the shapes of its workload it has.
    pub shape: u16,
    /// How often it was asked for, the first time included.
    pub tries: u16,
    pub outcome: Outcome,
}

/// A run that was seen to have ended, by somebody who asked a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub run: u128,
    pub at: Moment,
    /// As the proto numbers them.
    pub state: u8,
    pub reason: u8,
}

/// The success of an attempt, as its worker told it to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    pub run: u128,
    pub attempt: u32,
    /// When it was told, and when that was answered or given up.
    pub asked: Moment,
    pub answered: Moment,
    /// The server has it, and the worker may forget it.
    pub acknowledged: bool,
}

/// What a fault touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Touched {
    /// The worker of this name, or its way to the servers.
    Worker(String),
    /// The server at this place of the arena.
    Server(usize),
    /// Redis, or the way to it.
    Queue,
    /// The database, or the way to it.
    Store,
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was done, `kill -9`.
    pub what: String,
    pub touched: Vec<Touched>,
    /// Redis lost what it held: what class fast promises ends here.
    pub forgets: bool,
    /// What it touched is gone, its connections are closed, and everybody knows at once. Otherwise it may be there and say nothing.
    pub gone: bool,
    pub applied: Moment,
    /// [`Moment::NEVER`] until then.
    pub healed: Moment,
}

impl Fault {
    pub fn touches_worker(&self, name: &str) -> bool {
        self.touched.iter().any(|touched| matches!(touched, Touched::Worker(worker) if worker == name))
    }

    /// A server is there and does not do its work.
    pub fn hangs_a_server(&self) -> bool {
        !self.gone && self.touched.iter().any(|touched| matches!(touched, Touched::Server(_)))
    }

    pub fn touches(&self, part: &Touched) -> bool {
        self.touched.contains(part)
    }

    /// It was there at some moment from `from` to `to`, if it takes `settling` until all is as it was.
    pub fn during(&self, from: Moment, to: Moment, settling: std::time::Duration) -> bool {
        self.applied <= to && self.healed.plus(settling) >= from
    }
}

/// The faults so far. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct History(Arc<Mutex<Vec<Fault>>>);

/// A fault that is to be healed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a fault that is never healed explains everything that follows"]
pub struct Applied(usize);

impl History {
    /// Notes a fault, just before it is applied.
    pub fn apply(&self, what: &str, touched: impl IntoIterator<Item = Touched>) -> Applied {
        self.add(what, touched, |_| {})
    }

    /// Notes a fault that ends what it touches, a kill, just before it is applied.
    pub fn end(&self, what: &str, touched: impl IntoIterator<Item = Touched>) -> Applied {
        self.add(what, touched, |fault| fault.gone = true)
    }

    /// Notes a fault that makes Redis lose what it holds.
    pub fn forget(&self, what: &str) -> Applied {
        self.add(what, [Touched::Queue], |fault| fault.forgets = true)
    }

    /// Notes that a fault is over, just after it was healed. Gives the moment.
    pub fn heal(&self, applied: Applied) -> Moment {
        let now = Moment::now();
        self.faults_mut()[applied.0].healed = now;
        now
    }

    /// When a fault was applied.
    pub fn applied(&self, applied: Applied) -> Moment {
        self.faults_mut()[applied.0].applied
    }

    pub fn faults(&self) -> Vec<Fault> {
        self.faults_mut().clone()
    }

    fn add(
        &self,
        what: &str,
        touched: impl IntoIterator<Item = Touched>,
        change: impl FnOnce(&mut Fault),
    ) -> Applied {
        let mut fault = Fault {
            what: what.to_owned(),
            touched: touched.into_iter().collect(),
            forgets: false,
            gone: false,
            applied: Moment::now(),
            healed: Moment::NEVER,
        };
        change(&mut fault);
        let mut faults = self.faults_mut();
        faults.push(fault);
        Applied(faults.len() - 1)
    }

    fn faults_mut(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
