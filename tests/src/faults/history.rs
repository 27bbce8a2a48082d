//! What was asked and what was broken, in the order in which it happened.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
    /// The way of this server to Redis.
    WayToQueue(usize),
    /// The way of this server to the database.
    WayToStore(usize),
    /// Redis, or the way of all servers to it.
    Queue,
    /// The database, or the way of all servers to it.
    Store,
}

/// What a fault is to those who have to do with the part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Its process ended at once, and with it what it was doing.
    Gone,
    /// It was told to end, and had its time to end well.
    Told,
    /// Its connections ended and it went on: a cut; a daemon that died above its commands.
    Away,
    /// It, or its connections, were there and said nothing, or too late.
    Silent,
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What was done, `kill -9`.
    pub what: String,
    pub touched: Vec<Touched>,
    /// Redis lost what it held: what class fast promises ends here.
    pub forgets: bool,
    pub how: How,
    pub applied: Moment,
    /// [`Moment::NEVER`] until then.
    pub healed: Moment,
}

impl Fault {
    pub fn touches_worker(&self, name: &str) -> bool {
        self.touched.iter().any(|touched| matches!(touched, Touched::Worker(worker) if worker == name))
    }

    /// It touched any server, or the way of one to what is behind it.
    pub fn touches_a_server(&self) -> bool {
        let is_one = |touched: &Touched| {
            matches!(touched, Touched::Server(_) | Touched::WayToQueue(_) | Touched::WayToStore(_))
        };
        self.touched.iter().any(is_one)
    }

    /// It touched the database, or the way of any server to it.
    pub fn touches_the_store(&self) -> bool {
        self.touched.iter().any(|touched| matches!(touched, Touched::Store | Touched::WayToStore(_)))
    }

    /// The server's process was there no more, and with it what it had not written down.
    pub fn ends_a_server(&self) -> bool {
        self.how == How::Gone && self.touches_a_server()
    }

    /// How long it was there.
    pub fn lasted(&self) -> Duration {
        self.healed.since(self.applied)
    }

    pub fn touches(&self, part: &Touched) -> bool {
        self.touched.contains(part)
    }

    /// It was there at some moment from `from` to `to`, if it takes `settling` until all is as it was.
    pub fn during(&self, from: Moment, to: Moment, settling: Duration) -> bool {
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
    /// Notes a fault, just before it is applied, that leaves things there and silent, or slow.
    pub fn apply(&self, what: &str, touched: impl IntoIterator<Item = Touched>) -> Applied {
        self.add(what, touched, How::Silent)
    }

    /// Notes a fault that ends what it touches, a kill, just before it is applied.
    pub fn end(&self, what: &str, touched: impl IntoIterator<Item = Touched>) -> Applied {
        self.add(what, touched, How::Gone)
    }

    /// Notes that something is told to end, just before it is told.
    pub fn dismiss(&self, what: &str, touched: impl IntoIterator<Item = Touched>) -> Applied {
        self.add(what, touched, How::Told)
    }

    /// Notes a fault that ends connections and nothing else, just before it is applied.
    pub fn sever(&self, what: &str, touched: impl IntoIterator<Item = Touched>) -> Applied {
        self.add(what, touched, How::Away)
    }

    /// Notes a fault that ends what it touches, among it whatever remembers what is queued.
    pub fn end_forgetting(&self, what: &str, touched: impl IntoIterator<Item = Touched>) -> Applied {
        let applied = self.add(what, touched, How::Gone);
        self.faults_mut()[applied.0].forgets = true;
        applied
    }

    /// Notes a fault that makes Redis lose what it holds.
    pub fn forget(&self, what: &str) -> Applied {
        self.end_forgetting(what, [Touched::Queue])
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

    fn add(&self, what: &str, touched: impl IntoIterator<Item = Touched>, how: How) -> Applied {
        let mut faults = self.faults_mut();
        faults.push(Fault {
            what: what.to_owned(),
            touched: touched.into_iter().collect(),
            forgets: false,
            how,
            applied: Moment::now(),
            healed: Moment::NEVER,
        });
        Applied(faults.len() - 1)
    }

    fn faults_mut(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
