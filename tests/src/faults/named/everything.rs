//! Everything dies, again and again.

use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

use super::super::arena::Arena;
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::moment::Moment;
use super::super::process;
use super::super::testimony::Word;
use super::super::workload::{Load, Shape};
use crate::support::Backend;

const TIMES: usize = 20;

/// A load, a time-table, and all that can be killed.
async fn busy(backend: Backend) -> (Arena, Vec<Load>, Vec<Touched>) {
    let mut arena = Arena::on(backend).witnesses(4).daemons(1).start().await;
    // A run is no poison because its worker dies under it by our hand, however often.
    let hardy = |shape: Shape| Shape { max_lost: Some(1_000), ..shape };
    let mix = |span| arena.mix(&Deed::taking(span)).into_iter().map(hardy).collect();
    let (short, long) = (mix(Duration::from_millis(20)), mix(Duration::from_secs(2)));
    let tick = arena.shape("w-1", true, &Deed::default());
    arena.each_second("tick", tick).await;
    let loads = vec![arena.load(short, 20.0), arena.load(long, 2.0)];
    let mut parts: Vec<Touched> = (0..arena.servers().len()).map(Touched::Server).collect();
    parts.extend(arena.names.iter().cloned().map(Touched::Worker));
    if backend == Backend::MariaDbRedis {
        parts.extend([Touched::Queue, Touched::Store]);
    }
    (arena, loads, parts)
}

/// All servers, all workers with their tasks, Redis and the database, within moments and in any order; and then all of them are started
/// again, in any order too. Twenty times in a row.
pub async fn killed_at_once(backend: Backend, seed: u64) -> Finding {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut arena, loads, mut parts) = busy(backend).await;
    let (mut slowest, mut away) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..TIMES {
        sleep(Duration::from_millis(random.random_range(200..1_500))).await;
        parts.shuffle(&mut random);
        let fault = match backend {
            Backend::MariaDbRedis => arena.history.end("kill -9 of everything", parts.clone()),
            // The queue is in the memory of the server, and here no worker is left that knows better.
            Backend::Embedded => arena.history.end_forgetting("kill -9 of everything", parts.clone()),
        };
        for part in &parts {
            kill(&arena, part);
            sleep(Duration::from_millis(random.random_range(0..20))).await;
        }
        parts.shuffle(&mut random);
        join_all(parts.iter().map(|part| process::start(&arena, part))).await;
        let back = arena.history.heal(fault);
        away = away.max(back.since(arena.history.applied(fault)));
        let begun = arena.until("work goes on", |_, one| one.start > back && one.word == Some(Word::Done));
        slowest = slowest.max(begun.await.end.since(back));
    }
    for load in loads {
        arena.stop(load).await;
    }
    let (_, verdict) = arena.conclude().await;
    let again = verdict.again;
    Finding::of(verdict)
        .recovered("work goes on, each time", Some(slowest), 15)
        .seen(format!("away for at most {away:.1?}, {again} executions explained"))
}

/// Any part, at any moment, twenty times in a row.
pub async fn killed_at_random(backend: Backend, seed: u64) -> Finding {
    let mut random = StdRng::seed_from_u64(seed);
    let (mut arena, loads, parts) = busy(backend).await;
    let mut back = Moment::now();
    for _ in 0..TIMES {
        sleep(Duration::from_millis(random.random_range(200..1_500))).await;
        let victim = &parts[random.random_range(0..parts.len())];
        let fault = arena.history.end("kill -9", [victim.clone()]);
        kill(&arena, victim);
        sleep(Duration::from_millis(random.random_range(0..1_000))).await;
        process::start(&arena, victim).await;
        back = arena.history.heal(fault);
    }
    // What asks again for what it was refused does so within a second.
    sleep(Duration::from_secs(5)).await;
    for load in loads {
        arena.stop(load).await;
    }
    let (evidence, verdict) = arena.conclude().await;
    let again = verdict.again;
    Finding::of(verdict)
        .recovered("the first new run is done", evidence.first_end_after(back), 10)
        .seen(format!("{again} executions explained"))
}

fn kill(arena: &Arena, part: &Touched) {
    match part {
        // The daemon with all that it runs; an SDK worker is all in one.
        Touched::Worker(name) => arena.worker(name).kill_all(),
        _ => process::kill(arena, part),
    }
}
