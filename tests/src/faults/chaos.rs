//! Load and a nemesis, for as long as wanted.

use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::arena::Arena;
use super::checker::Verdict;
use super::deed::Deed;
use super::evidence::Evidence;
use super::nemesis::{self, Parts, Strike};
use super::workload::Shape;
use crate::support::Backend;

/// How long an installation is left alone before it is broken, and after.
const PEACE: Duration = Duration::from_secs(3);

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Chaos {
    pub backend: Backend,
    pub seed: u64,
    pub span: Duration,
    pub servers: usize,
    pub workers: usize,
    /// Runs asked for in a second.
    pub rate: f64,
    /// Faults in a minute, on average.
    pub faults: f64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub evidence: Evidence,
    pub verdict: Verdict,
    pub strikes: usize,
    /// How long runs were asked for.
    pub loaded: Duration,
}

impl Outcome {
    /// Runs executed in a second, while they were asked for.
    pub fn rate(&self) -> f64 {
        self.verdict.executions as f64 / self.loaded.as_secs_f64()
    }
}

impl Chaos {
    /// Does it. `tell` hears of each strike when it begins.
    pub async fn run(self, tell: impl Fn(&Strike)) -> Outcome {
        let mut arena = Arena::on(self.backend).servers(self.servers).witnesses(self.workers).start().await;
        let shapes = self.mix(&arena);
        let runs: usize =
            shapes.iter().map(|shape| if is_all(shape) { shape.workers.len() } else { 1 }).sum();
        let operations = self.rate * shapes.len() as f64 / runs as f64;
        for name in ["tick-1", "tick-2"] {
            let tick = arena.shape(&arena.names[0].clone(), true, &Deed::default());
            arena.each_second(name, tick).await;
        }
        let plan = nemesis::plan(self.seed, self.span, self.faults, &Parts::of(&arena, self.backend));
        let began = Instant::now();
        let load = arena.load(shapes, operations);
        sleep(PEACE).await;
        nemesis::strike(&arena, &plan, tell).await;
        sleep(self.span.saturating_sub(began.elapsed()) + PEACE).await;
        let loaded = began.elapsed();
        arena.stop(load).await;
        let (evidence, verdict) = arena.conclude().await;
        Outcome { evidence, verdict, strikes: plan.len(), loaded }
    }

    /// Mostly short runs, some that take a second, a few that fail at first.
    fn mix(&self, arena: &Arena) -> Vec<Shape> {
        let mut shapes = arena.mix(&Deed::taking(Duration::from_millis(10)));
        for (turn, shape) in shapes.iter_mut().enumerate().filter(|(_, shape)| !is_all(shape)) {
            match turn % 10 {
                3 => shape.deed.sleep = 1_000,
                6 => (shape.deed.fail, shape.retries) = (1, 3),
                9 => shape.deed.output = 2_000,
                _ => {}
            }
        }
        shapes
    }
}

fn is_all(shape: &Shape) -> bool {
    shape.target.starts_with("all")
}
