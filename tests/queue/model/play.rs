//! A case: workers, their servers and a store, who make the calls that operations ask for and know what they heard of them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, TimeDelta};
use marabunta_server::queue::{
    Claim, Delivery, Entry, Phase, Record, Restored, Session, Settled, Settlement, Step, shard_of,
};
use marabunta_server::run::{Counters, Fence, Key, Place, RunId};
use tokio::time::sleep;

use super::call::{Answer, Call};
use super::judge::Judge;
use super::operation::{Delay, Loss, Operation, What, Why};
use super::reference::Uncertain;
use crate::bench::{Bench, name, session};

const WORKERS: [&str; 2] = ["web-1", "web-2"];
const PLACES: [&str; 3] = ["web-1", "web-2", "any(role=web)"];
const SERVERS: [&str; 2] = ["server-1", "server-2"];

const SHORT: Duration = Duration::from_millis(12);
const LONG: Duration = Duration::from_secs(600);

pub struct Play {
    judge: Judge,
    /// The latest session of each worker, as its server knows it; none of a server that is dead.
    sessions: [Option<Session>; WORKERS.len()],
    /// What each worker has seen and not reported.
    held: Vec<Held>,
    /// What the store knows of each run that was accepted.
    known: BTreeMap<RunId, Kept>,
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
        let (sessions, held, known) = Default::default();
        Self { judge: Judge::new(bench), sessions, held, known, entered: 0 }
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
        // It ends when nothing is open, and then nothing is counted.
        if self.settle_all().await.is_ok() {
            assert!(self.judge.open_runs().is_empty());
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
                self.report(held, |_, _| Step::Remove { result: result.clone() }, loss).await
            }
            Operation::Release { held, delay, why, loss } => {
                self.report(held, |record, attempt| again(record, attempt, delay, why), loss).await
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
                }
                Ok(())
            }
            Operation::Census => {
                self.judge.count(&WORKERS, &PLACES).await;
                Ok(())
            }
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
        let shards = self.judge.shards();
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
        if self.judge.record(run).is_some() {
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
        step: impl Fn(Option<&Record>, u32) -> Step,
        loss: Loss,
    ) -> Result<(), Uncertain> {
        if self.held.is_empty() {
            return Ok(());
        }
        let at = usize::from(held) % self.held.len();
        let Held { delivery, .. } = self.held[at].clone();
        let step = step(self.judge.record(delivery.run).as_ref(), delivery.attempt);
        let settlement = Settlement { run: delivery.run, fence: Some(delivery.fence), step: step.clone() };
        let answer = self.call(Call::Settle(settlement), loss).await?;
        if answer.is_some() {
            self.held.remove(at);
        }
        if let (Some(Answer::Settled(Settled::Settled | Settled::Already)), Step::Again { counters, .. }) =
            (&answer, step)
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
        for (run, begun) in met.missing {
            let Some(record) = self.judge.record(run) else { continue };
            let why = if begun { Why::Lost } else { Why::Unaccepted };
            let step = again(Some(&record), record.attempt, Delay::None, why);
            self.call(Call::Settle(Settlement { run, fence: record.fence, step }), Loss::Nothing).await?;
        }
        Ok(())
    }

    /// Everything is gone; the store fills the queue again, and every session is opened again.
    async fn flush(&mut self) -> Result<(), Uncertain> {
        let mut restored: Vec<Restored> = self.known.values().map(restored).collect();
        restored.sort_by_key(|one| (one.held.is_none(), one.attempt == 0));
        self.judge.flush(restored).await;
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
            let left = self.judge.open_runs();
            if left.is_empty() {
                self.judge.count(&WORKERS, &PLACES).await;
                return Ok(());
            }
            for (worker, own) in WORKERS.into_iter().enumerate() {
                let session = self.sessions[worker].as_ref().unwrap().id;
                self.call(Call::Renew(name(own), session), Loss::Nothing).await?;
                for place in [own, PLACES[2]] {
                    self.claim(worker, place, 100, Loss::Nothing).await?;
                }
            }
            while !self.held.is_empty() {
                self.report(0, |_, _| Step::Remove { result: None }, Loss::Nothing).await?;
            }
            self.call(Call::Tick, Loss::Nothing).await?;
            for run in left {
                match self.judge.record(run).map(|record| record.phase) {
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

    async fn ask(&mut self, call: Call, loss: Loss) -> Result<(Option<Answer>, Vec<Delivery>), Uncertain> {
        let heard = self.judge.ask(call, loss).await?;
        self.known.retain(|run, _| !self.judge.has_ended(*run));
        Ok(heard)
    }

    fn session(&self, worker: u8) -> Option<Session> {
        self.sessions[usize::from(worker) % WORKERS.len()].clone()
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
        missed: false,
        unsure: false,
    }
}

fn again(before: Option<&Record>, attempt: u32, delay: Delay, why: Why) -> Step {
    let mut counters = before.map_or_else(Counters::default, |record| record.counters);
    match why {
        Why::Failed => counters.failed += 1,
        Why::Lost => counters.lost += 1,
        Why::Unaccepted => counters.unaccepted += 1,
        Why::Repeated => {}
    }
    Step::Again { delay: span(delay), counters, attempt }
}

fn span(delay: Delay) -> Duration {
    match delay {
        Delay::None => Duration::ZERO,
        Delay::Short => SHORT,
        Delay::Long => LONG,
    }
}

fn pick<K, V>(map: &BTreeMap<K, V>, at: u8) -> Option<(&K, &V)> {
    map.iter().nth(usize::from(at).checked_rem(map.len())?)
}

fn choose<T>(list: &[T], at: u8) -> Option<&T> {
    list.get(usize::from(at).checked_rem(list.len())?)
}
