//! Tasks that kill whoever runs them.

use std::time::Duration;

use marabunta_proto::v1::{Reason, RunState};
use tokio::time::sleep;

use super::super::arena::Arena;
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::{Submission, Touched};
use super::super::records::still_open;
use super::super::testimony::Word;
use crate::support::Backend;
use crate::support::eventually_within;

/// Every attempt of it kills the SDK worker, or the daemon, its supervisor and itself. Somebody starts workers again, as a service manager
/// would.
pub async fn killing(backend: Backend) -> Finding {
    const ALLOWED: u16 = 3;
    let mut arena = Arena::on(backend).slots(8).witnesses(2).daemons(2).start().await;
    let mix = arena.mix(&Deed::taking(Duration::from_millis(20)));
    let load = arena.load(mix, 15.0);
    let always = u64::MAX;
    let (sdk, daemon) = (Deed { die: always, ..Deed::default() }, Deed { slay: always, ..Deed::default() });
    let mut shapes = vec![
        arena.shape("w-1", true, &sdk),
        arena.shape("w-1", false, &sdk),
        arena.shape("d-1", true, &daemon),
    ];
    let mut once = arena.shape("d-1", true, &daemon);
    once.max_lost = Some(0);
    shapes.push(once);
    let mut poison = Vec::new();
    for shape in &shapes {
        // One at a time: of two on one worker each would be lost by the other's doing, before it began.
        poison.extend(arena.burst(std::slice::from_ref(shape), 1).await);
        tokio::select! {
            () = out(&arena, &poison) => {}
            () = revive(&arena) => {}
        }
    }
    let last = arena.history.faults().iter().map(|fault| fault.healed).max();
    sleep(Duration::from_secs(3)).await;
    arena.stop(load).await;
    let (evidence, verdict) = arena.conclude().await;

    let innocent =
        evidence.accepted().filter(|(submission, _)| poison.iter().all(|one| one.run != submission.run));
    let harmed = innocent.filter_map(|(one, _)| evidence.records.of(one.run));
    let harmed = harmed.filter(|record| i32::from(record.state) != RunState::Done as i32).count();
    let mut finding = Finding::of(verdict)
        .demand(poison.len() == shapes.len(), format!("{} poisonous runs were accepted", poison.len()))
        .demand(harmed == 0, format!("{harmed} other runs did not end well"));
    let mut waits = Vec::new();
    for one in &poison {
        let shape = &evidence.shapes[usize::from(one.shape)];
        let (most, reason) = match shape.max_lost {
            Some(0) => (0, Reason::Lost),
            _ => (ALLOWED, Reason::Poison),
        };
        let executions = evidence.testimony.of(one.run);
        let died = executions.iter().all(|execution| execution.word == Some(Word::Dies));
        let told = evidence.records.of(one.run).map(|record| (i32::from(record.reason), record.lost));
        finding = finding
            .demand(
                executions.len() == usize::from(most) + 1 && died,
                format!("one on {} ran {} times, {most} losses allowed", shape.target, executions.len()),
            )
            .demand(
                told == Some((reason as i32, most + 1)),
                format!("reason and losses of one on {} are {told:?}", shape.target),
            );
        waits.extend(executions.windows(2).map(|pair| pair[1].start.since(pair[0].end)));
    }
    let longest = waits.iter().max().copied().unwrap_or_default();
    let well = last.and_then(|last| evidence.all_at_work_after(last, &["w-1", "d-1"].map(str::to_owned)));
    finding
        .recovered("both that it killed work again", well, 10)
        .seen(format!("{} starts of poison, at most {longest:.1?} apart", waits.len() + poison.len()))
}

/// Waits until all of it has ended.
async fn out(arena: &Arena, poison: &[Submission]) {
    let store = arena.cluster.store();
    eventually_within(Duration::from_secs(180), "the poison is out", async || {
        let open = still_open(&store).await?;
        anyhow::ensure!(!poison.iter().any(|one| open.contains(&one.run)), "it is open");
        Ok(())
    })
    .await;
}

/// Starts again whoever has ended, for ever.
async fn revive(arena: &Arena) {
    loop {
        for name in arena.names.iter().filter(|name| arena.worker(name).has_exited()) {
            // What a daemon runs beside it lives on.
            let touched = [Touched::Worker(name.clone())];
            let fault = if name.starts_with("d-") {
                arena.history.sever("killed by a task", touched)
            } else {
                arena.history.end("killed by a task", touched)
            };
            // It may be killed again before anybody sees it online.
            arena.worker(name).restart();
            arena.history.heal(fault);
        }
        sleep(Duration::from_millis(100)).await;
    }
}
