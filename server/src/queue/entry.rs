//! What goes into the queue and what comes out of it.

use std::time::Duration;

use bytes::Bytes;
use marabunta_proto::name::Name;

use super::SessionId;
use crate::run::{Counters, Fence, Key, Overlap, Place, Priority, Run, RunId};

/// An open run on its way in. The queue does not look into `body`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub run: RunId,
    pub place: Place,
    pub priority: Priority,
    /// Time until it is due; zero for now. A duration, so that the store's clock and the queue's need not agree.
    pub delay: Duration,
    /// Time until it is given up if no worker has accepted it, counted from when it is due. What was accepted once does not expire any more, and
    /// what is in flight unaccepted does so when it comes back.
    pub expires: Option<Duration>,
    /// Of the runs with the same key one goes at a time, and their overlap policy says what becomes of the others; `None` allows all.
    pub overlap: Option<(Overlap, String)>,
    /// A second entry with the same key within a day is not taken in. Keys are known within a shard: see [`super::shard_of`].
    pub key: Option<Key>,
    /// [`crate::run::Run::encode`].
    pub body: Bytes,
}

impl Entry {
    /// The entry of a run that is due after this time.
    #[must_use]
    pub fn of(run: &Run, delay: Duration) -> Self {
        let overlap = match (&run.task, run.overlap) {
            // On each worker of an `all(..)` on its own, and whatever handler the task had before it was edited.
            (Some(task), overlap) if overlap != Overlap::Allow => {
                Some((overlap, format!("{} {}", task.id, run.place)))
            }
            _ => None,
        };
        Self {
            run: run.id,
            place: run.place.with_handler(&run.handler),
            priority: run.priority,
            delay,
            expires: run.policy.expires,
            overlap,
            key: None,
            body: run.encode().into(),
        }
    }
}

/// What became of an [`Entry`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Queued,
    /// Its id is there already, or its result is still kept.
    Duplicate,
    /// Its key was used, for this run; `same`: of the same request.
    Repeated {
        run: RunId,
        same: bool,
    },
    /// As many runs as may be are ready in its place, or wait behind its overlap key. Those not due yet are not counted, but refused.
    Full,
}

/// A session asks for work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub place: Place,
    pub worker: Name,
    pub session: SessionId,
    /// How many it may take at the most.
    pub max: u32,
}

/// What a [`Claim`] got.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Claimed {
    pub deliveries: Vec<Delivery>,
    /// There is more in that place.
    pub more: bool,
    /// The queue does not know the session as the worker's live one: it was superseded, or the queue has lost what it held.
    pub unknown: bool,
}

/// A run, given to a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    pub run: RunId,
    pub fence: Fence,
    /// From 1.
    pub attempt: u32,
    pub body: Bytes,
}

/// Where an open run is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Phase {
    /// Not due for this long.
    Due(Duration),
    /// Was due while nobody ticked: waits until somebody has judged whether it takes place; see [`Tick::missed`].
    Missed,
    /// Waits for another run with the same overlap key.
    Behind,
    /// Waits for a worker.
    Ready,
    /// Given to a worker. `accepted`: it took charge.
    InFlight { worker: Name, session: SessionId, server: String, accepted: bool },
    /// Ends without running; see [`Ending`].
    Ending,
}

/// An open run as the queue knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub run: RunId,
    pub phase: Phase,
    /// The latest fence; `None` before the first claim.
    pub fence: Option<Fence>,
    /// The number of the latest attempt; 0 before the first claim.
    pub attempt: u32,
    pub counters: Counters,
    /// It is to be cancelled.
    pub cancelled: bool,
    pub body: Bytes,
}

/// How an attempt is settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub run: RunId,
    /// The attempt's fence. `None` for a run that ends without having run, and for one that the store knows has ended: whatever its fence.
    pub fence: Option<Fence>,
    pub step: Step,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The run has ended. `result` is kept for an hour for [`super::Queue::results`].
    Remove { result: Option<Bytes> },
    /// Back to its place after this time. It counts as not in flight, but the fence stays good until the next claim. A run that is to be
    /// cancelled becomes an [`Ending`] instead; one that was missed is let go, as if it were due now. `attempt` is the number of what ended: where
    /// the fence is later than any that the queue knows, the next one is counted from there.
    Again { delay: Duration, counters: Counters, attempt: u32 },
}

/// What became of a [`Settlement`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    Settled,
    /// It went back before, with the same counters: nothing was changed.
    Already,
    /// A later attempt has been given out: nothing was changed.
    Stale,
    /// The run is not open here.
    Unknown,
}

/// What became of a request to cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// It waited: it is an [`Ending`] now.
    Ending(Ending),
    /// Its worker will be told.
    InFlight(Record),
    /// The run is not open here.
    Unknown,
}

/// A run that ends without (another) attempt. It can no longer be claimed, and is offered by each server's ticks every 10 s until it is
/// settled with [`Step::Remove`], so that its end can be stored first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    pub record: Record,
    pub cause: EndingCause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EndingCause {
    /// Not accepted in time.
    Expired,
    /// [`Overlap::Skip`], and the run before it has not ended.
    Overlapped,
    /// [`Overlap::Replace`] of a later one.
    Replaced,
    Cancelled,
}

/// What a look at the clock brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tick {
    pub endings: Vec<Ending>,
    /// Runs that were due while nobody ticked, none of them ever claimed. They cannot be claimed before they are judged: [`Step::Again`] lets one go,
    /// [`Step::Remove`] leaves it out. Offered again every 10 s until then.
    pub missed: Vec<Record>,
    /// How late each was that was due and was let go.
    pub released: Vec<Duration>,
    /// When the next run is due or expires; `None` when none is known. Never more than an hour.
    pub next: Option<Duration>,
}

/// An open run of the store, entered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    pub entry: Entry,
    pub counters: Counters,
    /// The number of the latest attempt.
    pub attempt: u32,
    /// The latest fence that is known.
    pub fence: Option<Fence>,
    /// It was in flight: it stays so for this worker, accepted, under [`super::SessionId::NONE`], which has [`super::Session::LIFE`] to be replaced.
    pub held: Option<Name>,
    /// It was perhaps claimed unseen. Whoever has it says so when it connects: an embedded queue, whose workers were all cut off with it, lets it go only when
    /// for a while none has connected, whatever its delay.
    pub unsure: bool,
    /// It was missed: when its delay is over it is not let go, but becomes one of [`Tick::missed`], unless it turns out to have been claimed.
    pub missed: bool,
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::run::{Durability, Payload, Policy, TaskId, TaskRef};

    fn run(handler: &str) -> Run {
        Run {
            id: RunId::new(DateTime::UNIX_EPOCH, 0),
            task: Some(TaskRef {
                id: TaskId::from_bytes(&[7; 16]).unwrap(),
                name: "nightly".parse().unwrap(),
            }),
            group: None,
            place: Place::parse("any(role=web)").unwrap(),
            handler: handler.parse().unwrap(),
            payload: Payload::Inline(Bytes::new()),
            priority: Priority::Normal,
            durability: Durability::Durable,
            policy: Policy::default(),
            overlap: Overlap::Skip,
            created: DateTime::UNIX_EPOCH,
            due: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_run_for_any_worker_waits_for_one_that_has_its_handler() {
        let entry = Entry::of(&run("backup"), Duration::ZERO);
        assert_eq!(entry.place, Place::parse("any(handler=backup,role=web)").unwrap());
        let named = Run { place: Place::parse("web-1").unwrap(), ..run("backup") };
        assert_eq!(Entry::of(&named, Duration::ZERO).place, named.place);
    }

    #[test]
    fn runs_of_a_task_overlap_whatever_handler_it_had_before() {
        let [before, after] = ["backup", "restore"].map(|handler| Entry::of(&run(handler), Duration::ZERO));
        assert_eq!(before.overlap, after.overlap);
        let elsewhere = Run { place: Place::parse("web-1").unwrap(), ..run("backup") };
        assert_ne!(before.overlap, Entry::of(&elsewhere, Duration::ZERO).overlap);
    }
}
