//! Everything dies, again and again.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

use super::super::arena::Arena;
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::process;
use crate::support::Backend;

const TIMES: usize = 20;

/// Any part, at any moment, twenty times in a row.
pub async fn killed_at_random(backend: Backend, seed: u64) -> Finding {
    let mut random = StdRng::seed_from_u64(seed);
    let mut arena = Arena::on(backend).witnesses(4).daemons(1).start().await;
    let short = arena.mix(&Deed::taking(Duration::from_millis(20)));
    let long = arena.mix(&Deed::taking(Duration::from_secs(2)));
    let tick = arena.shape("w-1", true, &Deed::default());
    arena.each_second("tick", tick).await;
    let loads = [arena.load(short, 20.0), arena.load(long, 2.0)];
    let mut victims: Vec<Touched> = (0..arena.servers().len()).map(Touched::Server).collect();
    victims.extend(arena.names.iter().cloned().map(Touched::Worker));
    if backend == Backend::MariaDbRedis {
        victims.extend([Touched::Queue, Touched::Store]);
    }
    for _ in 0..TIMES {
        sleep(Duration::from_millis(random.random_range(200..1_500))).await;
        let victim = victims[random.random_range(0..victims.len())].clone();
        let fault = match &victim {
            // Its commands live on.
            Touched::Worker(name) if name.starts_with("d-") => {
                arena.history.sever("kill -9", [victim.clone()])
            }
            _ => arena.history.end("kill -9", [victim.clone()]),
        };
        process::kill(&arena, &victim);
        sleep(Duration::from_millis(random.random_range(0..1_000))).await;
        process::start(&arena, &victim).await;
        arena.history.heal(fault);
    }
    for load in loads {
        arena.stop(load).await;
    }
    let (_, verdict) = arena.conclude().await;
    let again = verdict.again;
    Finding::of(verdict).seen(format!("{again} executions explained"))
}
