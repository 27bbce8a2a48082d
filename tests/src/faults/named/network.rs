//! What befalls packets: cables, filters, loss. The workers that it befalls are in namespaces.

use std::time::Duration;

use tokio::time::sleep;

use super::super::arena::{ALL, Arena};
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::moment::Moment;
use super::super::network::{Fault, Namespace};
use super::super::workload::Load;
use crate::support::Backend;

/// The series that counts the sessions which a server gave up because it heard nothing.
const SILENT: &str = "marabunta_sessions_ended_total{cause=\"silent\"}";
/// 15 s of silence, and the time to be told of it.
const DETECTION: u64 = 16;

/// Workers `w-1`, `w-2` .. in these namespaces and three that are not, all at work.
async fn busy(backend: Backend, cables: &[Namespace]) -> (Arena, Vec<Load>) {
    // One address of this host is as good as another, for every namespace.
    let mut plan = Arena::on(backend).listen(cables[0].gateway());
    for cable in cables {
        plan = plan.witness(|worker| worker.through(cable.launcher()).argument("--insecure"));
    }
    for _ in 0..3 {
        plan = plan.witness(|worker| worker.argument("--insecure"));
    }
    let mut arena = plan.start().await;
    let mix = arena.mix(&Deed::taking(Duration::from_millis(50)));
    let anywhere =
        |durable| arena.shape(&format!("any({ALL})"), durable, &Deed::taking(Duration::from_secs(2)));
    let long = vec![anywhere(true), anywhere(false)];
    let loads = vec![arena.load(mix, 10.0), arena.load(long, 4.0)];
    sleep(Duration::from_secs(3)).await;
    (arena, loads)
}

/// Waits until a worker has a run under way that others may have.
async fn at_work(arena: &Arena, name: &str) {
    arena
        .until(&format!("{name} is at work"), |testimony, one| {
            testimony.worker(one) == name
                && one.word.is_none()
                // Half of it is still to come.
                && Moment::now().since(one.start) < Duration::from_secs(1)
        })
        .await;
}

async fn stop(arena: &mut Arena, loads: Vec<Load>) {
    for load in loads {
        arena.stop(load).await;
    }
}

/// No end is told: the server must find out by itself.
pub async fn cable_pulled(backend: Backend) -> Finding {
    let cable = Namespace::new();
    let (mut arena, loads) = busy(backend, std::slice::from_ref(&cable)).await;
    let silent = arena.counted(SILENT).await;
    at_work(&arena, "w-1").await;
    let fault = arena.history.apply("cable pulled", [Touched::Worker("w-1".to_owned())]);
    let pulled = arena.history.applied(fault);
    cable.unplug();
    let noticed = arena.counted_more(SILENT, silent).await;
    // Until all that it had has been given away.
    sleep(Duration::from_secs(30).saturating_sub(Moment::now().since(pulled))).await;
    cable.plug();
    arena.cluster.online("w-1").await;
    let back = arena.history.heal(fault);
    sleep(Duration::from_secs(3)).await;
    stop(&mut arena, loads).await;
    let (evidence, verdict) = arena.conclude().await;
    let again = evidence.begun_again_after(pulled, "w-1");
    let works = evidence.all_at_work_after(back, &["w-1".to_owned()]);
    Finding::of(verdict)
        .detected("its session is given up", Some(noticed.since(pulled)), DETECTION)
        .recovered("what it had for any worker runs elsewhere", again, 30)
        .demand(
            works.is_some_and(|works| works < Duration::from_secs(10)),
            "w-1 does not work again within 10 s",
        )
}

/// What the worker says is lost, and what it hears it hears.
pub async fn mute(backend: Backend) -> Finding {
    one_way(backend, Fault::Mute, "what it sends is lost").await
}

/// What the worker hears is lost; what it says cannot be acknowledged either.
pub async fn deaf(backend: Backend) -> Finding {
    one_way(backend, Fault::Deaf, "what is sent to it is lost").await
}

async fn one_way(backend: Backend, way: Fault, what: &str) -> Finding {
    let cable = Namespace::new();
    let (mut arena, loads) = busy(backend, std::slice::from_ref(&cable)).await;
    at_work(&arena, "w-1").await;
    let fault = arena.history.apply(what, [Touched::Worker("w-1".to_owned())]);
    let lost = arena.history.applied(fault);
    cable.suffer(way);
    arena.cluster.offline("w-1").await;
    let noticed = Moment::now();
    sleep(Duration::from_secs(20).saturating_sub(Moment::now().since(lost))).await;
    let connects = cable.connects();
    cable.heal();
    let back = Moment::now();
    arena.cluster.online("w-1").await;
    arena.history.heal(fault);
    sleep(Duration::from_secs(5)).await;
    stop(&mut arena, loads).await;
    let (evidence, verdict) = arena.conclude().await;
    Finding::of(verdict)
        .detected("it counts as offline", Some(noticed.since(lost)), DETECTION)
        .recovered("it works again", evidence.all_at_work_after(back, &["w-1".to_owned()]), 10)
        .demand(connects > 0, "it did not try to connect anew")
}

/// Every packet is answered by a reset, for 5 s.
pub async fn resets(backend: Backend) -> Finding {
    const STORM: Duration = Duration::from_secs(5);
    let cables = [Namespace::new(), Namespace::new()];
    let (mut arena, loads) = busy(backend, &cables).await;
    let names = ["w-1", "w-2"].map(str::to_owned);
    let fault = arena.history.sever("connections reset", names.clone().map(Touched::Worker));
    let before = cables.each_ref().map(Namespace::connects);
    for cable in &cables {
        cable.suffer(Fault::Reset);
    }
    sleep(STORM).await;
    let after = cables.each_ref().map(Namespace::connects);
    for cable in &cables {
        cable.heal();
    }
    let back = arena.history.heal(fault);
    sleep(Duration::from_secs(8)).await;
    stop(&mut arena, loads).await;
    let (evidence, verdict) = arena.conclude().await;
    let most = before.iter().zip(after).map(|(before, after)| after - before).max().unwrap_or_default();
    // The stream and the reports, each on its own, with full jitter from 0.5 s doubling to 5 s.
    Finding::of(verdict)
        .recovered("both work again", evidence.all_at_work_after(back, &names), 10)
        .demand(
            most <= 25,
            format!("a worker tried to connect {most} times in {STORM:?}: no storm is more than 5/s"),
        )
        .seen(format!("at most {most} connects of a worker in {STORM:?}"))
        .nothing_again()
}

/// One packet of five, each way.
pub async fn loss(backend: Backend) -> Finding {
    let cables = [Namespace::new(), Namespace::new()];
    let (mut arena, loads) = busy(backend, &cables).await;
    let names = ["w-1", "w-2"].map(str::to_owned);
    let fault = arena.history.apply("20 % of packets lost", names.clone().map(Touched::Worker));
    for cable in &cables {
        cable.suffer(Fault::Loss(0.2));
    }
    let began = Moment::now();
    sleep(Duration::from_secs(20)).await;
    for cable in &cables {
        cable.heal();
    }
    let back = arena.history.heal(fault);
    sleep(Duration::from_secs(3)).await;
    stop(&mut arena, loads).await;
    let (evidence, verdict) = arena.conclude().await;
    let meanwhile = evidence.testimony.executions.iter().filter(|one| {
        names.iter().any(|name| evidence.testimony.worker(one) == name)
            && one.start > began
            && one.start < back
    });
    let meanwhile = meanwhile.count();
    let again = verdict.again;
    Finding::of(verdict)
        .recovered("both work again", evidence.all_at_work_after(back, &names), 10)
        .demand(meanwhile > 0, "they ran nothing meanwhile")
        .seen(format!("{meanwhile} runs begun by both meanwhile, {again} executions explained"))
}
