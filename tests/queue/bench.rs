//! A queue to try, and short words for what tests do with it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use marabunta_proto::name::Name;
#[cfg(feature = "services")]
use marabunta_server::queue::redis::{RedisOptions, RedisQueue};
use marabunta_server::queue::{
    Admission, Claim, Claimed, Delivery, Entry, Hint, Limits, Opened, Phase, Queue, Record, Session,
    SessionId, Settled, Settlement, Silent, Step, Tick, embedded::Embedded,
};
use marabunta_server::run::{Counters, Fence, Overlap, Place, Priority, RunId};
use marabunta_tests::support::eventually;
#[cfg(feature = "services")]
use marabunta_tests::support::redis::{Prefix, Redis};
use tokio::sync::broadcast;
use uuid::Uuid;

/// When the oldest is so late, nobody has ticked.
pub const LATE: Duration = Duration::from_millis(2000);

/// Short spans: time that must pass passes soon, and embedded it does not pass at all.
pub fn limits() -> Limits {
    Limits {
        life: Duration::from_millis(800),
        grace: Duration::from_millis(150),
        pause: Duration::from_secs(20),
        late: LATE,
        offer: Duration::from_millis(300),
        waiting: 200,
        ..Limits::default()
    }
}

pub struct Bench {
    pub queue: Arc<dyn Queue>,
    /// Emptied when the test ends.
    #[cfg(feature = "services")]
    pub prefix: Option<Prefix>,
}

impl Bench {
    pub fn embedded() -> Self {
        Self::in_memory_with(limits())
    }

    pub fn in_memory_with(limits: Limits) -> Self {
        Self {
            queue: Arc::new(Embedded::new(limits)),
            #[cfg(feature = "services")]
            prefix: None,
        }
    }

    #[cfg(feature = "services")]
    pub async fn redis(shards: u16) -> Self {
        Self::redis_with(shards, limits()).await
    }

    #[cfg(feature = "services")]
    pub async fn redis_with(shards: u16, limits: Limits) -> Self {
        let prefix = Redis::shared().await.prefix();
        let options = RedisOptions { limits, ..Self::options(&prefix, shards, "server-1") };
        let queue = RedisQueue::connect(options).await.unwrap();
        Self { queue: Arc::new(queue), prefix: Some(prefix) }
    }

    /// Whether its clock is the test's.
    pub fn is_in_memory(&self) -> bool {
        #[cfg(feature = "services")]
        return self.prefix.is_none();
        #[cfg(not(feature = "services"))]
        true
    }

    /// Takes all that it holds away.
    pub async fn flush(&mut self, limits: Limits) {
        #[cfg(feature = "services")]
        if let Some(prefix) = &self.prefix {
            return prefix.clear().await;
        }
        self.queue = Arc::new(Embedded::new(limits));
    }

    #[cfg(feature = "services")]
    pub fn options(prefix: &Prefix, shards: u16, server: &str) -> RedisOptions {
        RedisOptions { shards, limits: limits(), ..RedisOptions::new(prefix.url(), prefix.prefix(), server) }
    }

    /// A new id, in any shard.
    pub fn id(&self) -> RunId {
        let random = Uuid::new_v4().as_u128() % u128::from(self.queue.shards());
        RunId::new(marabunta_server::clock::wall(), random as u16)
    }

    /// A run for `place`, in any shard.
    pub fn entry(&self, place: &str) -> Entry {
        entry(self.id(), place)
    }

    /// A run in the first shard, where order counts.
    pub fn ordered(&self, place: &str) -> Entry {
        entry(RunId::new(marabunta_server::clock::wall(), 0), place)
    }

    /// A run in the first shard, with an overlap key.
    pub fn overlapping(&self, policy: Overlap, key: &str) -> Entry {
        Entry { overlap: Some((policy, key.to_owned())), ..self.ordered("web-1") }
    }

    pub async fn enqueue(&self, entry: Entry) -> RunId {
        let run = entry.run;
        assert_eq!(self.queue.enqueue(vec![entry]).await.unwrap(), [Admission::Queued]);
        run
    }

    /// A session of `worker`, live.
    pub async fn connect(&self, worker: &str) -> Session {
        let session = session(worker);
        self.open(&session, vec![]).await;
        session
    }

    pub async fn open(&self, session: &Session, holding: Vec<(RunId, Fence)>) -> Opened {
        self.queue.open(session.clone(), holding).await.unwrap()
    }

    pub async fn claim(&self, session: &Session, place: &str, max: u32) -> Claimed {
        self.queue.claim(vec![claim(session, place, max)]).await.unwrap().remove(0)
    }

    /// The ids of what a session gets from its own place.
    pub async fn take(&self, session: &Session, max: u32) -> Vec<RunId> {
        self.claim(session, session.worker.as_str(), max).await.deliveries.iter().map(|one| one.run).collect()
    }

    /// One run, enqueued and claimed.
    pub async fn deliver(&self, session: &Session) -> Delivery {
        let run = self.enqueue(self.entry(session.worker.as_str())).await;
        let claimed = self.claim(session, session.worker.as_str(), 1).await;
        let delivery = claimed.deliveries.into_iter().next().expect("what is ready is delivered");
        assert_eq!(delivery.run, run);
        delivery
    }

    /// One run, enqueued, claimed and accepted.
    pub async fn start(&self, session: &Session) -> Delivery {
        let delivery = self.deliver(session).await;
        assert!(self.accept(&delivery).await);
        delivery
    }

    pub async fn accept(&self, delivery: &Delivery) -> bool {
        self.queue.accept(vec![(delivery.run, delivery.fence)]).await.unwrap()[0]
    }

    pub async fn settle(&self, run: RunId, fence: Option<Fence>, step: Step) -> Settled {
        self.queue.settle(vec![Settlement { run, fence, step }]).await.unwrap()[0]
    }

    pub async fn finish(&self, delivery: &Delivery) -> Settled {
        self.settle(delivery.run, Some(delivery.fence), Step::Remove { result: None }).await
    }

    pub async fn again(&self, delivery: &Delivery, delay: Duration) -> Settled {
        let counters = Counters { unaccepted: delivery.attempt, ..Counters::default() };
        self.settle(
            delivery.run,
            Some(delivery.fence),
            Step::Again { delay, counters, attempt: delivery.attempt },
        )
        .await
    }

    pub async fn look(&self, run: RunId) -> Option<Record> {
        self.queue.look(vec![run]).await.unwrap().remove(0)
    }

    pub async fn phase(&self, run: RunId) -> Option<Phase> {
        self.look(run).await.map(|record| record.phase)
    }

    pub async fn tick(&self) -> Tick {
        self.queue.tick().await.unwrap()
    }

    /// Ticks until this holds of a run.
    pub async fn until(&self, what: &str, run: RunId, holds: impl Fn(&Phase) -> bool) {
        eventually(what, async || {
            self.tick().await;
            let phase = self.phase(run).await;
            ensure!(phase.as_ref().is_some_and(&holds), "it is {phase:?}");
            Ok(())
        })
        .await;
    }

    /// Reaps until somebody is silent.
    pub async fn until_silent(&self) -> Vec<Silent> {
        eventually("a session is silent", async || {
            let silent = self.queue.reap().await?;
            ensure!(!silent.is_empty(), "none is");
            Ok(silent)
        })
        .await
    }

    /// All is gone: no run, nothing in flight, nothing to come.
    pub async fn assert_empty(&self, runs: &[RunId]) {
        let records = self.queue.look(runs.to_vec()).await.unwrap();
        assert!(records.iter().all(Option::is_none), "{records:?}");
        assert_eq!(self.tick().await, Tick::default());
    }
}

/// A run with nothing special about it.
pub fn entry(run: RunId, place: &str) -> Entry {
    Entry {
        run,
        place: Place::parse(place).unwrap(),
        priority: Priority::Normal,
        delay: Duration::ZERO,
        expires: None,
        overlap: None,
        key: None,
        body: Bytes::copy_from_slice(format!("body of {run}").as_bytes()),
    }
}

pub fn name(worker: &str) -> Name {
    worker.parse().unwrap()
}

/// A new session of this worker, on server-1.
pub fn session(worker: &str) -> Session {
    Session {
        worker: name(worker),
        id: SessionId(Uuid::new_v4()),
        server: "server-1".into(),
        instance: "instance-1".into(),
    }
}

pub fn claim(session: &Session, place: &str, max: u32) -> Claim {
    Claim { place: Place::parse(place).unwrap(), worker: session.worker.clone(), session: session.id, max }
}

/// Waits for a hint, past any others.
pub async fn hinted(hints: &mut broadcast::Receiver<Hint>, expected: &Hint) {
    let wait = async { while hints.recv().await.unwrap() != *expected {} };
    let waited = tokio::time::timeout(Duration::from_secs(30), wait).await;
    waited.unwrap_or_else(|_| panic!("no hint {expected:?}"));
}

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}
