//! Servers that die between two steps, and answers that never come. No server knows that it is watched: a proxy waits for the moment.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::super::arena::{ALL, Arena};
use super::super::deed::Deed;
use super::super::evidence::Evidence;
use super::super::finding::Finding;
use super::super::history::{Submission, Touched};
use super::super::links::Links;
use super::super::moment::Moment;
use super::super::proxy::{At, Cut, Then, Trap};
use super::super::testimony::Word;
use crate::support::{Backend, Link};

/// What the payload of each deed has, in a request to the queue and in an answer of it.
const DEED: &str = "\"op\":";
/// The step of a settlement by which a run leaves the queue, as Redis is told.
const REMOVE: &str = "$6\r\nremove\r\n";

/// Two servers with proxies before their Redis and their database, and two workers that know both.
async fn watched(backend: Backend) -> (Arena, Links) {
    let links = Links::default();
    let detour = links.detour(|link| matches!(link, Link::ToQueue(_) | Link::ToStore(_)));
    let arena = Arena::on(backend).servers(2).witnesses(2).detour(detour).start().await;
    (arena, links)
}

/// Kills the first server with a trap's deed.
fn kills_a_server(arena: &Arena, trap: Trap) -> Trap {
    let pid = Pid::from_raw(i32::try_from(arena.servers()[0].pid()).expect("a process id is an i32"));
    trap.deed(move || kill(pid, Signal::SIGKILL).expect("the server runs until it is killed"))
}

/// When the last of these was done, counted from a moment.
fn all_done(evidence: &Evidence, submissions: &[Submission], moment: Moment) -> Option<Duration> {
    let done = |submission: &Submission| {
        let executions = evidence.testimony.of(submission.run).iter();
        executions.filter(|one| one.word == Some(Word::Done)).map(|one| one.end.since(moment)).min()
    };
    submissions.iter().map(done).collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// Redis has given the run, and the server dies before it knows: it was never accepted, and costs nothing.
pub async fn between_claim_and_send(backend: Backend) -> Finding {
    let (mut arena, links) = watched(backend).await;
    let trap = kills_a_server(&arena, Trap::reply(At::Before, DEED));
    let mut sprung = links.to_queue(0).trap(trap);
    let fault = arena.history.end("killed after the claim", [Touched::Server(0)]);
    let anywhere = format!("any({ALL})");
    let shapes = ["w-1", "w-2", &anywhere]
        .map(|target| [true, false].map(|durable| arena.shape(target, durable, &Deed::default())));
    let runs = arena.burst(shapes.as_flattened(), 12).await;
    let dead = sprung.wait().await;
    arena.servers()[0].kill();
    sleep(Duration::from_secs(12)).await;
    arena.servers()[0].restart().await;
    arena.history.heal(fault);
    let (evidence, verdict) = arena.conclude().await;
    let costs = runs.iter().filter_map(|run| evidence.records.of(run.run));
    let cost: u16 = costs.map(|record| record.lost + record.failed).sum();
    Finding::of(verdict)
        .recovered("what was claimed is executed", all_done(&evidence, &runs, dead), 10)
        .demand(cost == 0, format!("{cost} losses or failures were counted for what was never accepted"))
        .nothing_again()
}

/// The end is committed, and the server dies before the run has left the queue and the worker has its answer.
pub async fn between_commit_and_queue(backend: Backend) -> Finding {
    let (mut arena, links) = watched(backend).await;
    let mix = ["w-1", "w-2"].map(|name| arena.shape(name, true, &Deed::taking(Duration::from_millis(50))));
    let load = arena.load(mix.into(), 10.0);
    sleep(Duration::from_secs(2)).await;
    let trap = kills_a_server(&arena, Trap::request(At::Before, REMOVE));
    let mut sprung = links.to_queue(0).trap(trap);
    let fault = arena.history.end("killed after the commit", [Touched::Server(0)]);
    let dead = sprung.wait().await;
    arena.servers()[0].kill();
    sleep(Duration::from_secs(12)).await;
    arena.servers()[0].restart().await;
    arena.history.heal(fault);
    sleep(Duration::from_secs(2)).await;
    arena.stop(load).await;
    let (evidence, verdict) = arena.conclude().await;
    Finding::of(verdict)
        .recovered("the first new run is done", evidence.first_end_after(dead), 10)
        .nothing_again()
}

/// The row of a durable run is committed, and the server dies before the run is queued.
pub async fn between_row_and_queue(backend: Backend) -> Finding {
    pushing(backend, At::Before, "killed before the push").await
}

/// The run is queued, and the server dies before it knows: a fast one has no row yet, and no submitter its answer.
pub async fn between_queue_and_row(backend: Backend) -> Finding {
    pushing(backend, At::Answered, "killed after the push").await
}

async fn pushing(backend: Backend, at: At, what: &str) -> Finding {
    let (mut arena, links) = watched(backend).await;
    let trap = kills_a_server(&arena, Trap::request(at, DEED));
    let mut sprung = links.to_queue(0).trap(trap);
    let fault = arena.history.end(what, [Touched::Server(0)]);
    let shapes =
        ["w-1", "w-2"].map(|name| [true, false].map(|durable| arena.shape(name, durable, &Deed::default())));
    let runs = arena.burst(shapes.as_flattened(), 16).await;
    let dead = sprung.wait().await;
    arena.servers()[0].kill();
    sleep(Duration::from_secs(5)).await;
    arena.servers()[0].restart().await;
    arena.history.heal(fault);
    let (evidence, verdict) = arena.conclude().await;
    let (refused, unknown) = (verdict.refused, verdict.unknown);
    // What is in the store and not in the queue is looked for each minute, when it is 15 s old.
    Finding::of(verdict)
        .recovered("all are executed", all_done(&evidence, &runs, dead), 90)
        .demand(refused + unknown == 0, format!("{refused} submits were refused, {unknown} never answered"))
        .nothing_again()
}

/// Each tenth of a second some report is answered, and the answer is lost with its connection.
pub async fn answers_of_reports_lost(backend: Backend) -> Finding {
    const TIMES: usize = 20;
    let links = Links::default();
    let detour = links.detour(|link| matches!(link, Link::ToServer(..)));
    let mut arena = Arena::on(backend).witnesses(2).detour(detour).start().await;
    let mix = arena.mix(&Deed::taking(Duration::from_millis(20)));
    let load = arena.load(mix, 20.0);
    let recorded = arena.counted("marabunta_reports_total{verdict=\"recorded\"}").await;
    for _ in 0..TIMES {
        // The end of a lease of w-1, and the outcome `succeeded`: the end of an attempt, and nothing else that it says.
        let report = || Trap::request(At::Answered, b"w-1\x10\x01").then(Then::Cut(Cut::Rst));
        let proxies = links.of_worker("w-1");
        let mut sprung: Vec<_> = proxies.iter().map(|proxy| proxy.trap(report())).collect();
        let fault = arena.history.sever("answer of a report lost", [Touched::Worker("w-1".to_owned())]);
        // It reports to one server at a time.
        futures_util::future::select_all(sprung.iter_mut().map(|one| Box::pin(one.wait()))).await;
        proxies.iter().for_each(|proxy| proxy.heal());
        arena.history.heal(fault);
        sleep(Duration::from_millis(100)).await;
    }
    let back = Moment::now();
    sleep(Duration::from_secs(2)).await;
    arena.stop(load).await;
    let told = arena.counted("marabunta_reports_total{verdict=\"recorded\"}").await - recorded;
    let (evidence, verdict) = arena.conclude().await;
    let ends = evidence.records.attempts.len();
    Finding::of(verdict)
        .recovered("the first new run is done", evidence.first_end_after(back), 10)
        .demand(
            ends == evidence.records.ended.len(),
            format!("{ends} attempts of {} runs", evidence.records.ended.len()),
        )
        .seen(format!("{TIMES} answers lost, {told} ends told, {ends} recorded"))
        .nothing_again()
}
