//! Servers that die, stop and are replaced.

use std::time::Duration;

use tokio::time::sleep;

use super::super::arena::{Arena, Plan};
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::moment::Moment;
use super::super::workload::Load;
use crate::support::Backend;

/// Short runs and such as are under way when their server goes.
async fn busy(backend: Backend) -> (Arena, Vec<Load>) {
    busy_on(Arena::on(backend)).await
}

async fn busy_on(plan: Plan) -> (Arena, Vec<Load>) {
    let mut arena = plan.witnesses(4).daemons(1).start().await;
    let short = arena.mix(&Deed::taking(Duration::from_millis(20)));
    let long = arena.mix(&Deed::taking(Duration::from_secs(3)));
    let loads = vec![arena.load(short, 30.0), arena.load(long, 3.0)];
    sleep(Duration::from_secs(3)).await;
    (arena, loads)
}

/// `workers` and `run`: from when it counts until all workers work again and until a new run is done, and how many seconds that may take.
async fn conclude(mut arena: Arena, loads: Vec<Load>, workers: (Moment, u64), run: (Moment, u64)) -> Finding {
    for load in loads {
        arena.stop(load).await;
    }
    let names = arena.names.clone();
    let (evidence, verdict) = arena.conclude().await;
    Finding::of(verdict)
        .detected("all its workers work again", evidence.all_at_work_after(workers.0, &names), workers.1)
        .recovered("the first new run is done", evidence.first_end_after(run.0), run.1)
        .nothing_again()
}

/// The embedded one is started again, as nobody else is there.
pub async fn killed(backend: Backend) -> Finding {
    let (arena, loads) = busy(backend).await;
    let fault = arena.history.end("kill -9", [Touched::Server(0)]);
    let mut moment = arena.history.applied(fault);
    arena.servers()[0].kill();
    if backend == Backend::Embedded {
        arena.servers()[0].restart().await;
        moment = arena.history.heal(fault);
    }
    sleep(Duration::from_secs(12)).await;
    if backend != Backend::Embedded {
        arena.servers()[0].restart().await;
        arena.history.heal(fault);
    }
    sleep(Duration::from_secs(2)).await;
    conclude(arena, loads, (moment, 10), (moment, 10)).await
}

pub async fn told_to_stop(backend: Backend) -> Finding {
    let (arena, loads) = busy(backend).await;
    let fault = arena.history.dismiss("SIGTERM", [Touched::Server(0)]);
    let mut moment = arena.history.applied(fault);
    arena.servers()[0].terminate();
    let code = arena.servers()[0].exit().await;
    if backend == Backend::Embedded {
        arena.servers()[0].restart().await;
        moment = arena.history.heal(fault);
    }
    sleep(Duration::from_secs(8)).await;
    if backend != Backend::Embedded {
        arena.servers()[0].restart().await;
        arena.history.heal(fault);
    }
    sleep(Duration::from_secs(2)).await;
    let finding = conclude(arena, loads, (moment, 10), (moment, 10)).await;
    finding.demand(code == 0, format!("it exited with {code}"))
}

/// Its workers go elsewhere long before it is back, and take what they run with them; it finds that nothing is its own any more.
pub async fn paused_long(backend: Backend) -> Finding {
    let (arena, loads) = busy(backend).await;
    let fault = arena.history.apply("SIGSTOP", [Touched::Server(0)]);
    let moment = arena.history.applied(fault);
    arena.servers()[0].pause();
    sleep(Duration::from_secs(75)).await;
    arena.servers()[0].resume();
    let back = arena.history.heal(fault);
    sleep(Duration::from_secs(5)).await;
    // A worker waits 15 s for a sign of life.
    conclude(arena, loads, (moment, 30), (back, 5)).await
}

/// All ways to all servers are cut, and come back together.
pub async fn balancer_killed(backend: Backend) -> Finding {
    let (arena, loads) = busy_on(Arena::on(backend).balanced()).await;
    let workers: Vec<Touched> = arena.names.iter().cloned().map(Touched::Worker).collect();
    let fault = arena.history.sever("kill -9 of the balancer", workers);
    let balancer = arena.cluster.balancer().expect("the plan has one");
    balancer.kill();
    sleep(Duration::from_secs(4)).await;
    balancer.restart().await;
    let back = arena.history.heal(fault);
    sleep(Duration::from_secs(8)).await;
    conclude(arena, loads, (back, 10), (back, 5)).await
}

/// One after another, with what a deployment would do: stop, start, wait until it is ready.
pub async fn replaced_one_by_one(backend: Backend) -> Finding {
    replaced(Arena::on(backend)).await
}

/// A worker that is told to go elsewhere has one address, and is sent to another server there.
pub async fn replaced_behind_a_balancer(backend: Backend) -> Finding {
    replaced(Arena::on(backend).balanced()).await
}

async fn replaced(plan: Plan) -> Finding {
    let (mut arena, loads) = busy_on(plan).await;
    let mut codes = Vec::new();
    for (at, server) in arena.servers().iter().enumerate() {
        let fault = arena.history.dismiss("SIGTERM", [Touched::Server(at)]);
        server.terminate();
        codes.push(server.exit().await);
        server.restart().await;
        arena.history.heal(fault);
        sleep(Duration::from_secs(2)).await;
    }
    for load in loads {
        arena.stop(load).await;
    }
    let (evidence, verdict) = arena.conclude().await;
    let tries = evidence.most_tries();
    let (refused, unknown) = (verdict.refused, verdict.unknown);
    Finding::of(verdict)
        .demand(codes.iter().all(|code| *code == 0), format!("they exited with {codes:?}"))
        .demand(tries <= 2, format!("a submit was tried {tries} times"))
        .demand(refused + unknown == 0, format!("{refused} submits were refused, {unknown} never answered"))
        .seen(format!("at most {tries} tries of a submit"))
        .nothing_again()
}
