//! Any sequence of calls, with requests and responses that get lost: nothing is lost, nothing is twice, fences grow.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use marabunta_server::queue::{Delivery, Phase, Session, Settled, Step, Tick};
use marabunta_server::run::{Counters, Fence, RunId};

use crate::bench::{Bench, session};
use crate::contract;

const STEPS: usize = 400;
const WORKERS: [&str; 3] = ["web-1", "web-2", "web-3"];
const PLACES: [&str; 4] = ["web-1", "web-2", "web-3", "any(role=web)"];

contract! {
    async fn whatever_gets_lost_each_run_ends_once_and_fences_grow(bench) {
        let seed = std::env::var("MARABUNTA_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
        let now = || marabunta_server::clock::wall().timestamp_micros().cast_unsigned();
        let seed = seed.unwrap_or_else(now);
        println!("MARABUNTA_TEST_SEED={seed} repeats this");
        let mut model = Model::new(bench, seed).await;
        for _ in 0..STEPS {
            model.step().await;
        }
        model.drain().await;
    }
}

struct Model {
    bench: Bench,
    random: u64,
    sessions: Vec<Session>,
    /// What the workers have seen and not reported, with the fence they were given.
    held: Vec<(usize, Delivery)>,
    /// Taken in, for all we know, and not ended.
    open: HashSet<RunId>,
    ended: HashSet<RunId>,
    fences: HashMap<RunId, Fence>,
}

impl Model {
    async fn new(bench: Bench, seed: u64) -> Self {
        let mut sessions = vec![];
        for worker in WORKERS {
            sessions.push(bench.connect(worker).await);
        }
        let (held, open, ended, fences) = Default::default();
        Self { bench, random: seed | 1, sessions, held, open, ended, fences }
    }

    async fn step(&mut self) {
        // Whatever is asked, the answer may be lost; a request that is lost is a step that does nothing.
        let lost = self.below(4) == 0;
        match self.below(10) {
            0..3 => self.enqueue().await,
            3..6 => self.claim(lost).await,
            6 if !self.held.is_empty() => {
                let (_, delivery) = self.pick_held();
                self.bench.accept(&delivery).await;
            }
            7 if !self.held.is_empty() => self.finish(lost).await,
            8 if !self.held.is_empty() => {
                let (_, delivery) = self.pick_held();
                let delay = Duration::from_millis(self.below(5) as u64);
                self.bench.again(&delivery, delay).await;
            }
            9 => self.reconnect().await,
            _ => _ = self.bench.tick().await,
        }
    }

    async fn enqueue(&mut self) {
        let place = PLACES[self.below(PLACES.len())];
        let mut entry = self.bench.entry(place);
        entry.delay = Duration::from_millis(self.below(3) as u64);
        self.open.insert(entry.run);
        // A submitter that heard nothing asks again.
        for _ in 0..=self.below(2) {
            self.bench.queue.enqueue(vec![entry.clone()]).await.unwrap();
        }
    }

    async fn claim(&mut self, lost: bool) {
        let worker = self.below(WORKERS.len());
        let place = if self.below(2) == 0 { WORKERS[worker] } else { PLACES[3] };
        let max = 1 + self.below(4) as u32;
        for delivery in self.bench.claim(&self.sessions[worker], place, max).await.deliveries {
            let before = self.fences.insert(delivery.run, delivery.fence);
            assert!(
                before.is_none_or(|before| before < delivery.fence),
                "fences grow: {before:?} {delivery:?}"
            );
            assert!(!self.ended.contains(&delivery.run), "what has ended is given out: {delivery:?}");
            if !lost {
                self.held.push((worker, delivery));
            }
        }
    }

    async fn finish(&mut self, lost: bool) {
        let at = self.below(self.held.len());
        let (_, delivery) = self.held[at].clone();
        let latest = self.fences[&delivery.run] == delivery.fence;
        let settled = self.bench.finish(&delivery).await;
        match settled {
            Settled::Settled => {
                assert!(latest, "only the latest attempt counts: {delivery:?}");
                assert!(self.ended.insert(delivery.run), "it ends once: {delivery:?}");
                self.open.remove(&delivery.run);
            }
            Settled::Already => panic!("nothing goes back by its end: {delivery:?}"),
            Settled::Stale => assert!(!latest, "the latest attempt counts: {delivery:?}"),
            Settled::Unknown => assert!(self.ended.contains(&delivery.run), "it is lost: {delivery:?}"),
        }
        // A worker that heard nothing reports again.
        if !lost {
            self.held.remove(at);
        }
    }

    /// The worker comes back with what it holds; what it never saw is settled as never accepted.
    async fn reconnect(&mut self) {
        let worker = self.below(WORKERS.len());
        self.sessions[worker] = session(WORKERS[worker]);
        let holding: Vec<_> = self.held.iter().filter(|(by, _)| *by == worker).collect();
        let holding = holding.into_iter().map(|(_, delivery)| (delivery.run, delivery.fence)).collect();
        let opened = self.bench.open(&self.sessions[worker], holding).await;
        let gone: HashSet<_> = opened.stale.iter().chain(&opened.unknown).copied().collect();
        assert!(opened.unknown.iter().all(|(run, _)| self.ended.contains(run)), "nothing is forgotten");
        self.held.retain(|(_, delivery)| !gone.contains(&(delivery.run, delivery.fence)));
        for missing in opened.missing {
            let step = Step::Again { delay: Duration::ZERO, counters: Counters::default() };
            self.bench.settle(missing.record.run, missing.record.fence, step).await;
        }
    }

    /// Everybody comes back, all that is left is done, and nothing remains.
    async fn drain(&mut self) {
        let open: Vec<_> = self.open.iter().copied().collect();
        for record in self.bench.queue.look(open).await.unwrap() {
            assert_ne!(record.expect("each open run is somewhere").phase, Phase::Ending);
        }
        for _ in 0..1000 {
            if self.open.is_empty() {
                break;
            }
            self.reconnect().await;
            self.claim(false).await;
            while !self.held.is_empty() {
                self.finish(false).await;
            }
            self.bench.tick().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(self.open.is_empty(), "{} runs never came", self.open.len());
        assert_eq!(self.bench.tick().await, Tick::default(), "after quiet all is empty");
    }

    fn pick_held(&mut self) -> (usize, Delivery) {
        let at = self.below(self.held.len());
        self.held[at].clone()
    }

    /// A random number below this one (xorshift64*).
    fn below(&mut self, bound: usize) -> usize {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}
