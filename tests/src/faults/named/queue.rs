//! Redis dies, or forgets.

use std::time::Duration;

use tokio::time::sleep;

use super::super::arena::Arena;
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::moment::Moment;
use super::super::workload::Load;
use crate::support::Backend;

async fn busy(backend: Backend) -> (Arena, Vec<Load>) {
    let mut arena = Arena::on(backend).servers(2).witnesses(4).start().await;
    let short = arena.mix(&Deed::taking(Duration::from_millis(20)));
    let long = arena.mix(&Deed::taking(Duration::from_secs(3)));
    let tick = arena.shape("w-1", true, &Deed::default());
    arena.each_second("tick", tick).await;
    let loads = vec![arena.load(short, 30.0), arena.load(long, 3.0)];
    sleep(Duration::from_secs(3)).await;
    (arena, loads)
}

async fn conclude(mut arena: Arena, loads: Vec<Load>, back: Moment) -> Finding {
    // Until leases that wait for the return of service would have run out.
    sleep(Duration::from_secs(5)).await;
    for load in loads {
        arena.stop(load).await;
    }
    let (evidence, verdict) = arena.conclude().await;
    let forgotten = verdict.forgotten;
    Finding::of(verdict)
        .recovered("the first new run is done", evidence.first_end_after(back), 5)
        .seen(format!("{forgotten} fast runs told to be lost"))
        .nothing_again()
}

pub async fn killed(backend: Backend) -> Finding {
    let (arena, loads) = busy(backend).await;
    let fault = arena.history.apply("kill -9", [Touched::Queue]);
    arena.cluster.redis().kill();
    sleep(Duration::from_secs(3)).await;
    arena.cluster.redis().restart().await;
    let back = arena.history.heal(fault);
    conclude(arena, loads, back).await
}

pub async fn flushed(backend: Backend) -> Finding {
    let (arena, loads) = busy(backend).await;
    let mut redis = arena.cluster.redis().connect().await;
    let fault = arena.history.forget("FLUSHALL");
    redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("Redis answers");
    let back = arena.history.heal(fault);
    conclude(arena, loads, back).await
}

pub async fn killed_without_file(backend: Backend) -> Finding {
    let (arena, loads) = busy(backend).await;
    let fault = arena.history.forget("kill -9 and no file");
    arena.cluster.redis().kill();
    arena.cluster.redis().forget();
    sleep(Duration::from_secs(1)).await;
    arena.cluster.redis().restart().await;
    let back = arena.history.heal(fault);
    conclude(arena, loads, back).await
}
