//! How runs enter, and how a queue that lost them is filled again.

use std::time::Duration;

use redis::ScriptInvocation;
use uuid::Uuid;

use super::hints;
use super::keys::{place_text, rank, slot_text};
use super::link::{Request, garbled};
use super::queue::RedisQueue;
use super::record::counters_text;
use crate::queue::{Admission, Entry, Hint, QueueError, Restored};
use crate::run::{Fence, RunId};

impl RedisQueue {
    pub(super) async fn enqueue_all(&self, entries: Vec<Entry>) -> Result<Vec<Admission>, QueueError> {
        let request = |shard, entries: &[Entry]| {
            let mut call = self.call(&self.scripts.enqueue, shard);
            call.arg(self.limits.waiting).arg(millis(self.limits.keys));
            let mut extra = ExtraKeys::default();
            for entry in entries {
                write_entry(&mut call, entry);
                call.arg(extra.number(self.keys.results(shard, entry.run)));
                self.write_key(&mut call, &mut extra, shard, entry);
            }
            extra.declare(&mut call);
            Request::Script(call)
        };
        let read = |answers: Vec<String>, _| answers.iter().map(|answer| read_admission(answer)).collect();
        self.scatter(entries, |entry| entry.run.shard(), request, read).await
    }

    pub(super) async fn restore_all(&self, mut runs: Vec<Restored>) -> Result<usize, QueueError> {
        // Those that have a slot by right go before those that must ask.
        runs.sort_by_key(|run| (run.held.is_none(), run.attempt == 0));
        let request = |shard, runs: &[Restored]| {
            let mut call = self.call(&self.scripts.restore, shard);
            call.arg(millis(self.limits.life)).arg(millis(self.limits.keys));
            let mut extra = ExtraKeys::default();
            for run in runs {
                write_entry(&mut call, &run.entry);
                call.arg(extra.number(self.keys.results(shard, run.entry.run)));
                self.write_key(&mut call, &mut extra, shard, &run.entry);
                call.arg(counters_text(run.counters))
                    .arg(run.attempt)
                    .arg(run.fence.map_or(0, |fence| fence.0));
                call.arg(run.held.as_ref().map_or("", |worker| worker.as_str())).arg(u8::from(run.missed));
            }
            extra.declare(&mut call);
            Request::Script(call)
        };
        let read = |answers: Vec<bool>, _| Ok(answers);
        let entered = self.scatter(runs, |run| run.entry.run.shard(), request, read).await?;
        Ok(entered.into_iter().filter(|entered| *entered).count())
    }

    pub(super) async fn lacks_generation(&self) -> Result<bool, QueueError> {
        let whole: Vec<(bool,)> = self
            .each(|shard| {
                let mut look = redis::pipe();
                look.hexists(self.keys.named(shard, "meta"), "generation");
                Request::Commands(look)
            })
            .await?;
        Ok(whole.iter().any(|(whole,)| !whole))
    }

    /// A hint to every server.
    pub(super) async fn tell_all(&self, hint: &Hint) -> Result<(), QueueError> {
        let mut publish = redis::pipe();
        publish.publish(self.keys.channel(), hints::encode(hint)).ignore();
        self.link.run(&Request::Commands(publish)).await
    }

    pub(super) async fn take_rebuild(&self, life: Duration) -> Result<bool, QueueError> {
        let mut take = redis::pipe();
        take.cmd("SET").arg(self.keys.named(0, "rebuild")).arg(&self.server).arg("NX");
        take.arg("PX").arg(millis(life).max(1));
        let (taken,): (Option<String>,) = self.link.run(&Request::Commands(take)).await?;
        Ok(taken.is_some())
    }

    pub(super) async fn add_written(&self) -> Result<(), QueueError> {
        let mut add = redis::pipe();
        add.sadd(self.keys.named(0, "written"), &self.server).ignore();
        self.link.run(&Request::Commands(add)).await
    }

    pub(super) async fn written_by(&self) -> Result<Vec<String>, QueueError> {
        let mut look = redis::pipe();
        look.smembers(self.keys.named(0, "written"));
        let (servers,) = self.link.run(&Request::Commands(look)).await?;
        Ok(servers)
    }

    pub(super) async fn leave_rebuild(&self) -> Result<(), QueueError> {
        self.each::<()>(|shard| {
            let mut mark = redis::pipe();
            mark.hset_nx(self.keys.named(shard, "meta"), "generation", Uuid::new_v4().to_string()).ignore();
            Request::Commands(mark)
        })
        .await?;
        let mut leave = redis::pipe();
        leave.del(&[self.keys.named(0, "written"), self.keys.named(0, "rebuild")]).ignore();
        self.link.run(&Request::Commands(leave)).await
    }

    pub(super) async fn raise_fences(&self, floor: Fence) -> Result<(), QueueError> {
        self.each::<()>(|shard| {
            let mut call = self.call(&self.scripts.raise, shard);
            call.arg(floor.0);
            Request::Script(call)
        })
        .await?;
        Ok(())
    }

    fn write_key(&self, call: &mut ScriptInvocation<'_>, extra: &mut ExtraKeys, shard: u16, entry: &Entry) {
        match &entry.key {
            None => _ = call.arg("0").arg(""),
            Some(key) => {
                call.arg(extra.number(self.keys.idempotency(shard, &key.text)));
                call.arg(Uuid::from_bytes(key.request).simple().to_string());
            }
        }
    }
}

/// The keys of a call beyond those that every script gets, each once.
#[derive(Default)]
pub(super) struct ExtraKeys(Vec<String>);

impl ExtraKeys {
    /// The number by which the script finds this key in `KEYS`.
    pub fn number(&mut self, key: String) -> usize {
        let position = self.0.iter().rposition(|known| *known == key).unwrap_or_else(|| {
            self.0.push(key);
            self.0.len() - 1
        });
        super::keys::SCRIPT_KEYS.len() + 1 + position
    }

    pub fn declare(self, call: &mut ScriptInvocation<'_>) {
        call.key(self.0);
    }
}

fn write_entry(call: &mut ScriptInvocation<'_>, entry: &Entry) {
    let place = place_text(&entry.place);
    let (policy, slot) = slot_text(entry.overlap.as_ref());
    call.arg(entry.run.to_string()).arg(&entry.body[..]).arg(millis(entry.delay));
    match entry.expires {
        None => call.arg(""),
        Some(after) => call.arg(millis(after)),
    };
    call.arg(slot).arg(policy as u8).arg(rank(entry.priority)).arg(place);
}

fn read_admission(answer: &str) -> Result<Admission, QueueError> {
    let wrong = || garbled("admission");
    let repeated =
        |id: &str, same| Ok(Admission::Repeated { run: id.parse::<RunId>().map_err(|_| wrong())?, same });
    match answer.split_once(' ') {
        None if answer == "queued" => Ok(Admission::Queued),
        None if answer == "duplicate" => Ok(Admission::Duplicate),
        None if answer == "full" => Ok(Admission::Full),
        Some(("same", id)) => repeated(id, true),
        Some(("other", id)) => repeated(id, false),
        _ => Err(wrong()),
    }
}

/// Whole milliseconds; what is more than nothing is at least one.
pub(super) fn millis(duration: Duration) -> u64 {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    // A thousand years keep every sum exact in Lua.
    millis.max(u64::from(!duration.is_zero())).min(31_557_600_000_000)
}
