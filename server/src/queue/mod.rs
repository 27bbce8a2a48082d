//! The queue: every open run, addressable by its id, in exactly one place.
//!
//! A run enters by [`Queue::enqueue`], waits until it is due and until its overlap policy lets it go, is claimed by the session of a
//! worker, accepted, and settled: removed, or entered again. All is atomic per run; a batch is not. A call that fails or times out may have
//! been carried out: each can be repeated, and what a claim took unseen comes back by itself.
//!
//! Two implementations, one contract (`tests/` runs it against both): `redis`, shared by any number of servers, and `embedded`, in the
//! memory of the one server that has the store's file. Either can be emptied at any time and is then rebuilt from the store.

mod census;
mod entry;
mod error;
mod hint;
mod limits;
mod session;
mod shard;

pub mod embedded;
pub mod redis;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

pub use census::Census;
pub use entry::{
    Admission, Cancelled, Claim, Claimed, Delivery, Ending, EndingCause, Entry, Phase, Record, Restored,
    Settled, Settlement, Step, Tick,
};
pub use error::QueueError;
pub use hint::Hint;
pub use limits::Limits;
pub use session::{Beat, Missing, Opened, Session, SessionId, Silent};
pub use shard::shard_of;

use crate::run::{Fence, Place, RunId};
use bytes::Bytes;
use marabunta_proto::name::Name;

/// What every queue does. All calls take batches: one round trip for many runs.
#[async_trait]
pub trait Queue: Send + Sync + 'static {
    /// How many shards there are. Runs that must know of each other belong in one: those with an overlap key in the one of its
    /// [`shard_of`], those with an idempotency key likewise. Any other goes into any, see [`RunId::new`]. Order holds within a shard.
    fn shards(&self) -> u16;

    /// Takes runs in, each once: one whose id is there already is left as it is. One answer per entry, in order.
    async fn enqueue(&self, entries: Vec<Entry>) -> Result<Vec<Admission>, QueueError>;

    /// Takes runs out of their places, most urgent and oldest first, and records them in flight for the session before anything is
    /// removed. Each gets a new fence, higher than any before. A claim of a session that is not live takes nothing. A run that went back
    /// keeps the turn it had.
    async fn claim(&self, claims: Vec<Claim>) -> Result<Vec<Claimed>, QueueError>;

    /// The worker took charge. `false` for a run whose fence is no longer this. One that went back meanwhile and was not claimed is in flight
    /// again, if the session it was given to is live.
    async fn accept(&self, runs: Vec<(RunId, Fence)>) -> Result<Vec<bool>, QueueError>;

    /// What was given to these sessions and was not accepted, of each: what a claim took whose answer never came is among it.
    async fn unaccepted(
        &self,
        sessions: Vec<(Name, SessionId)>,
    ) -> Result<Vec<Vec<(RunId, Fence)>>, QueueError>;

    /// What the queue knows of these runs; `None` for one that is not open here.
    async fn look(&self, runs: Vec<RunId>) -> Result<Vec<Option<Record>>, QueueError>;

    /// Ends attempts: removes their runs or enters them again. One answer per settlement, in order. Carried out twice it changes nothing: the
    /// second removal finds the run [`Settled::Unknown`], the second return [`Settled::Already`].
    async fn settle(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>, QueueError>;

    /// What was kept by [`Step::Remove`] of runs that ended lately; `None` when nothing is.
    async fn results(&self, runs: Vec<RunId>) -> Result<Vec<Option<Bytes>>, QueueError>;

    /// Runs that were made in this time, in ms since 1970, and of whose end something is kept: the latest, up to about `most`. Where every end is
    /// in the store before it is acknowledged, there are none to be looked for.
    async fn kept(&self, _made: Range<u64>, _most: usize) -> Result<Vec<RunId>, QueueError> {
        Ok(Vec::new())
    }

    /// Asks for runs to be cancelled. One that waits becomes an [`Ending`]; one in flight is marked, and [`Hint::Cancel`] goes to the server
    /// of its session.
    async fn cancel(&self, runs: Vec<RunId>) -> Result<Vec<Cancelled>, QueueError>;

    /// Withdraws runs that have not been claimed, without a trace: what is queued ahead of a task that was changed. `true` for each that is
    /// gone now, `false` for one that is or was in flight, or that ends.
    async fn withdraw(&self, runs: Vec<RunId>) -> Result<Vec<bool>, QueueError>;

    /// Lets go what is due, and finds what ends without having run. To be called by each server whenever [`Tick::next`] has passed, and each second:
    /// what was due while nobody did so for [`Limits::late`] is not let go before it was judged.
    async fn tick(&self) -> Result<Tick, QueueError>;

    /// Makes this the one live session of its worker and compares what the worker holds with what the queue gave it.
    async fn open(&self, session: Session, holding: Vec<(RunId, Fence)>) -> Result<Opened, QueueError>;

    /// Keeps sessions alive for [`Session::LIFE`] from now. `false` for one that is not the live one of its worker: it was superseded, or
    /// the queue was emptied and it must be opened again.
    async fn renew(&self, sessions: Vec<(Name, SessionId)>) -> Result<Vec<bool>, QueueError>;

    /// No session is known any more as the live one: each is to be opened again, which tells what its worker holds; [`Hint::Interrupted`] says so to all.
    async fn doubt(&self) -> Result<(), QueueError>;

    /// The session's stream has ended: it has [`Session::GRACE`] to be replaced. Nothing happens unless it is the live one.
    async fn close(&self, worker: Name, session: SessionId) -> Result<(), QueueError>;

    /// Sessions past their deadline, each with all that is in flight for its worker. Offered again after 10 s unless settled. After a pause in which
    /// nobody called this for 15 s, or a jump of the clock, every session has [`Session::LIFE`] from now first.
    async fn reap(&self) -> Result<Vec<Silent>, QueueError>;

    /// Says that this server has written all that happened to its fast runs until the queue lost what it held.
    async fn note_written(&self) -> Result<(), QueueError> {
        Ok(())
    }

    /// Which servers have said so, of the loss that is being mended.
    async fn written(&self) -> Result<Vec<String>, QueueError> {
        Ok(Vec::new())
    }

    /// Says that this server lives, and answers which do, and which have not said so for `life`, each of these to one server only. A queue of one
    /// server has none.
    async fn beat(&self, _life: Duration) -> Result<Beat, QueueError> {
        Ok(Beat::default())
    }

    /// The sessions of these workers; `None` for one that is not connected.
    async fn sessions(&self, workers: Vec<Name>) -> Result<Vec<Option<Session>>, QueueError>;

    /// How many runs are in flight for each of these workers.
    async fn holding(&self, workers: Vec<Name>) -> Result<Vec<u64>, QueueError>;

    /// Every `any(..)` place that may have something to claim.
    async fn selectors(&self) -> Result<Vec<Place>, QueueError>;

    /// From now on whatever happens to this run is told by [`Hint::Changed`], until it is settled by [`Step::Remove`].
    async fn follow(&self, run: RunId) -> Result<(), QueueError>;

    /// Tells those who follow these runs that there is something new to see.
    async fn nudge(&self, runs: Vec<RunId>) -> Result<(), QueueError>;

    /// Sends a hint to every server.
    async fn announce(&self, hint: Hint) -> Result<(), QueueError>;

    /// Hints from now on. A hint may be lost, also by [`broadcast::error::RecvError::Lagged`]: keep a slow look behind each.
    fn hints(&self) -> broadcast::Receiver<Hint>;

    /// Whether the queue has lost what it held (or never had any) and nobody has rebuilt it since.
    async fn is_empty_handed(&self) -> Result<bool, QueueError>;

    /// Takes the right to rebuild for `life`; `false` when another server has it.
    async fn begin_rebuild(&self, life: Duration) -> Result<bool, QueueError>;

    /// Enters open runs of the store again, as [`Queue::enqueue`] does, but with what they have behind them; answers how many. Ids that are there
    /// already are left as they are, and so is a run whose result is kept: it has ended, and the store is about to hear of it. Give those in
    /// flight first, then those with attempts behind them: they have their overlap slots by right. A worker that has a live session is to have
    /// it opened again, with what it holds, to tell what it no longer has.
    async fn restore(&self, runs: Vec<Restored>) -> Result<usize, QueueError>;

    /// The queue is whole again.
    async fn finish_rebuild(&self) -> Result<(), QueueError>;

    /// No fence below this will be given from now on.
    async fn raise_fence(&self, floor: Fence) -> Result<(), QueueError>;

    /// How many runs are ready in this place.
    async fn depth(&self, place: Place) -> Result<u64, QueueError>;

    /// How many open runs are in which phase, and the oldest of those that are ready, which may be looked for in some hundred places only. Nothing is
    /// changed; what happens meanwhile may be counted or not.
    async fn census(&self) -> Result<Census, QueueError>;
}
