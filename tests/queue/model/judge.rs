//! Calls of a real queue, each held against the reference: its answer, and all that the queue knows then.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use marabunta_server::queue::{Census, Delivery, Limits, Phase, Record, Restored, Settled, Settlement, Step};
use marabunta_server::run::{Fence, Place, RunId};
use tokio::time::{Instant, sleep};

use super::call::{Answer, Call};
use super::operation::Loss;
use super::reference::{Clock, Moment, Shard, Uncertain};
use crate::bench::{Bench, name};

/// Short spans, told apart by more than a busy machine blurs them.
pub fn limits() -> Limits {
    Limits {
        life: Duration::from_millis(120),
        grace: Duration::from_millis(25),
        pause: Duration::from_secs(3600),
        late: Duration::from_millis(80),
        offer: Duration::from_millis(24),
        waiting: 5,
        ..Limits::default()
    }
}

/// By how much a clock of whole milliseconds is off, and for how long a call lasts usually.
const MILLISECONDS: Duration = Duration::from_millis(2);
const CALL: Duration = Duration::from_millis(4);

pub struct Judge {
    bench: Bench,
    shards: Vec<Shard>,
    started: Instant,
    /// Every run that was ever entered, and those that have ended.
    seen: BTreeSet<RunId>,
    ended: BTreeSet<RunId>,
    /// The highest fence that was ever given.
    fence: u64,
}

impl Judge {
    pub fn new(bench: Bench) -> Self {
        let slack = if bench.is_in_memory() { Duration::ZERO } else { MILLISECONDS };
        let shards = vec![Shard::new(Clock { limits: limits(), slack }); usize::from(bench.queue.shards())];
        let (seen, ended) = Default::default();
        Self { bench, shards, started: Instant::now(), seen, ended, fence: 0 }
    }

    pub fn shards(&self) -> u16 {
        self.bench.queue.shards()
    }

    pub fn has_ended(&self, run: RunId) -> bool {
        self.ended.contains(&run)
    }

    /// What is known of a run.
    pub fn record(&self, run: RunId) -> Option<Record> {
        self.shards[self.home(run)].record(run)
    }

    /// All that is open.
    pub fn open_runs(&self) -> Vec<RunId> {
        self.shards.iter().flat_map(Shard::open_runs).collect()
    }

    /// Makes a call, holds the answer and all that the queue knows then against the reference, and returns what the caller hears.
    pub async fn ask(
        &mut self,
        call: Call,
        loss: Loss,
    ) -> Result<(Option<Answer>, Vec<Delivery>), Uncertain> {
        if loss == Loss::Request {
            return Ok((None, Vec::new()));
        }
        self.let_edges_pass().await;
        let before = self.now();
        let queue = self.bench.queue.clone();
        let asked = call.clone().ask(&*queue);
        let leaves = loss == Loss::Caller && call.shows();
        let heard = tokio::select! {
            biased;
            heard = asked => Some(heard),
            () = std::future::ready(()), if leaves => None,
        };
        let untouched = heard.is_none().then(|| self.shards.clone());
        self.seen.extend(call.enters());
        let records = self.look().await;
        let now = self.since(before);
        let expected = call.foretell(&mut self.shards, now)?;
        // Of a call whose caller has gone, each shard carried out its part or did not.
        for (index, before) in untouched.into_iter().flatten().enumerate() {
            if !self.agrees_but_for_fences(index, &records) {
                self.shards[index] = before;
            }
        }
        if let Answer::Claimed(given, _) = &expected {
            self.give(given, &records);
        }
        if let Some((answer, _)) = &heard {
            assert_eq!(*answer, expected, "the answer to {call:?}");
        }
        self.assert_agrees(&records, &format!("{call:?}"));
        if let (
            Call::Settle(Settlement { run, step: Step::Remove { .. }, .. }),
            Answer::Settled(Settled::Settled),
        ) = (&call, &expected)
            && self.record(*run).is_none()
        {
            assert!(self.ended.insert(*run), "a run ends once: {run}");
        }
        match heard {
            Some((answer, deliveries)) if loss == Loss::Nothing => Ok((Some(answer), deliveries)),
            _ => Ok((None, Vec::new())),
        }
    }

    /// Takes over the fences that were given, each higher than any before.
    fn give(&mut self, given: &[(RunId, u32)], records: &BTreeMap<RunId, Option<Record>>) {
        for (run, attempt) in given {
            let home = self.home(*run);
            if self.record(*run).is_none_or(|record| record.attempt != *attempt) {
                continue;
            }
            if let Some(fence) = records[run].as_ref().and_then(|record| record.fence) {
                self.shards[home].given(*run, fence);
                self.fence = self.fence.max(fence.0);
            }
        }
    }

    /// Everything is gone; the store fills the queue again.
    pub async fn flush(&mut self, restored: Vec<Restored>) {
        self.bench.flush(limits()).await;
        let clock = self.shards[0].clock.clone();
        self.shards.fill(Shard::new(clock));
        let queue = self.bench.queue.clone();
        assert!(queue.is_empty_handed().await.unwrap());
        assert!(queue.begin_rebuild(Duration::from_secs(60)).await.unwrap());
        queue.raise_fence(Fence(self.fence + 1)).await.unwrap();
        let before = self.now();
        queue.restore(restored.clone()).await.unwrap();
        let now = self.since(before);
        for one in restored {
            let home = self.home(one.entry.run);
            self.shards[home].restore(one, now);
        }
        queue.finish_rebuild().await.unwrap();
        assert!(!queue.is_empty_handed().await.unwrap());
        self.assert_agrees(&self.look().await, "the queue was filled again");
    }

    /// Compares all that is counted, of these workers and places.
    pub async fn count(&self, workers: &[&str], places: &[&str]) {
        let queue = self.bench.queue.clone();
        let mut sum = Census::default();
        for part in self.shards.iter().map(Shard::census) {
            sum.delayed += part.delayed;
            sum.behind += part.behind;
            sum.ready += part.ready;
            sum.in_flight += part.in_flight;
            sum.ending += part.ending;
            sum.oldest = [sum.oldest, part.oldest].into_iter().flatten().min();
        }
        assert_eq!(queue.census().await.unwrap(), sum);
        let selectors: BTreeSet<Place> = self.shards.iter().flat_map(Shard::selectors).collect();
        assert_eq!(queue.selectors().await.unwrap().into_iter().collect::<BTreeSet<_>>(), selectors);
        for place in places.iter().map(|place| Place::parse(place).unwrap()) {
            let ready: usize = self.shards.iter().map(|shard| shard.ready(&place).len()).sum();
            assert_eq!(queue.depth(place).await.unwrap(), ready as u64);
        }
        let workers: Vec<_> = workers.iter().map(|worker| name(worker)).collect();
        let holding: Vec<u64> = workers
            .iter()
            .map(|worker| self.shards.iter().map(|shard| shard.holding(worker)).sum())
            .collect();
        assert_eq!(queue.holding(workers.clone()).await.unwrap(), holding);
        let live: Vec<_> = workers.iter().map(|worker| self.shards[0].live(worker).cloned()).collect();
        assert_eq!(queue.sessions(workers).await.unwrap(), live);
    }

    /// Waits until nothing is about to happen, so that it can be told whether it has.
    async fn let_edges_pass(&self) {
        let slack = self.shards[0].clock.slack;
        if slack.is_zero() {
            return;
        }
        loop {
            let now = self.now();
            let near = self.shards.iter().flat_map(Shard::edges);
            let near = near.filter(|edge| edge.most + slack > now && edge.least < now + CALL + slack);
            let Some(clear) = near.map(|edge| edge.most + slack).max() else { return };
            sleep(clear - now + Duration::from_micros(100)).await;
        }
    }

    async fn look(&self) -> BTreeMap<RunId, Option<Record>> {
        let ids: Vec<RunId> = self.seen.iter().copied().collect();
        let records = self.bench.queue.look(ids.clone()).await.unwrap();
        ids.into_iter().zip(records.into_iter().map(|record| record.map(timeless))).collect()
    }

    /// A fence that was just given is not foretold.
    fn agrees_but_for_fences(&self, shard: usize, records: &BTreeMap<RunId, Option<Record>>) -> bool {
        let fenceless = |record: Record| Record { fence: None, ..record };
        records
            .iter()
            .filter(|(run, _)| self.home(**run) == shard)
            .all(|(run, found)| found.clone().map(fenceless) == self.record(*run).map(fenceless))
    }

    fn assert_agrees(&self, records: &BTreeMap<RunId, Option<Record>>, after: &str) {
        let differ = records.iter().filter(|(run, found)| **found != self.record(**run));
        let lines: String = differ
            .map(|(run, found)| format!("\n{run} is {found:?}\nshould be {:?}", self.record(*run)))
            .collect();
        assert!(lines.is_empty(), "after {after}: {lines}");
    }

    fn home(&self, run: RunId) -> usize {
        usize::from(run.shard()) % self.shards.len()
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn since(&self, before: Duration) -> Moment {
        Moment { least: before, most: self.now() }
    }
}

impl Call {
    /// Whether what it does can be seen in the runs, and so whether it was carried out.
    fn shows(&self) -> bool {
        !matches!(self, Self::Open(..) | Self::Renew(..) | Self::Close(..) | Self::Tick | Self::Reap)
    }

    /// The run that it enters.
    fn enters(&self) -> Option<RunId> {
        if let Self::Enqueue(entry) = self { Some(entry.run) } else { None }
    }
}

/// Until when it waits is told apart by what happens then.
fn timeless(record: Record) -> Record {
    let phase = match record.phase {
        Phase::Due(_) => Phase::Due(Duration::ZERO),
        other => other,
    };
    Record { phase, ..record }
}
