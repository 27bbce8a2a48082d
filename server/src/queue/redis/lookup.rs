//! Runs that are looked at, cancelled, withdrawn, followed; and what the passing of time does to them.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use marabunta_proto::name::Name;
use redis::Script;

use super::BATCH;
use super::enter::millis;
use super::keys::{Keys, parse_place, place_text};
use super::link::{Request, garbled};
use super::queue::RedisQueue;
use super::record::{Raw, read, read_record};
use crate::queue::{Cancelled, Ending, QueueError, Record, Tick};
use crate::run::{Place, RunId};

impl RedisQueue {
    pub(super) async fn look_at(&self, runs: Vec<RunId>) -> Result<Vec<Option<Record>>, QueueError> {
        let request = |shard, runs: &[RunId]| self.with_ids(&self.scripts.look, shard, runs);
        let read =
            |raw: Vec<Option<Raw>>, _| raw.into_iter().map(|raw| raw.map(read_record).transpose()).collect();
        self.scatter(runs, |run| run.shard(), request, read).await
    }

    pub(super) async fn results_of(&self, runs: Vec<RunId>) -> Result<Vec<Option<Bytes>>, QueueError> {
        let request = |shard, runs: &[RunId]| {
            let mut look = redis::pipe();
            for run in runs {
                look.hget(self.keys.results(shard, *run), run.to_string());
            }
            Request::Commands(look)
        };
        let read = |results: Vec<Option<Vec<u8>>>, _| {
            let kept = |result: Option<Vec<u8>>| result.filter(|result| !result.is_empty()).map(Bytes::from);
            Ok(results.into_iter().map(kept).collect())
        };
        self.scatter(runs, |run| run.shard(), request, read).await
    }

    /// Bucket by bucket, so that neither side has all of them at once.
    pub(super) async fn kept_of(&self, made: Range<u64>, most: usize) -> Result<Vec<RunId>, QueueError> {
        let mut kept = Vec::new();
        for bucket in (Keys::bucket(made.start)..=Keys::bucket(made.end)).rev() {
            let parts: Vec<(Vec<String>,)> = self
                .each(|shard| {
                    let mut look = redis::pipe();
                    look.hkeys(self.keys.results_in(shard, bucket));
                    Request::Commands(look)
                })
                .await?;
            for run in parts.into_iter().flat_map(|(runs,)| runs) {
                kept.push(run.parse().map_err(|_| garbled("run"))?);
            }
            if kept.len() >= most {
                break;
            }
        }
        Ok(kept)
    }

    pub(super) async fn cancel_all(&self, runs: Vec<RunId>) -> Result<Vec<Cancelled>, QueueError> {
        let request = |shard, runs: &[RunId]| {
            let mut call = self.call(&self.scripts.cancel, shard);
            call.arg(millis(self.limits.offer)).arg(texts(runs));
            Request::Script(call)
        };
        let read_one = |raw: Option<Raw>| match raw.map(read).transpose()? {
            None => Ok(Cancelled::Unknown),
            Some((record, None)) => Ok(Cancelled::InFlight(record)),
            Some((record, Some(cause))) => Ok(Cancelled::Ending(Ending { record, cause })),
        };
        let read = |raw: Vec<Option<Raw>>, _| raw.into_iter().map(read_one).collect();
        self.scatter(runs, |run| run.shard(), request, read).await
    }

    pub(super) async fn withdraw_all(&self, runs: Vec<RunId>) -> Result<Vec<bool>, QueueError> {
        let request = |shard, runs: &[RunId]| self.with_ids(&self.scripts.withdraw, shard, runs);
        self.scatter(runs, |run| run.shard(), request, |answers, _| Ok(answers)).await
    }

    pub(super) async fn follow_all(&self, what: &str, runs: Vec<RunId>) -> Result<(), QueueError> {
        let request = |shard, runs: &[RunId]| {
            let mut call = self.call(&self.scripts.follow, shard);
            call.arg(what).arg(texts(runs));
            Request::Script(call)
        };
        self.scatter(runs, |run| run.shard(), request, |(), count| Ok(vec![(); count])).await?;
        Ok(())
    }

    pub(super) async fn tick_all(&self) -> Result<Tick, QueueError> {
        let parts: Vec<(Vec<Raw>, i64, Vec<u64>)> = self
            .each(|shard| {
                let mut call = self.call(&self.scripts.tick, shard);
                call.arg(millis(self.limits.offer)).arg(BATCH).arg(millis(self.limits.late));
                Request::Script(call)
            })
            .await?;
        let mut tick = Tick::default();
        for (offered, next, released) in parts {
            tick.released.extend(released.into_iter().map(Duration::from_millis));
            for raw in offered {
                match read(raw)? {
                    (record, Some(cause)) => tick.endings.push(Ending { record, cause }),
                    (record, None) => tick.missed.push(record),
                }
            }
            if let Ok(next) = u64::try_from(next) {
                let next = Duration::from_millis(next).min(Duration::from_secs(3600));
                tick.next = Some(tick.next.map_or(next, |nearest| nearest.min(next)));
            }
        }
        Ok(tick)
    }

    pub(super) async fn live_selectors(&self) -> Result<Vec<Place>, QueueError> {
        let request = |shard| Request::Script(self.call(&self.scripts.selectors, shard));
        let parts: Vec<Vec<String>> = self.each(request).await?;
        let mut places = Vec::new();
        for text in parts.into_iter().flatten() {
            places.push(parse_place(&text).ok_or_else(|| garbled("place"))?);
        }
        places.sort_unstable();
        places.dedup();
        Ok(places)
    }

    /// How many runs are ready in each place: of each shard, one number per place.
    pub(super) async fn ready_in(&self, places: &[Place]) -> Result<Vec<Vec<u64>>, QueueError> {
        self.each(|shard| {
            let ready = self.keys.named(shard, "ready");
            let mut count = redis::pipe();
            for place in places.iter().map(place_text) {
                count.cmd("ZLEXCOUNT").arg(&ready).arg(format!("[{place}\0")).arg(format!("({place}\u{1}"));
            }
            Request::Commands(count)
        })
        .await
    }

    /// How many runs each worker was given, over all shards.
    pub(super) async fn in_flight_for(&self, workers: Vec<Name>) -> Result<Vec<u64>, QueueError> {
        if workers.is_empty() {
            return Ok(Vec::new());
        }
        let counts: Vec<Vec<u64>> = self
            .each(|shard| {
                let flights = self.keys.named(shard, "flights");
                let mut count = redis::pipe();
                for worker in &workers {
                    count
                        .cmd("ZLEXCOUNT")
                        .arg(&flights)
                        .arg(format!("[{worker}\0"))
                        .arg(format!("({worker}\u{1}"));
                }
                Request::Commands(count)
            })
            .await?;
        Ok((0..workers.len()).map(|index| counts.iter().map(|shard| shard[index]).sum()).collect())
    }

    fn with_ids<'a>(&self, script: &'a Script, shard: u16, runs: &[RunId]) -> Request<'a> {
        let mut call = self.call(script, shard);
        call.arg(texts(runs));
        Request::Script(call)
    }
}

fn texts(runs: &[RunId]) -> Vec<String> {
    runs.iter().map(RunId::to_string).collect()
}
