//! The lock around [`State`], and the hints that leave it.

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::broadcast;
use tokio::time::Instant;
use tracing::error;

use super::state::State;
use crate::queue::{
    Admission, Cancelled, Census, Claim, Claimed, Entry, Hint, Limits, Opened, Queue, QueueError, Record,
    Restored, Session, SessionId, Settled, Settlement, Silent, Tick,
};
use crate::run::{Fence, Place, RunId};
use marabunta_proto::name::Name;

/// A receiver that falls behind by more than this has lost hints, and is told so.
const HINTS: usize = 4096;

/// The queue of a server that stands alone.
pub struct Embedded {
    state: Mutex<State>,
    limits: Limits,
    hints: broadcast::Sender<Hint>,
}

impl Embedded {
    /// An empty queue. Needs no runtime, but its time is that of the runtime in which it is called.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        let state = Mutex::new(empty(&limits));
        Self { state, limits, hints: broadcast::Sender::new(HINTS) }
    }

    /// What a panic may have torn is thrown away: a queue can be emptied at any time, and is filled again from the store.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            error!("the queue panicked: it is emptied, and filled again from the store");
            let mut state = poisoned.into_inner();
            *state = empty(&self.limits);
            self.state.clear_poison();
            self.tell(Hint::Interrupted);
            state
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut State, Instant) -> T) -> T {
        let (done, hints) = {
            let mut state = self.lock();
            let done = work(&mut state, Instant::now());
            (done, std::mem::take(&mut state.hints))
        };
        hints.into_iter().for_each(|hint| self.tell(hint));
        done
    }

    fn tell(&self, hint: Hint) {
        // An error says that nobody listens, which is allowed.
        self.hints.send(hint).ok();
    }
}

fn empty(limits: &Limits) -> State {
    let wall = u64::try_from(crate::clock::wall().timestamp_micros()).unwrap_or(0);
    State::new(limits.clone(), Instant::now(), wall)
}

#[async_trait]
impl Queue for Embedded {
    fn shards(&self) -> u16 {
        1
    }

    async fn enqueue(&self, entries: Vec<Entry>) -> Result<Vec<Admission>, QueueError> {
        Ok(self.with(|state, now| entries.into_iter().map(|entry| state.enqueue(entry, now)).collect()))
    }

    async fn claim(&self, claims: Vec<Claim>) -> Result<Vec<Claimed>, QueueError> {
        Ok(self.with(|state, now| claims.iter().map(|claim| state.claim(claim, now)).collect()))
    }

    async fn accept(&self, runs: Vec<(RunId, Fence)>) -> Result<Vec<bool>, QueueError> {
        Ok(self.with(|state, _| runs.into_iter().map(|(run, fence)| state.accept(run, fence)).collect()))
    }

    async fn unaccepted(
        &self,
        sessions: Vec<(Name, SessionId)>,
    ) -> Result<Vec<Vec<(RunId, Fence)>>, QueueError> {
        Ok(self.with(|state, _| sessions.iter().map(|session| state.unaccepted(session)).collect()))
    }

    async fn look(&self, runs: Vec<RunId>) -> Result<Vec<Option<Record>>, QueueError> {
        Ok(self.with(|state, now| {
            runs.iter().map(|run| state.runs.get(run).map(|open| state.record(open, now))).collect()
        }))
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>, QueueError> {
        Ok(self.with(|state, now| settlements.into_iter().map(|one| state.settle(one, now)).collect()))
    }

    async fn results(&self, runs: Vec<RunId>) -> Result<Vec<Option<Bytes>>, QueueError> {
        Ok(self.with(|state, now| runs.into_iter().map(|run| state.results.get(run, now)).collect()))
    }

    async fn cancel(&self, runs: Vec<RunId>) -> Result<Vec<Cancelled>, QueueError> {
        Ok(self.with(|state, now| runs.into_iter().map(|run| state.cancel(run, now)).collect()))
    }

    async fn withdraw(&self, runs: Vec<RunId>) -> Result<Vec<bool>, QueueError> {
        Ok(self.with(|state, _| runs.into_iter().map(|run| state.withdraw(run)).collect()))
    }

    async fn tick(&self) -> Result<Tick, QueueError> {
        Ok(self.with(State::tick))
    }

    async fn open(&self, session: Session, holding: Vec<(RunId, Fence)>) -> Result<Opened, QueueError> {
        Ok(self.with(|state, now| state.open(session, holding, now)))
    }

    async fn renew(&self, sessions: Vec<(Name, SessionId)>) -> Result<Vec<bool>, QueueError> {
        Ok(self.with(|state, now| {
            let deadline = now + state.limits.life;
            sessions.iter().map(|(worker, id)| state.sessions.renew(worker, *id, deadline)).collect()
        }))
    }

    async fn doubt(&self) -> Result<(), QueueError> {
        self.with(|state, now| {
            state.sessions.doubt_all(now + state.limits.life);
            state.hints.push(Hint::Interrupted);
        });
        Ok(())
    }

    async fn close(&self, worker: Name, session: SessionId) -> Result<(), QueueError> {
        self.with(|state, now| {
            let deadline = now + state.limits.grace;
            state.sessions.close(&worker, session, deadline);
        });
        Ok(())
    }

    async fn reap(&self) -> Result<Vec<Silent>, QueueError> {
        Ok(self.with(State::reap))
    }

    async fn sessions(&self, workers: Vec<Name>) -> Result<Vec<Option<Session>>, QueueError> {
        Ok(self.with(|state, _| workers.iter().map(|worker| state.sessions.live(worker).cloned()).collect()))
    }

    async fn holding(&self, workers: Vec<Name>) -> Result<Vec<u64>, QueueError> {
        Ok(self.with(|state, _| {
            workers
                .iter()
                .map(|worker| state.in_flight.get(worker).map_or(0, |runs| runs.len() as u64))
                .collect()
        }))
    }

    async fn selectors(&self) -> Result<Vec<Place>, QueueError> {
        Ok(self.with(|state, _| {
            state.ready.keys().rev().take_while(|place| matches!(place, Place::Any(_))).cloned().collect()
        }))
    }

    async fn follow(&self, run: RunId) -> Result<(), QueueError> {
        self.with(|state, _| {
            if let Some(open) = state.runs.get_mut(&run) {
                open.followed = true;
            }
        });
        Ok(())
    }

    async fn nudge(&self, runs: Vec<RunId>) -> Result<(), QueueError> {
        self.with(|state, _| {
            let followed =
                runs.into_iter().filter(|run| state.runs.get(run).is_some_and(|open| open.followed));
            state.hints.extend(followed.map(Hint::Changed));
        });
        Ok(())
    }

    async fn announce(&self, hint: Hint) -> Result<(), QueueError> {
        self.tell(hint);
        Ok(())
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }

    async fn is_empty_handed(&self) -> Result<bool, QueueError> {
        Ok(self.with(|state, _| state.empty_handed))
    }

    async fn begin_rebuild(&self, life: Duration) -> Result<bool, QueueError> {
        Ok(self.with(|state, now| {
            let free = state.rebuilding.is_none_or(|until| until <= now);
            if free {
                state.rebuilding = Some(now + life);
            }
            free
        }))
    }

    async fn restore(&self, runs: Vec<Restored>) -> Result<usize, QueueError> {
        Ok(self.with(|state, now| state.restore(runs, now)))
    }

    async fn finish_rebuild(&self) -> Result<(), QueueError> {
        self.with(|state, _| {
            state.empty_handed = false;
            state.rebuilding = None;
        });
        Ok(())
    }

    async fn raise_fence(&self, floor: Fence) -> Result<(), QueueError> {
        self.with(|state, _| state.fence = state.fence.max(floor.0.saturating_sub(1)));
        Ok(())
    }

    async fn depth(&self, place: Place) -> Result<u64, QueueError> {
        Ok(self.with(|state, _| state.ready.get(&place).map_or(0, |runs| runs.len() as u64)))
    }

    async fn census(&self) -> Result<Census, QueueError> {
        Ok(self.with(|state, _| state.census()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::run::{Priority, RunId};

    #[tokio::test]
    async fn a_queue_that_panicked_is_empty_and_asks_to_be_filled_again() {
        let queue = Arc::new(Embedded::new(Limits::default()));
        queue.begin_rebuild(Duration::from_secs(1)).await.unwrap();
        queue.finish_rebuild().await.unwrap();
        assert!(!queue.is_empty_handed().await.unwrap());
        let mut hints = queue.hints();
        let endless = Entry {
            run: RunId::new(crate::clock::wall(), 0),
            place: Place::Worker("web-1".parse().unwrap()),
            priority: Priority::Normal,
            // No clock counts to its end.
            delay: Duration::MAX,
            expires: None,
            overlap: None,
            key: None,
            body: Bytes::new(),
        };
        let broken = queue.clone();
        let mut calls = tokio::task::JoinSet::new();
        calls.spawn(async move { broken.enqueue(vec![endless]).await });
        calls.join_next().await.unwrap().expect_err("it panics");
        assert!(queue.is_empty_handed().await.unwrap());
        assert_eq!(hints.recv().await, Ok(Hint::Interrupted));
        assert!(queue.begin_rebuild(Duration::from_secs(1)).await.unwrap(), "nobody else rebuilds");
    }
}
