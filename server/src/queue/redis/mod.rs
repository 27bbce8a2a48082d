//! The queue in Redis (7.0 or later, or Valkey), shared by any number of servers.
//!
//! The life of a run in it: [`enqueue`](enter) writes its body and its state and puts its id into `due` or `ready`; `tick` moves what is due to
//! `ready`; [`claim`](attempt) records it in flight for a worker and then takes it out of `ready`; `settle` removes it or puts it back. Each
//! call is one Lua script on one shard, and one round trip for up to [`BATCH`] runs. All keys: [`keys`].
//!
//! The scripts share their beginning, `ledger.lua` and `overlap.lua`: load, decide, then write, additions first. The one clock is Redis's.

mod attempt;
mod census;
mod enter;
mod hints;
mod keys;
mod link;
mod lookup;
mod options;
mod queue;
mod record;
mod scripts;
mod sessions;
mod shards;

pub use options::RedisOptions;
pub use queue::RedisQueue;

/// The most runs that go into one call of a script: larger calls cost no less per run, and keep others waiting.
const BATCH: usize = 500;
