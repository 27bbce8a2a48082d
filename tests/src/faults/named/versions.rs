//! This version and the one before it, together.

use std::time::Duration;

use tokio::time::sleep;

use super::super::arena::{ALL, Arena, Plan};
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::moment::Moment;
use super::super::previous::Previous;
use super::super::testimony::Word;
use super::super::witness::HANDLER;
use super::super::workload::Shape;
use crate::support::Backend;
use crate::support::worker::WorkerOptions;

/// A kind of task that only the new workers know.
const NOVEL: &str = "novel";

/// Workers of the previous version and of this one, with servers of this one.
pub async fn older_workers(backend: Backend) -> Finding {
    let previous = Previous::build();
    let plan = Arena::on(backend).slots(4).witnesses(2);
    let old = |worker: WorkerOptions| worker.build(&previous.worker);
    let plan = plan.daemon("old-1", &[HANDLER], old).daemon("old-2", &[HANDLER], old);
    together(plan.daemon("new-1", &[HANDLER, NOVEL], |worker| worker), &previous).await
}

/// Workers of this version with servers of the previous one.
pub async fn older_servers(backend: Backend) -> Finding {
    let previous = Previous::build();
    let plan = Arena::on(backend).server_program(&previous.server).slots(4).witnesses(2).daemons(2);
    together(plan, &previous).await
}

/// Under load, through a restart of a server and of a worker, so that every greeting of the protocol is heard.
async fn together(plan: Plan, previous: &Previous) -> Finding {
    let mut arena = plan.start().await;
    let short = arena.mix(&Deed::taking(Duration::from_millis(20)));
    let long = arena.mix(&Deed::taking(Duration::from_secs(2)));
    let tick = arena.shape(&arena.names[0].clone(), true, &Deed::default());
    arena.each_second("tick", tick).await;
    let mut loads = vec![arena.load(short, 15.0), arena.load(long, 2.0)];
    let knowing: Vec<String> = arena.names.iter().filter(|name| name.starts_with("new")).cloned().collect();
    if !knowing.is_empty() {
        let novel = arena.shape(&format!("any({ALL})"), true, &Deed::default());
        let novel = Shape { handler: Some(NOVEL.to_owned()), workers: knowing, ..novel };
        loads.push(arena.load(vec![novel.clone(), Shape { durable: false, ..novel }], 4.0));
    }
    sleep(Duration::from_secs(6)).await;
    let server = arena.history.dismiss("SIGTERM", [Touched::Server(0)]);
    arena.servers()[0].terminate();
    let code = arena.servers()[0].exit().await;
    arena.servers()[0].restart().await;
    arena.history.heal(server);
    let last = arena.names.last().expect("there are workers").clone();
    let worker = arena.history.dismiss("SIGTERM", [Touched::Worker(last.clone())]);
    arena.worker(&last).terminate();
    let stopped = arena.worker(&last).exit().await;
    arena.worker(&last).restart();
    arena.cluster.online(&last).await;
    let back: Moment = arena.history.heal(worker);
    sleep(Duration::from_secs(6)).await;
    for load in loads {
        arena.stop(load).await;
    }
    let names = arena.names.clone();
    let (evidence, verdict) = arena.conclude().await;
    let done = |name: &&String| {
        let executions = evidence.testimony.executions.iter();
        executions
            .filter(|one| one.word == Some(Word::Done))
            .any(|one| evidence.testimony.worker(one) == **name)
    };
    let idle: Vec<&String> = names.iter().filter(|name| !done(name)).collect();
    Finding::of(verdict)
        .recovered("all workers work after the restarts", evidence.all_at_work_after(back, &names), 10)
        .demand((code, stopped) == (0, 0), format!("server and worker exited with {code} and {stopped}"))
        .demand(idle.is_empty(), format!("{idle:?} did nothing"))
        .seen(format!("with {}", previous.revision))
        .nothing_again()
}
