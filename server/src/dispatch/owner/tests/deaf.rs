//! A queue that does what it is asked to, and whose answer to a claim is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marabunta_proto::name::Name;
use tokio::sync::broadcast::Receiver;

use crate::queue::embedded::Embedded;
use crate::queue::{
    Admission, Cancelled, Census, Claim, Claimed, Entry, Hint, Opened, Queue, QueueError, Record, Restored,
    Session, SessionId, Settled, Settlement, Silent, Tick,
};
use crate::run::{Fence, Place, RunId};

pub struct Deaf {
    pub queue: Embedded,
    /// The answer to the next claim that gets something is lost.
    pub next: AtomicBool,
}

macro_rules! as_it_is {
    ($($call:ident($($name:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Queue for Deaf {
            fn shards(&self) -> u16 {
                self.queue.shards()
            }

            fn hints(&self) -> Receiver<Hint> {
                self.queue.hints()
            }

            async fn claim(&self, claims: Vec<Claim>) -> Result<Vec<Claimed>, QueueError> {
                let claimed = self.queue.claim(claims).await?;
                let got = claimed.iter().any(|claimed| !claimed.deliveries.is_empty());
                if got && self.next.swap(false, Ordering::Relaxed) {
                    return Err(QueueError::Unavailable("no answer in time".into()));
                }
                Ok(claimed)
            }

            $(async fn $call(&self, $($name: $type),*) -> Result<$answer, QueueError> {
                self.queue.$call($($name),*).await
            })+
        }
    };
}

as_it_is! {
    enqueue(entries: Vec<Entry>) -> Vec<Admission>;
    accept(runs: Vec<(RunId, Fence)>) -> Vec<bool>;
    unaccepted(sessions: Vec<(Name, SessionId)>) -> Vec<Vec<(RunId, Fence)>>;
    look(runs: Vec<RunId>) -> Vec<Option<Record>>;
    settle(settlements: Vec<Settlement>) -> Vec<Settled>;
    results(runs: Vec<RunId>) -> Vec<Option<Bytes>>;
    cancel(runs: Vec<RunId>) -> Vec<Cancelled>;
    withdraw(runs: Vec<RunId>) -> Vec<bool>;
    tick() -> Tick;
    open(session: Session, holding: Vec<(RunId, Fence)>) -> Opened;
    renew(sessions: Vec<(Name, SessionId)>) -> Vec<bool>;
    doubt() -> ();
    close(worker: Name, session: SessionId) -> ();
    reap() -> Vec<Silent>;
    sessions(workers: Vec<Name>) -> Vec<Option<Session>>;
    holding(workers: Vec<Name>) -> Vec<u64>;
    selectors() -> Vec<Place>;
    follow(run: RunId) -> ();
    nudge(runs: Vec<RunId>) -> ();
    announce(hint: Hint) -> ();
    is_empty_handed() -> bool;
    begin_rebuild(life: Duration) -> bool;
    restore(runs: Vec<Restored>) -> usize;
    finish_rebuild() -> ();
    raise_fence(floor: Fence) -> ();
    depth(place: Place) -> u64;
    census() -> Census;
}
