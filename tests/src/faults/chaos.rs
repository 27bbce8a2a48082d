//! Load and a nemesis, for as long as wanted, and a judgement of what came of it.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, io};

use tokio::time::sleep;

use super::arena::{ALL, Arena};
use super::checker::{Invariant, Verdict};
use super::deed::Deed;
use super::evidence::Evidence;
use super::finding::Finding;
use super::links::Links;
use super::memory;
use super::moment::Moment;
use super::nemesis::{self, Parts, Strike};
use super::network::Namespace;
use super::outage;
use super::story;
use super::strike::Ground;
use super::workload::Shape;
use crate::support::{Backend, Link};

/// How long an installation is left alone before it is broken.
const PEACE: Duration = Duration::from_secs(3);
/// How long it is loaded after the last fault was healed: longer than a new run may take then.
const AFTERWARDS: Duration = Duration::from_secs(7);
/// How long a new run may take after the last fault was healed, in seconds.
const RECOVERY: u64 = 5;
/// Runs executed in a second at the least, while Redis, the database and a server are there.
const RATE: f64 = 500.0;
/// The same of a load that is lower, as a share of what is asked for.
const KEPT: f64 = 5.0 / 6.0;
/// Likewise of faults in a minute.
const FAULTS: f64 = 10.0;
/// What a server may have of memory, in bytes: what waits while the database is away is bounded.
const MEMORY: u64 = 512 << 20;
/// How many workers have ways to the servers that can be broken.
const LINKED: usize = 6;

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Chaos {
    pub backend: Backend,
    pub seed: u64,
    pub span: Duration,
    pub servers: usize,
    pub workers: usize,
    /// How many of them have a cable of their own, which needs root.
    pub cables: usize,
    /// Runs asked for in a second.
    pub rate: f64,
    /// Faults in a minute, on average.
    pub faults: f64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub chaos: Chaos,
    pub evidence: Evidence,
    pub verdict: Verdict,
    pub strikes: usize,
    /// From when on and until when runs were asked for.
    pub loaded: (Moment, Moment),
    /// When the last fault was healed.
    pub healed: Moment,
    /// The most memory that a server had, in bytes.
    pub memory: u64,
}

impl Chaos {
    /// Does it. `tell` hears of each strike when it begins.
    pub async fn run(self, tell: impl Fn(&Strike)) -> Outcome {
        let cables: Vec<Namespace> = (0..self.cables).map(|_| Namespace::new()).collect();
        let links = Links::default();
        let mut arena = self.arena(&cables, &links).await;
        let shapes = self.mix(&arena);
        let runs: usize =
            shapes.iter().map(|shape| if is_all(shape) { shape.workers.len() } else { 1 }).sum();
        let operations = self.rate * shapes.len() as f64 / runs as f64;
        for (name, target) in [("tick-1", arena.names[0].clone()), ("tick-2", format!("any({ALL})"))] {
            let tick = arena.shape(&target, true, &Deed::default());
            arena.each_second(name, tick).await;
        }
        let plan = nemesis::plan(self.seed, self.span, self.faults, &self.parts(&arena));
        let (began, from) = (Instant::now(), Moment::now());
        let load = arena.load(shapes, operations);
        sleep(PEACE).await;
        let mut memory = 0;
        let ground = Ground { arena: &arena, links: &links, cables: &cables };
        let breaking = async {
            ground.strike(&plan, tell).await;
            sleep(self.span.saturating_sub(began.elapsed())).await;
            let healed = arena.history.faults().iter().map(|fault| fault.healed).max();
            sleep(AFTERWARDS).await;
            healed.unwrap_or(from)
        };
        let healed = tokio::select! {
            healed = breaking => healed,
            never = memory::watch(&arena, &mut memory) => match never {},
        };
        let to = Moment::now();
        arena.stop(load).await;
        let (evidence, verdict) = arena.conclude().await;
        Outcome { chaos: self, evidence, verdict, strikes: plan.len(), loaded: (from, to), healed, memory }
    }

    async fn arena(&self, cables: &[Namespace], links: &Links) -> Arena {
        let linked = self.linked();
        let detour = links.detour(move |link| match link {
            Link::ToQueue(_) | Link::ToStore(_) => true,
            Link::ToServer(worker, _) => linked.contains(worker),
            Link::FromClients(_) => false,
        });
        let mut plan = Arena::on(self.backend).servers(self.servers).detour(detour);
        // One address of this host is as good as another, for every namespace; at such a one servers are not safe by themselves.
        let Some(first) = cables.first() else { return plan.witnesses(self.workers).start().await };
        plan = plan.listen(first.gateway());
        for number in 0..self.workers {
            plan = plan.witness(|worker| {
                let worker = worker.argument("--insecure");
                cables.get(number).map_or(worker.clone(), |cable| worker.through(cable.launcher()))
            });
        }
        plan.start().await
    }

    /// The workers after those with cables.
    fn linked(&self) -> Vec<String> {
        (1 + self.cables..=self.workers).take(LINKED).map(|number| format!("w-{number}")).collect()
    }

    fn parts(&self, arena: &Arena) -> Parts {
        Parts {
            servers: arena.servers().len(),
            workers: arena.names.clone(),
            cabled: arena.names[..self.cables].to_vec(),
            linked: self.linked(),
            services: self.backend == Backend::MariaDbRedis,
        }
    }

    /// Mostly short runs of both classes, for one worker, any and all. Some take a second, some fail at first or take longer than they may, some
    /// do not wait for long, and some are cancelled, in time or too late.
    fn mix(&self, arena: &Arena) -> Vec<Shape> {
        let mut shapes = arena.mix(&Deed::taking(Duration::from_millis(10)));
        shapes.push(arena.shape(&format!("all({ALL})"), false, &Deed::taking(Duration::from_millis(10))));
        // Not in step with the classes and the targets.
        for (turn, shape) in shapes.iter_mut().enumerate().filter(|(_, shape)| !is_all(shape)) {
            match turn % 11 {
                1 => (shape.deed.sleep, shape.timeout, shape.retries) = (1_500, Some(millis(300)), 1),
                3 => shape.deed.sleep = 1_000,
                4 => shape.expires = Some(millis(3_000)),
                6 => (shape.deed.fail, shape.retries) = (1, 3),
                7 => (shape.deed.sleep, shape.cancel) = (1_200, Some(millis(300))),
                8 => shape.cancel = Some(millis(10)),
                9 => shape.deed.output = 2_000,
                _ => {}
            }
        }
        shapes
    }
}

impl Outcome {
    /// Runs executed in a second, while they were asked for.
    pub fn rate(&self) -> f64 {
        let (from, to) = self.loaded;
        let meanwhile = self.evidence.testimony.executions.iter();
        let meanwhile = meanwhile.filter(|execution| (from..to).contains(&execution.start)).count();
        meanwhile as f64 / to.since(from).as_secs_f64()
    }

    /// Faults in a minute, while there were some.
    pub fn faults(&self) -> f64 {
        self.strikes as f64 * 60.0 / self.chaos.span.as_secs_f64()
    }

    /// The share of the time in which what all runs need was away.
    pub fn outage(&self) -> f64 {
        let servers = if self.chaos.backend == Backend::Embedded { 1 } else { self.chaos.servers };
        outage::share(&self.evidence.faults, servers, self.loaded.0, self.loaded.1)
    }

    /// Of the first few runs of each invariant that was violated.
    pub fn stories(&self) -> Vec<String> {
        const TOLD: usize = 4;
        let violations: BTreeSet<_> =
            self.verdict.violations.iter().map(|violation| (violation.invariant, violation.run)).collect();
        let runs = |of: &[(Invariant, u128)]| -> Vec<u128> {
            of.iter().map(|(_, run)| *run).filter(|run| *run != 0).take(TOLD).collect()
        };
        let violations: Vec<_> = violations.into_iter().collect();
        let each = violations.chunk_by(|one, other| one.0 == other.0).flat_map(runs);
        each.collect::<BTreeSet<_>>().into_iter().map(|run| story::of(&self.evidence, run)).collect()
    }

    /// Writes down what it takes to find out why.
    pub fn keep(&self, directory: &Path) -> io::Result<()> {
        fs::create_dir_all(directory)?;
        for (number, log) in self.evidence.logs.iter().enumerate() {
            fs::write(directory.join(format!("server-{number}.log")), log)?;
        }
        let violations: Vec<String> = self.verdict.violations.iter().map(ToString::to_string).collect();
        fs::write(directory.join("violations"), violations.join("\n"))?;
        fs::write(directory.join("stories"), self.stories().concat())
    }

    /// All that is demanded.
    pub fn finding(self) -> Finding {
        let (rate, faults, outage) = (self.rate(), self.faults(), self.outage());
        let least = RATE.min(self.chaos.rate * KEPT) * (1.0 - outage);
        let least_faults = FAULTS.min(self.chaos.faults * KEPT);
        let recovery = self.evidence.first_end_after(self.healed);
        let mebibytes = self.memory >> 20;
        Finding::of(self.verdict)
            .recovered("the first new run after the last fault is done", recovery, RECOVERY)
            .demand(rate >= least, format!("{rate:.0} runs a second were executed, and {least:.0} are to be"))
            .demand(
                faults >= least_faults,
                format!("{faults:.1} faults a minute, and {least_faults:.1} are to be"),
            )
            .demand(self.memory < MEMORY, format!("a server had {mebibytes} MiB"))
            .seen(format!("{rate:.0} runs executed a second, of {least:.0} demanded"))
            .seen(format!(
                "{faults:.1} faults a minute, {:.0} % of the time without Redis, the database or any server",
                outage * 100.0
            ))
            .seen(format!("a server had at most {mebibytes} MiB"))
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn is_all(shape: &Shape) -> bool {
    shape.target.starts_with("all")
}
