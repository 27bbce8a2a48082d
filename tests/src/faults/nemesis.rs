//! A seeded choice of faults that overlap. A plan is made before anything is broken, from the seed and the size of the arena alone, so a seed
//! replays.

use std::fmt;
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::{Instant, sleep, sleep_until};

use super::arena::Arena;
use super::history::Touched;
use crate::support::Backend;

/// At most so many faults are there at once.
const AT_ONCE: usize = 3;

/// What is done to a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blow {
    /// SIGKILL, started again at the end.
    Kill,
    /// SIGTERM, started again at the end.
    Terminate,
    /// SIGSTOP, SIGCONT at the end.
    Pause,
    /// FLUSHALL, at an instant.
    Flush,
}

/// One fault of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// Since the plan began.
    pub at: Duration,
    pub lasts: Duration,
    pub blow: Blow,
    pub part: Touched,
}

/// What there is to break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    pub servers: usize,
    pub workers: Vec<String>,
    /// Redis and MariaDB.
    pub services: bool,
}

impl Parts {
    pub fn of(arena: &Arena, backend: Backend) -> Self {
        let services = backend == Backend::MariaDbRedis;
        Self { servers: arena.servers().len(), workers: arena.names.clone(), services }
    }
}

/// So many strikes a minute on average, over this span, from a seed.
pub fn plan(seed: u64, span: Duration, a_minute: f64, parts: &Parts) -> Vec<Strike> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut strikes: Vec<Strike> = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        at += Duration::from_secs_f64(60.0 / a_minute * random.random_range(0.2..1.8));
        if at >= span {
            return strikes;
        }
        let (blow, part) = choose(&mut random, parts);
        let lasts = duration(&mut random, blow, &part);
        // What was struck has its time to be healed, too.
        let margin = Duration::from_secs(2);
        let there = |strike: &&Strike| strike.at + strike.lasts + margin > at;
        let now: Vec<&Strike> = strikes.iter().filter(there).collect();
        if now.len() < AT_ONCE && now.iter().all(|strike| strike.part != part) {
            strikes.push(Strike { at, lasts, blow, part });
        }
    }
}

fn choose(random: &mut StdRng, parts: &Parts) -> (Blow, Touched) {
    let process = [Blow::Kill, Blow::Kill, Blow::Terminate, Blow::Pause];
    let service = [Blow::Kill, Blow::Pause];
    let kinds = if parts.services { 10 } else { 6 };
    match random.random_range(0..kinds) {
        0..3 => {
            let server = random.random_range(0..parts.servers);
            (process[random.random_range(0..process.len())], Touched::Server(server))
        }
        3..6 => {
            let worker = parts.workers[random.random_range(0..parts.workers.len())].clone();
            (process[random.random_range(0..process.len())], Touched::Worker(worker))
        }
        6..8 => (service[random.random_range(0..service.len())], Touched::Store),
        8 => (service[random.random_range(0..service.len())], Touched::Queue),
        _ => (Blow::Flush, Touched::Queue),
    }
}

/// Shorter and longer than the spans after which something is thought to be gone: 5 s, 15 s.
fn duration(random: &mut StdRng, blow: Blow, part: &Touched) -> Duration {
    let longest = match (blow, part) {
        (Blow::Flush, _) => return Duration::ZERO,
        (Blow::Pause, Touched::Worker(_)) => 30.0,
        (Blow::Pause, Touched::Server(_)) => 20.0,
        _ => 8.0,
    };
    Duration::from_secs_f64(random.random_range(0.2..longest))
}

/// Carries out a plan, and heals all of it. `tell` hears of each strike when it begins.
pub async fn strike(arena: &Arena, plan: &[Strike], tell: impl Fn(&Strike)) {
    let began = Instant::now();
    let strikes = plan.iter().map(async |strike| {
        sleep_until(began + strike.at).await;
        tell(strike);
        carry_out(arena, strike).await;
    });
    join_all(strikes).await;
}

async fn carry_out(arena: &Arena, strike: &Strike) {
    let (history, touched) = (&arena.history, [strike.part.clone()]);
    match strike.blow {
        Blow::Flush => {
            let fault = history.forget("FLUSHALL");
            // A Redis that is being killed has nothing to forget; the fault is noted all the same.
            if let Err(error) = flush(arena).await {
                eprintln!("FLUSHALL: {error:#}");
            }
            history.heal(fault);
        }
        Blow::Pause => {
            let fault = history.apply("SIGSTOP", touched);
            pause(arena, &strike.part);
            sleep(strike.lasts).await;
            resume(arena, &strike.part);
            history.heal(fault);
        }
        Blow::Kill | Blow::Terminate => {
            let what = if strike.blow == Blow::Kill { "kill -9" } else { "SIGTERM" };
            let fault = history.end(what, touched);
            end(arena, &strike.part, strike.blow).await;
            sleep(strike.lasts).await;
            start(arena, &strike.part).await;
            history.heal(fault);
        }
    }
}

async fn flush(arena: &Arena) -> anyhow::Result<()> {
    let client = redis::Client::open(arena.cluster.redis().url())?;
    let connecting = client.get_multiplexed_async_connection();
    let mut redis = tokio::time::timeout(Duration::from_secs(2), connecting).await??;
    Ok(redis::cmd("FLUSHALL").exec_async(&mut redis).await?)
}

fn pause(arena: &Arena, part: &Touched) {
    match part {
        Touched::Server(at) => arena.servers()[*at].pause(),
        Touched::Worker(name) => arena.worker(name).pause(),
        Touched::Queue | Touched::WayToQueue(_) => arena.cluster.redis().pause(),
        Touched::Store | Touched::WayToStore(_) => arena.cluster.mariadb().pause(),
    }
}

fn resume(arena: &Arena, part: &Touched) {
    match part {
        Touched::Server(at) => arena.servers()[*at].resume(),
        Touched::Worker(name) => arena.worker(name).resume(),
        Touched::Queue | Touched::WayToQueue(_) => arena.cluster.redis().resume(),
        Touched::Store | Touched::WayToStore(_) => arena.cluster.mariadb().resume(),
    }
}

/// A program that is told to stop has its time; whether it uses it well is judged by the invariants.
async fn end(arena: &Arena, part: &Touched, blow: Blow) {
    match (part, blow) {
        (Touched::Server(at), Blow::Terminate) => {
            arena.servers()[*at].terminate();
            arena.servers()[*at].exit().await;
        }
        (Touched::Worker(name), Blow::Terminate) => {
            arena.worker(name).terminate();
            arena.worker(name).exit().await;
        }
        (Touched::Server(at), _) => arena.servers()[*at].kill(),
        (Touched::Worker(name), _) => arena.worker(name).kill(),
        (Touched::Queue | Touched::WayToQueue(_), _) => arena.cluster.redis().kill(),
        (Touched::Store | Touched::WayToStore(_), _) => arena.cluster.mariadb().kill(),
    }
}

async fn start(arena: &Arena, part: &Touched) {
    match part {
        Touched::Server(at) => arena.servers()[*at].supervise().await,
        Touched::Worker(name) => arena.worker(name).restart(),
        Touched::Queue | Touched::WayToQueue(_) => arena.cluster.redis().restart().await,
        Touched::Store | Touched::WayToStore(_) => arena.cluster.mariadb().restart().await,
    }
}

impl fmt::Display for Strike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blow = match self.blow {
            Blow::Kill => "kill -9",
            Blow::Terminate => "SIGTERM",
            Blow::Pause => "SIGSTOP",
            Blow::Flush => "FLUSHALL",
        };
        let part = match &self.part {
            Touched::Server(at) => format!("server {at}"),
            Touched::Worker(name) => format!("worker {name}"),
            Touched::Queue | Touched::WayToQueue(_) => "Redis".to_owned(),
            Touched::Store | Touched::WayToStore(_) => "the database".to_owned(),
        };
        write!(f, "{:>7.1} s  {blow} {part} for {:.1} s", self.at.as_secs_f64(), self.lasts.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> Parts {
        let workers = (1..=50).map(|number| format!("w-{number}")).collect();
        Parts { servers: 3, workers, services: true }
    }

    #[test]
    fn a_seed_replays_and_another_does_not() {
        let hour = Duration::from_secs(3600);
        let of = |seed| plan(seed, hour, 10.0, &parts());
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn a_plan_overlaps_and_keeps_its_bounds() {
        let plan = plan(7, Duration::from_secs(3600), 12.0, &parts());
        assert!(plan.len() > 500, "{} strikes in an hour", plan.len());
        let at_once = |strike: &Strike| {
            let there = |other: &&Strike| other.at <= strike.at && other.at + other.lasts > strike.at;
            plan.iter().filter(there).collect::<Vec<_>>()
        };
        let most = plan.iter().map(|strike| at_once(strike).len()).max().unwrap();
        assert!((2..=AT_ONCE).contains(&most), "{most} at once");
        for strike in &plan {
            let same = at_once(strike).into_iter().filter(|other| other.part == strike.part).count();
            assert!(same <= 1, "{strike} strikes what is struck");
        }
    }
}
