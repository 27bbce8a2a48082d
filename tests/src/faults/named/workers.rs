//! Workers that die or hang.

use std::fs;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::sleep;

use super::super::arena::{ALL, Arena};
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::{Submission, Touched};
use super::super::moment::Moment;
use super::super::testimony::{Execution, Word};
use super::super::workload::Shape;
use crate::support::Backend;

/// Long enough to be under way when its worker dies.
const LONG: Duration = Duration::from_secs(2);

/// An SDK worker, a daemon with its tasks, and a daemon alone, which somebody starts again at once.
pub async fn killed(backend: Backend) -> Finding {
    let mut arena = Arena::on(backend).slots(16).witnesses(3).daemons(3).start().await;
    let mix = arena.mix(&Deed::taking(LONG));
    let load = arena.load(mix, 6.0);
    let anywhere = |durable| arena.shape(&format!("any({ALL})"), durable, &Deed::taking(LONG));
    let anywhere = [anywhere(true), anywhere(false)];
    let more = arena.load(anywhere.to_vec(), 4.0);
    let own = [true, false].map(|durable| arena.shape("d-2", durable, &Deed::taking(3 * LONG)));
    let kept = arena.burst(&own, 4).await;
    for run in &kept {
        arena.until("d-2 has what it is to keep", |_, one| one.run == run.run).await;
    }
    // A daemon that dies alone leaves its commands to the next one.
    let fault = arena.history.sever("kill -9", [Touched::Worker("d-2".to_owned())]);
    arena.worker("d-2").kill();
    arena.worker("d-2").restart();
    let adopted = arena.history.heal(fault);
    let mut killed = Vec::new();
    for name in ["w-1", "d-1"] {
        at_work(&mut arena, name, &anywhere).await;
        let fault = arena.history.end("kill -9", [Touched::Worker(name.to_owned())]);
        arena.kill_with_tasks(name);
        // What ends on the way here has ended, and is not begun again.
        killed.push((name, Moment::now(), fault));
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
    let again = killed.iter().map(|(name, moment, _)| evidence.begun_again_after(*moment, name));
    let again = again.collect::<Option<Vec<_>>>().and_then(|again| again.into_iter().max());
    let went_on = kept.iter().filter(|run| {
        let [one] = evidence.testimony.of(run.run) else { return false };
        one.start < adopted && one.end > adopted && one.word == Some(Word::Done)
    });
    let went_on = went_on.count();
    Finding::of(verdict)
        .recovered("what each had for any worker runs elsewhere", again, 10)
        .demand(again.is_some(), "something that a dead worker had for any was never begun again")
        .demand(
            went_on == kept.len(),
            format!(
                "of {} commands of the daemon that was killed alone {went_on} went on to their end",
                kept.len()
            ),
        )
        .seen(format!("{went_on} commands outlived their daemon"))
}

/// Gives out runs for any worker until this one has some of them, with half of them still to come.
async fn at_work(arena: &mut Arena, name: &str, anywhere: &[Shape]) {
    let end = Moment::now().plus(Duration::from_secs(60));
    loop {
        let given = arena.burst(anywhere, 12).await;
        sleep(LONG / 4).await;
        let testimony = arena.testimony();
        let has = |one: &Execution| testimony.worker(one) == name && one.word.is_none();
        let recent = |one: &Execution| Moment::now().since(one.start) < LONG / 2;
        let at_work = |run: &Submission| testimony.of(run.run).iter().any(|one| has(one) && recent(one));
        if given.iter().any(at_work) {
            return;
        }
        assert!(Moment::now() < end, "{name} gets none of what any worker may have");
    }
}

/// A command's supervisor dies, and the daemon lives: the command is gone, its run is begun again, and nothing else is touched.
pub async fn supervisor_killed(backend: Backend) -> Finding {
    let mut arena = Arena::on(backend).servers(2).slots(8).daemons(2).start().await;
    let mix = arena.mix(&Deed::taking(LONG));
    let load = arena.load(mix, 4.0);
    let own = [true, false].map(|durable| arena.shape("d-1", durable, &Deed::taking(2 * LONG)));
    let runs = arena.burst(&own, 2).await;
    let (daemon, mut slowest) = (arena.worker("d-1").pid(), Duration::ZERO);
    for run in &runs {
        let first = arena.until("it is under way", |_, one| one.run == run.run).await;
        let fault = arena.history.end("supervisor killed", [Touched::Worker("d-1".to_owned())]);
        let supervisor = parent(first.pid).expect("a command that runs has a supervisor");
        kill(Pid::from_raw(supervisor), Signal::SIGKILL).expect("it has just been there");
        let second =
            arena.until("it runs again", |_, one| one.run == run.run && one.start > first.start).await;
        slowest = slowest.max(second.start.since(arena.history.applied(fault)));
        arena.history.heal(fault);
    }
    sleep(2 * LONG).await;
    arena.stop(load).await;
    let same = arena.worker("d-1").pid() == daemon && arena.worker("d-1").is_running();
    let (evidence, verdict) = arena.conclude().await;
    let losses: Vec<u16> =
        runs.iter().filter_map(|run| evidence.records.of(run.run)).map(|record| record.lost).collect();
    let again = verdict.again;
    Finding::of(verdict)
        .recovered("what a supervisor had is begun again", Some(slowest), 10)
        .demand(same, "the daemon has ended")
        .demand(losses == [1, 1], format!("their runs were lost {losses:?} times, not once each"))
        .demand(again == runs.len(), format!("{again} runs were executed again, not {}", runs.len()))
}

/// The parent of a process.
fn parent(pid: u32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("PPid:"))?.trim().parse().ok()
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
