//! A case: operations, carried out one after the other on a real queue, each answer and all that the queue then knows held against the
//! reference.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use marabunta_server::queue::{
    Census, Claim, Delivery, Entry, Limits, Phase, Record, Restored, Session, Settled, Settlement, Step,
    shard_of,
};
use marabunta_server::run::{Counters, Fence, Key, Place, RunId};
use tokio::time::{Instant, sleep};

use super::call::{Answer, Call};
use super::operation::{Delay, Loss, Operation, What, Why};
use super::reference::{Clock, Moment, Shard, Uncertain};
use crate::bench::{Bench, name, session};

const WORKERS: [&str; 2] = ["web-1", "web-2"];
const PLACES: [&str; 3] = ["web-1", "web-2", "any(role=web)"];
const SERVERS: [&str; 2] = ["server-1", "server-2"];

const SHORT: Duration = Duration::from_millis(12);
const LONG: Duration = Duration::from_secs(600);

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

pub struct Play {
    bench: Bench,
    shards: Vec<Shard>,
    started: Instant,
    /// The latest session of each worker, as its server knows it; none of a server that is dead.
    sessions: [Option<Session>; WORKERS.len()],
    /// What each worker has seen and not reported.
    held: Vec<Held>,
    /// What the store knows of each run that was accepted.
    known: BTreeMap<RunId, Kept>,
    ended: BTreeSet<RunId>,
    /// The highest fence that was ever given.
    fence: u64,
    entered: u32,
}

#[derive(Debug, Clone)]
struct Held {
    worker: usize,
    delivery: Delivery,
}

#[derive(Debug, Clone)]
struct Kept {
    entry: Entry,
    counters: Counters,
    running: Option<(usize, u32, Fence)>,
}

impl Play {
    pub fn new(bench: Bench) -> Self {
        let clock = Clock {
            limits: limits(),
            slack: if bench.is_in_memory() { Duration::ZERO } else { MILLISECONDS },
        };
        let shards = vec![Shard::new(clock); usize::from(bench.queue.shards())];
        let (sessions, held, known, ended) = Default::default();
        Self { bench, shards, started: Instant::now(), sessions, held, known, ended, fence: 0, entered: 0 }
    }

    /// Carries them out and brings all to an end. A case of which the clocks leave it open what should happen ends early.
    pub async fn through(mut self, operations: &[Operation]) {
        for worker in 0..WORKERS.len() {
            if self.connect(worker, false, 0, Loss::Nothing).await.is_err() {
                return;
            }
        }
        for operation in operations {
            if self.step(*operation).await.is_err() {
                return;
            }
        }
        if self.settle_all().await.is_ok() {
            assert_eq!(
                self.bench.queue.census().await.unwrap(),
                Census::default(),
                "after quiet all is empty"
            );
            assert!(self.bench.queue.selectors().await.unwrap().is_empty());
        }
    }

    async fn step(&mut self, operation: Operation) -> Result<(), Uncertain> {
        match operation {
            Operation::Enqueue { what, loss } => self.enqueue(what, loss).await,
            Operation::EnqueueAgain { run, loss } => match pick(&self.known, run) {
                Some((_, kept)) => self.enter(kept.entry.clone(), loss).await,
                None => Ok(()),
            },
            Operation::Claim { worker, shared, max, loss } => {
                let worker = usize::from(worker) % WORKERS.len();
                let place = if shared { PLACES[2] } else { WORKERS[worker] };
                self.claim(worker, place, max.into(), loss).await
            }
            Operation::Accept { held, loss } => self.accept(held, loss).await,
            Operation::Finish { held, result, loss } => {
                let result = result.then(|| Bytes::from_static(b"{}"));
                self.report(held, |_| Step::Remove { result: result.clone() }, loss).await
            }
            Operation::Release { held, delay, why, loss } => {
                self.report(held, |record| again(record.map(|record| record.counters), delay, why), loss)
                    .await
            }
            Operation::Renew { worker, loss } => {
                let Some(session) = self.session(worker) else { return Ok(()) };
                self.call(Call::Renew(session.worker, session.id), loss).await.map(drop)
            }
            Operation::Close { worker, loss } => {
                let Some(session) = self.session(worker) else { return Ok(()) };
                self.sessions[usize::from(worker) % WORKERS.len()] = None;
                self.call(Call::Close(session.worker, session.id), loss).await.map(drop)
            }
            Operation::Connect { worker, empty, server, loss } => {
                self.connect(usize::from(worker) % WORKERS.len(), empty, server, loss).await
            }
            Operation::ServerDies { server } => {
                let server = SERVERS[usize::from(server) % SERVERS.len()];
                for session in &mut self.sessions {
                    session.take_if(|session| session.server == server);
                }
                Ok(())
            }
            Operation::Tick { loss } => self.call(Call::Tick, loss).await.map(drop),
            Operation::Reap { loss } => self.call(Call::Reap, loss).await.map(drop),
            Operation::Cancel { run, loss } => match pick(&self.known, run) {
                Some((run, _)) => self.call(Call::Cancel(*run), loss).await.map(drop),
                None => Ok(()),
            },
            Operation::Withdraw { run, loss } => {
                let Some((run, _)) = pick(&self.known, run).map(|(run, kept)| (*run, kept.clone())) else {
                    return Ok(());
                };
                if self.call(Call::Withdraw(run), loss).await? == Some(Answer::Withdrawn(true)) {
                    self.known.remove(&run);
                    self.ended.insert(run);
                }
                Ok(())
            }
            Operation::Census => self.count().await,
            Operation::Pass { millis } => {
                sleep(Duration::from_millis(millis.into())).await;
                Ok(())
            }
            Operation::Flush => self.flush().await,
        }
    }

    async fn enqueue(&mut self, what: What, loss: Loss) -> Result<(), Uncertain> {
        let overlap =
            what.overlap.map(|(policy, one)| (policy, if one { "one" } else { "other" }.to_owned()));
        let key = what.key.map(|one| Key { text: if one { "k" } else { "l" }.to_owned(), request: [7; 16] });
        let shards = self.bench.queue.shards();
        self.entered += 1;
        // What must know of each other is in one shard; ids grow.
        let shard = match (&overlap, &key) {
            (Some((_, key)), _) => shard_of(key, shards),
            (None, Some(key)) => shard_of(&key.text, shards),
            (None, None) => (self.entered % u32::from(shards)) as u16,
        };
        let run = RunId::new(
            DateTime::UNIX_EPOCH + TimeDelta::days(20_000) + TimeDelta::milliseconds(self.entered.into()),
            shard,
        );
        let place = if overlap.is_some() { what.place % 2 } else { what.place };
        let entry = Entry {
            priority: what.priority,
            delay: span(what.delay),
            expires: what.expires.then_some(Duration::from_millis(30)),
            overlap,
            key,
            ..crate::bench::entry(run, PLACES[usize::from(place) % PLACES.len()])
        };
        self.enter(entry, loss).await
    }

    async fn enter(&mut self, entry: Entry, loss: Loss) -> Result<(), Uncertain> {
        let run = entry.run;
        let kept = Kept { entry: entry.clone(), counters: Counters::default(), running: None };
        self.call(Call::Enqueue(entry), loss).await?;
        // It was taken in, whoever knows.
        if self.record(run).is_some() {
            self.known.entry(run).or_insert(kept);
        }
        Ok(())
    }

    async fn claim(&mut self, worker: usize, place: &str, max: u32, loss: Loss) -> Result<(), Uncertain> {
        // A worker that has nobody to talk to has come back by now.
        if self.sessions[worker].is_none() {
            self.connect(worker, false, 0, Loss::Nothing).await?;
        }
        let Some(session) = self.sessions[worker].clone() else { return Ok(()) };
        let claim =
            Claim { place: Place::parse(place).unwrap(), worker: session.worker, session: session.id, max };
        let deliveries = self.ask(Call::Claim(claim), loss).await?.1;
        self.held.extend(deliveries.into_iter().map(|delivery| Held { worker, delivery }));
        Ok(())
    }

    async fn accept(&mut self, held: u8, loss: Loss) -> Result<(), Uncertain> {
        let Some(Held { worker, delivery }) = choose(&self.held, held).cloned() else { return Ok(()) };
        let answer = self.call(Call::Accept(delivery.run, delivery.fence), loss).await?;
        if let (Some(Answer::Accepted(true)), Some(kept)) = (answer, self.known.get_mut(&delivery.run)) {
            kept.running = Some((worker, delivery.attempt, delivery.fence));
        }
        Ok(())
    }

    /// What a worker holds ends. When nobody heard of it, it is reported again some time.
    async fn report(
        &mut self,
        held: u8,
        step: impl Fn(Option<&Record>) -> Step,
        loss: Loss,
    ) -> Result<(), Uncertain> {
        if self.held.is_empty() {
            return Ok(());
        }
        let at = usize::from(held) % self.held.len();
        let Held { delivery, .. } = self.held[at].clone();
        let step = step(self.record(delivery.run).as_ref());
        let settlement = Settlement { run: delivery.run, fence: Some(delivery.fence), step: step.clone() };
        let answer = self.call(Call::Settle(settlement), loss).await?;
        if answer.is_some() {
            self.held.remove(at);
        }
        if let (Some(Answer::Settled(Settled::Settled)), Step::Again { counters, .. }) = (&answer, step)
            && let Some(kept) = self.known.get_mut(&delivery.run)
        {
            (kept.counters, kept.running) = (counters, None);
        }
        Ok(())
    }

    async fn connect(&mut self, worker: usize, empty: bool, server: u8, loss: Loss) -> Result<(), Uncertain> {
        if empty {
            self.held.retain(|held| held.worker != worker);
        }
        let server = SERVERS[usize::from(server) % SERVERS.len()].to_owned();
        let session = Session { server, ..session(WORKERS[worker]) };
        self.open(worker, session, loss).await
    }

    async fn open(&mut self, worker: usize, session: Session, loss: Loss) -> Result<(), Uncertain> {
        let mine = self.held.iter().filter(|held| held.worker == worker);
        let holding = mine.map(|held| (held.delivery.run, held.delivery.fence)).collect();
        let answer = self.call(Call::Open(session.clone(), holding), loss).await?;
        let Some(Answer::Opened(met)) = answer else {
            // Another server goes on as if nothing had happened.
            self.sessions[worker].take_if(|before| before.server == session.server);
            return Ok(());
        };
        self.sessions[worker] = Some(session);
        let gone: BTreeSet<_> = met.stale.iter().chain(&met.unknown).collect();
        self.held.retain(|held| !gone.contains(&(held.delivery.run, held.delivery.fence)));
        for (run, accepted) in met.missing {
            let Some(record) = self.record(run) else { continue };
            let why = if accepted { Why::Lost } else { Why::Unaccepted };
            let step = again(Some(record.counters), Delay::None, why);
            self.call(Call::Settle(Settlement { run, fence: record.fence, step }), Loss::Nothing).await?;
        }
        Ok(())
    }

    /// Everything is gone; the store fills the queue again, and every session is opened again.
    async fn flush(&mut self) -> Result<(), Uncertain> {
        self.bench.flush(limits()).await;
        let clock = self.shards[0].clock.clone();
        self.shards.fill(Shard::new(clock));
        let queue = self.bench.queue.clone();
        assert!(queue.is_empty_handed().await.unwrap());
        assert!(queue.begin_rebuild(Duration::from_secs(60)).await.unwrap());
        queue.raise_fence(Fence(self.fence + 1)).await.unwrap();
        let mut all: Vec<Restored> = self.known.values().map(restored).collect();
        all.sort_by_key(|one| (one.held.is_none(), one.attempt == 0));
        let before = self.now();
        queue.restore(all.clone()).await.unwrap();
        let now = self.since(before);
        for one in all {
            let home = self.home(one.entry.run);
            self.shards[home].restore(one, now);
        }
        queue.finish_rebuild().await.unwrap();
        assert!(!queue.is_empty_handed().await.unwrap());
        self.compare().await?;
        for worker in 0..WORKERS.len() {
            if let Some(session) = self.sessions[worker].clone() {
                self.open(worker, session, Loss::Nothing).await?;
            }
        }
        Ok(())
    }

    /// Everybody comes back, all that is left is done, and what will not be due soon is cancelled.
    async fn settle_all(&mut self) -> Result<(), Uncertain> {
        for worker in 0..WORKERS.len() {
            self.connect(worker, false, 0, Loss::Nothing).await?;
        }
        for _ in 0..100 {
            let left: Vec<Record> = self
                .shards
                .iter()
                .flat_map(|shard| shard.open_runs().filter_map(|run| shard.record(run)))
                .collect();
            if left.is_empty() {
                return self.count().await;
            }
            for worker in 0..WORKERS.len() {
                self.call(
                    Call::Renew(name(WORKERS[worker]), self.sessions[worker].as_ref().unwrap().id),
                    Loss::Nothing,
                )
                .await?;
                for place in [WORKERS[worker], PLACES[2]] {
                    self.claim(worker, place, 100, Loss::Nothing).await?;
                }
            }
            while !self.held.is_empty() {
                self.report(0, |_| Step::Remove { result: None }, Loss::Nothing).await?;
            }
            self.call(Call::Tick, Loss::Nothing).await?;
            for record in left {
                let run = record.run;
                match self.record(run).map(|record| record.phase) {
                    Some(Phase::Due(_)) => self.call(Call::Cancel(run), Loss::Nothing).await.map(drop)?,
                    Some(Phase::Ending | Phase::Missed) => {
                        let step = Step::Remove { result: None };
                        self.call(Call::Settle(Settlement { run, fence: None, step }), Loss::Nothing).await?;
                    }
                    _ => {}
                }
            }
        }
        panic!("it does not come to an end");
    }

    /// Makes a call and returns its answer, if its caller hears it.
    async fn call(&mut self, call: Call, loss: Loss) -> Result<Option<Answer>, Uncertain> {
        self.ask(call, loss).await.map(|(answer, _)| answer)
    }

    /// Makes a call, holds the answer and all that the queue knows then against the reference, and returns what the caller hears.
    async fn ask(&mut self, call: Call, loss: Loss) -> Result<(Option<Answer>, Vec<Delivery>), Uncertain> {
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
        let ids: Vec<RunId> = self.known.keys().chain(&self.ended).copied().chain(call.run()).collect();
        let records = self.look(ids).await;
        let now = self.since(before);
        let expected = call.foretell(&mut self.shards, now)?;
        if let Some(untouched) = untouched
            && !self.agrees(&records)
        {
            // It was not carried out.
            self.shards = untouched;
            self.assert_agrees(&records, &call);
            return Ok((None, Vec::new()));
        }
        if let Answer::Claimed(given, _) = &expected {
            self.give(given, &records);
        }
        if let Some((answer, _)) = &heard {
            assert_eq!(*answer, expected, "the answer to {call:?}");
        }
        self.assert_agrees(&records, &call);
        if let (
            Call::Settle(Settlement { run, step: Step::Remove { .. }, .. }),
            Answer::Settled(Settled::Settled),
        ) = (&call, &expected)
        {
            assert!(self.ended.insert(*run), "a run ends once: {run}");
            self.known.remove(run);
        }
        match heard {
            Some((answer, deliveries)) if loss == Loss::Nothing => Ok((Some(answer), deliveries)),
            _ => Ok((None, Vec::new())),
        }
    }

    /// Takes over the fences that were given, each higher than any before.
    fn give(&mut self, given: &[(RunId, u32)], records: &BTreeMap<RunId, Option<Record>>) {
        for (run, _) in given {
            let home = self.home(*run);
            if let Some(fence) = records[run].as_ref().and_then(|record| record.fence) {
                self.shards[home].given(*run, fence);
                self.fence = self.fence.max(fence.0);
            }
        }
    }

    async fn count(&mut self) -> Result<(), Uncertain> {
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
        for place in PLACES.map(|place| Place::parse(place).unwrap()) {
            let ready: usize = self.shards.iter().map(|shard| shard.ready(&place).len()).sum();
            assert_eq!(queue.depth(place).await.unwrap(), ready as u64);
        }
        let workers = WORKERS.map(name).to_vec();
        let holding: Vec<u64> = workers
            .iter()
            .map(|worker| self.shards.iter().map(|shard| shard.holding(worker)).sum())
            .collect();
        assert_eq!(queue.holding(workers.clone()).await.unwrap(), holding);
        let live: Vec<_> = workers.iter().map(|worker| self.shards[0].live(worker).cloned()).collect();
        assert_eq!(queue.sessions(workers).await.unwrap(), live);
        Ok(())
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

    async fn compare(&mut self) -> Result<(), Uncertain> {
        let ids = self.known.keys().chain(&self.ended).copied().collect();
        let records = self.look(ids).await;
        assert!(self.agrees(&records), "after the queue was filled again: {}", self.difference(&records));
        Ok(())
    }

    async fn look(&self, ids: Vec<RunId>) -> BTreeMap<RunId, Option<Record>> {
        let records = self.bench.queue.look(ids.clone()).await.unwrap();
        ids.into_iter().zip(records.into_iter().map(|record| record.map(timeless))).collect()
    }

    fn agrees(&self, records: &BTreeMap<RunId, Option<Record>>) -> bool {
        self.difference(records).is_empty()
    }

    fn assert_agrees(&self, records: &BTreeMap<RunId, Option<Record>>, call: &Call) {
        assert!(self.agrees(records), "after {call:?}: {}", self.difference(records));
    }

    /// Runs of which the queue and the reference do not say the same.
    fn difference(&self, records: &BTreeMap<RunId, Option<Record>>) -> String {
        let differ = records.iter().filter(|(run, found)| {
            let expected = self.record(**run);
            // A fence that was just given is not foretold.
            let new = |record: &Record| Record { fence: None, ..record.clone() };
            found.as_ref().map(new) != expected.as_ref().map(new)
                || found.as_ref().map(|one| one.fence) < expected.as_ref().map(|one| one.fence)
        });
        let lines =
            differ.map(|(run, found)| format!("\n{run} is {found:?}\nshould be {:?}", self.record(*run)));
        lines.collect()
    }

    fn record(&self, run: RunId) -> Option<Record> {
        self.shards[self.home(run)].record(run)
    }

    fn home(&self, run: RunId) -> usize {
        usize::from(run.shard()) % self.shards.len()
    }

    fn session(&self, worker: u8) -> Option<Session> {
        self.sessions[usize::from(worker) % WORKERS.len()].clone()
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

    fn run(&self) -> Option<RunId> {
        if let Self::Enqueue(entry) = self { Some(entry.run) } else { None }
    }
}

fn restored(kept: &Kept) -> Restored {
    let (held, attempt, fence) = match kept.running {
        Some((worker, attempt, fence)) => (Some(name(WORKERS[worker])), attempt, Some(fence)),
        None => (None, 0, None),
    };
    Restored {
        entry: kept.entry.clone(),
        counters: kept.counters,
        attempt,
        fence,
        held,
        unsure: false,
        missed: false,
    }
}

fn again(before: Option<Counters>, delay: Delay, why: Why) -> Step {
    let mut counters = before.unwrap_or_default();
    match why {
        Why::Failed => counters.failed += 1,
        Why::Lost => counters.lost += 1,
        Why::Unaccepted => counters.unaccepted += 1,
        Why::Repeated => {}
    }
    Step::Again { delay: span(delay), counters }
}

fn span(delay: Delay) -> Duration {
    match delay {
        Delay::None => Duration::ZERO,
        Delay::Short => SHORT,
        Delay::Long => LONG,
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

fn pick<K, V>(map: &BTreeMap<K, V>, at: u8) -> Option<(&K, &V)> {
    map.iter().nth(usize::from(at).checked_rem(map.len())?)
}

fn choose<T>(list: &[T], at: u8) -> Option<&T> {
    list.get(usize::from(at).checked_rem(list.len())?)
}
