//! The contract, and which file keeps which part of it.

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Client, Script, ScriptInvocation};
use tokio::sync::broadcast;
use tokio::task::JoinSet;

use super::hints::Listener;
use super::keys::Keys;
use super::link::{Link, explain};
use super::options::RedisOptions;
use super::scripts::Scripts;
use crate::queue::{
    Admission, Beat, Cancelled, Census, Claim, Claimed, Entry, Hint, Limits, Opened, Queue, QueueError,
    Record, Restored, Session, SessionId, Settled, Settlement, Silent, Tick,
};
use crate::run::{Fence, Place, RunId};
use marabunta_proto::name::Name;

/// A receiver that falls behind by more than this has lost hints, and is told so.
const HINTS: usize = 4096;

/// A queue shared by any number of servers.
pub struct RedisQueue {
    pub(super) link: Link,
    pub(super) keys: Keys,
    pub(super) scripts: Scripts,
    pub(super) shards: u16,
    pub(super) server: String,
    pub(super) limits: Limits,
    hints: broadcast::Sender<Hint>,
    /// Ends with the queue.
    _listener: JoinSet<()>,
}

impl RedisQueue {
    /// Connects and subscribes. [`QueueError::Unusable`] if Redis is too old or set to delete what it holds.
    pub async fn connect(options: RedisOptions) -> Result<Self, QueueError> {
        options.check()?;
        let client = Client::open(options.url.as_str()).map_err(explain)?;
        let link = Link::connect(client.clone(), options.timeout).await?;
        let keys = Keys::new(options.prefix);
        let hints = broadcast::Sender::new(HINTS);
        let channels = [keys.channel(), keys.channel_of(&options.server)];
        let listening = Listener {
            client,
            channels,
            hints: hints.clone(),
            moved: link.moved.clone(),
            panics: options.panics,
        };
        let listening = listening.subscribe().await?;
        Ok(Self {
            link,
            keys,
            scripts: Scripts::new(),
            shards: options.shards,
            server: options.server,
            limits: options.limits,
            hints,
            _listener: JoinSet::from_iter([listening]),
        })
    }

    /// A call of a script on a shard, with what every script is given.
    pub(super) fn call<'a>(&self, script: &'a Script, shard: u16) -> ScriptInvocation<'a> {
        let mut call = script.prepare_invoke();
        call.key(self.keys.of_shard(shard)).arg(self.keys.channel());
        call
    }
}

#[async_trait]
impl Queue for RedisQueue {
    fn shards(&self) -> u16 {
        self.shards
    }

    async fn enqueue(&self, entries: Vec<Entry>) -> Result<Vec<Admission>, QueueError> {
        self.enqueue_all(entries).await
    }

    async fn claim(&self, claims: Vec<Claim>) -> Result<Vec<Claimed>, QueueError> {
        self.claim_all(claims).await
    }

    async fn accept(&self, runs: Vec<(RunId, Fence)>) -> Result<Vec<bool>, QueueError> {
        self.accept_all(runs).await
    }

    async fn unaccepted(
        &self,
        sessions: Vec<(Name, SessionId)>,
    ) -> Result<Vec<Vec<(RunId, Fence)>>, QueueError> {
        self.unaccepted_by(sessions).await
    }

    async fn look(&self, runs: Vec<RunId>) -> Result<Vec<Option<Record>>, QueueError> {
        self.look_at(runs).await
    }

    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>, QueueError> {
        self.settle_all(settlements).await
    }

    async fn results(&self, runs: Vec<RunId>) -> Result<Vec<Option<Bytes>>, QueueError> {
        self.results_of(runs).await
    }

    async fn beat(&self, life: Duration) -> Result<Beat, QueueError> {
        self.beat_of(life).await
    }

    async fn kept(&self, made: Range<u64>, most: usize) -> Result<Vec<RunId>, QueueError> {
        self.kept_of(made, most).await
    }

    async fn cancel(&self, runs: Vec<RunId>) -> Result<Vec<Cancelled>, QueueError> {
        self.cancel_all(runs).await
    }

    async fn withdraw(&self, runs: Vec<RunId>) -> Result<Vec<bool>, QueueError> {
        self.withdraw_all(runs).await
    }

    async fn tick(&self) -> Result<Tick, QueueError> {
        self.tick_all().await
    }

    async fn open(&self, session: Session, holding: Vec<(RunId, Fence)>) -> Result<Opened, QueueError> {
        self.open_session(session, holding).await
    }

    async fn renew(&self, sessions: Vec<(Name, SessionId)>) -> Result<Vec<bool>, QueueError> {
        self.renew_sessions(sessions).await
    }

    async fn doubt(&self) -> Result<(), QueueError> {
        self.doubt_sessions().await
    }

    async fn close(&self, worker: Name, session: SessionId) -> Result<(), QueueError> {
        self.close_session(worker, session).await
    }

    async fn reap(&self) -> Result<Vec<Silent>, QueueError> {
        self.reap_sessions().await
    }

    async fn sessions(&self, workers: Vec<Name>) -> Result<Vec<Option<Session>>, QueueError> {
        self.live_sessions(workers).await
    }

    async fn holding(&self, workers: Vec<Name>) -> Result<Vec<u64>, QueueError> {
        self.in_flight_for(workers).await
    }

    async fn selectors(&self) -> Result<Vec<Place>, QueueError> {
        self.live_selectors().await
    }

    async fn follow(&self, run: RunId) -> Result<(), QueueError> {
        self.follow_all("follow", vec![run]).await
    }

    async fn nudge(&self, runs: Vec<RunId>) -> Result<(), QueueError> {
        self.follow_all("nudge", runs).await
    }

    async fn announce(&self, hint: Hint) -> Result<(), QueueError> {
        self.tell_all(&hint).await
    }

    fn hints(&self) -> broadcast::Receiver<Hint> {
        self.hints.subscribe()
    }

    async fn is_empty_handed(&self) -> Result<bool, QueueError> {
        self.lacks_generation().await
    }

    async fn begin_rebuild(&self, life: Duration) -> Result<bool, QueueError> {
        self.take_rebuild(life).await
    }

    async fn restore(&self, runs: Vec<Restored>) -> Result<usize, QueueError> {
        self.restore_all(runs).await
    }

    async fn note_written(&self) -> Result<(), QueueError> {
        self.add_written().await
    }

    async fn written(&self) -> Result<Vec<String>, QueueError> {
        self.written_by().await
    }

    async fn finish_rebuild(&self) -> Result<(), QueueError> {
        self.leave_rebuild().await
    }

    async fn raise_fence(&self, floor: Fence) -> Result<(), QueueError> {
        self.raise_fences(floor).await
    }

    async fn depth(&self, place: Place) -> Result<u64, QueueError> {
        Ok(self.ready_in(&[place]).await?.into_iter().flatten().sum())
    }

    async fn census(&self) -> Result<Census, QueueError> {
        self.count_all().await
    }
}
