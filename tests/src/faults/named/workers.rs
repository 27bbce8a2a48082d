//! Workers that die or hang.

use std::fs;
use std::time::Duration;

use tokio::time::sleep;

use super::super::arena::{ALL, Arena};
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::testimony::Word;
use crate::support::Backend;

/// Long enough to be under way when its worker dies.
const LONG: Duration = Duration::from_secs(2);

/// An SDK worker, a daemon with its tasks, and a daemon alone.
pub async fn killed(backend: Backend) -> Finding {
    let mut arena = Arena::on(backend).slots(16).witnesses(3).daemons(3).start().await;
    let mix = arena.mix(&Deed::taking(LONG));
    let load = arena.load(mix, 6.0);
    let anywhere = arena.shape(&format!("any({ALL})"), true, &Deed::taking(LONG));
    let fast = arena.shape(&format!("any({ALL})"), false, &Deed::taking(LONG));
    let more = arena.load(vec![anywhere, fast], 4.0);
    let mut killed = Vec::new();
    for (name, with_tasks) in [("w-1", true), ("d-1", true), ("d-2", false)] {
        arena
            .until(&format!("{name} is at work"), |testimony, one| {
                testimony.worker(one) == name && one.word.is_none() && one.doubled.eq(&false)
            })
            .await;
        // A daemon that dies alone leaves its commands to the next one.
        let touched = [Touched::Worker(name.to_owned())];
        let fault = if with_tasks {
            arena.history.end("kill -9", touched)
        } else {
            arena.history.sever("kill -9", touched)
        };
        let moment = arena.history.applied(fault);
        if with_tasks {
            arena.kill_with_tasks(name)
        } else {
            arena.worker(name).kill()
        }
        killed.push((name, moment, fault));
    }
    // What a dead worker had is given away after 8 s.
    sleep(Duration::from_secs(12)).await;
    for (name, _, fault) in &killed {
        arena.worker(name).restart();
        arena.cluster.online(name).await;
        arena.history.heal(*fault);
    }
    sleep(Duration::from_secs(3)).await;
    arena.stop(load).await;
    arena.stop(more).await;
    let (evidence, verdict) = arena.conclude().await;
    let again =
        killed[..2].iter().filter_map(|(name, moment, _)| evidence.begun_again_after(*moment, name)).max();
    Finding::of(verdict).recovered("what it had for any worker runs elsewhere", again, 10)
}

/// Both a run that only it may have and one that others may have are under way.
pub async fn paused_long(backend: Backend) -> Finding {
    let mut arena = Arena::on(backend).slots(16).witnesses(3).start().await;
    let gate = arena.gate("gate");
    let gated = Deed { gate: Some(gate.clone()), ..Deed::default() };
    let own = [arena.shape("w-1", true, &gated), arena.shape("w-1", false, &gated)];
    let anywhere = arena.shape(&format!("any({ALL})"), true, &gated);
    let own = arena.burst(&own, 2).await;
    // Whoever is free may take it: one after the other, until it is w-1, and others still have room.
    let shared = loop {
        let one = arena.burst(std::slice::from_ref(&anywhere), 1).await.remove(0);
        let shared = arena.until("it has begun", |_, execution| execution.run == one.run).await;
        if arena.testimony().worker(&shared) == "w-1" {
            break shared;
        }
    };
    let mix = arena.mix(&Deed::default());
    let load = arena.load(mix, 10.0);
    let fault = arena.history.apply("SIGSTOP", [Touched::Worker("w-1".to_owned())]);
    let moment = arena.history.applied(fault);
    arena.worker("w-1").pause();
    let second =
        arena.until("another has its run", |_, one| one.run == shared.run && one.start > shared.start).await;
    arena.worker("w-1").resume();
    let resumed = arena.history.heal(fault);
    let stopped = arena
        .until("w-1 stops what was given away", |testimony, one| {
            one.run == shared.run && testimony.worker(one) == "w-1" && one.word == Some(Word::Stopped)
        })
        .await;
    fs::remove_file(gate).expect("a gate is opened once");
    arena.stop(load).await;
    let (evidence, verdict) = arena.conclude().await;
    let own: Vec<usize> = own.iter().map(|own| evidence.testimony.of(own.run).len()).collect();
    Finding::of(verdict)
        .detected("what it had for any worker runs elsewhere", Some(second.start.since(moment)), 30)
        .recovered("it stops what was given away", Some(stopped.end.since(resumed)), 10)
        .demand(own == [1, 1], format!("its own runs were executed {own:?} times, not once each"))
}

/// It is back before anybody may think that it is gone: in half of the 5 s that it has to accept what it is given, and in half of the 15 s
/// after which it is silent, with what it runs.
pub async fn paused_briefly(backend: Backend) -> Finding {
    let mut arena = Arena::on(backend).slots(8).witnesses(2).daemons(1).start().await;
    let mix = arena.mix(&Deed::taking(Duration::from_millis(300)));
    let load = arena.load(mix, 8.0);
    for name in ["w-1", "d-1"] {
        arena.until(&format!("{name} is at work"), |testimony, one| testimony.worker(one) == name).await;
        pause(&arena, name, Duration::from_millis(2_500)).await;
    }
    arena.stop(load).await;
    let gate = arena.gate("brief");
    let gated = arena.mix(&Deed { gate: Some(gate.clone()), ..Deed::default() });
    let under_way = arena.burst(&gated, gated.len()).await;
    // What it was given and could not accept in 5 s would go to others.
    for submission in &under_way {
        arena.until("all have begun", |_, one| one.run == submission.run).await;
    }
    for name in ["w-1", "d-1"] {
        pause(&arena, name, Duration::from_millis(7_500)).await;
    }
    fs::remove_file(gate).expect("a gate is opened once");
    let (_, verdict) = arena.conclude().await;
    Finding::of(verdict).nothing_again()
}

async fn pause(arena: &Arena, name: &str, span: Duration) {
    let fault = arena.history.apply("SIGSTOP", [Touched::Worker(name.to_owned())]);
    arena.worker(name).pause();
    sleep(span).await;
    arena.worker(name).resume();
    arena.history.heal(fault);
}
