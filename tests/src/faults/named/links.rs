//! Connections of workers that are cut in the middle of a frame, or that nobody reads.

use std::fs;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

use super::super::arena::Arena;
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::links::Links;
use super::super::memory;
use super::super::moment::Moment;
use super::super::proxy::{At, Cut, Direction, Then, Trap};
use super::super::testimony::Word;
use crate::support::{Backend, Link};

/// What the payload of each deed has.
const DEED: &str = "\"op\":";

/// First in the middle of an assignment, then anywhere.
pub async fn cut_in_a_frame(backend: Backend, seed: u64) -> Finding {
    const TIMES: usize = 30;
    let mut random = StdRng::seed_from_u64(seed);
    let links = Links::default();
    let detour = links.detour(|link| matches!(link, Link::ToServer(..)));
    let mut arena = Arena::on(backend).witnesses(3).detour(detour).start().await;
    let mix = arena.mix(&Deed::taking(Duration::from_millis(50)));
    let load = arena.load(mix, 20.0);
    for name in ["w-1", "w-2"] {
        let fault = arena.history.sever("an assignment cut in two", [Touched::Worker(name.to_owned())]);
        let proxies = links.of_worker(name);
        let trap = || Trap::reply(At::Midway, DEED).then(Then::Cut(Cut::Fin));
        let mut sprung: Vec<_> = proxies.iter().map(|proxy| proxy.trap(trap())).collect();
        // It has one stream.
        futures_util::future::select_all(sprung.iter_mut().map(|one| Box::pin(one.wait()))).await;
        proxies.iter().for_each(|proxy| proxy.heal());
        arena.history.heal(fault);
    }
    for turn in 0..TIMES {
        let name = &arena.names[turn % arena.names.len()];
        let direction = if random.random() { Direction::Requests } else { Direction::Replies };
        let cut = if random.random() { Cut::Fin } else { Cut::Rst };
        let fault = arena.history.sever("cut in a frame", [Touched::Worker(name.clone())]);
        for proxy in links.of_worker(name) {
            proxy.cut_after(direction, random.random_range(1..2_000), cut);
        }
        sleep(Duration::from_millis(300)).await;
        arena.history.heal(fault);
    }
    links.on(|_| true).iter().for_each(|proxy| proxy.heal());
    let back = Moment::now();
    sleep(Duration::from_secs(6)).await;
    arena.stop(load).await;
    let names = arena.names.clone();
    let (evidence, verdict) = arena.conclude().await;
    let again = verdict.again;
    Finding::of(verdict)
        .recovered("all workers work again", evidence.all_at_work_after(back, &names), 10)
        .seen(format!("{again} executions explained"))
}

/// A worker has much to do and reads nothing, while what it says is heard.
pub async fn slow_reader(backend: Backend) -> Finding {
    const QUEUED: usize = 9_000;
    const STALL: Duration = Duration::from_secs(40);
    let links = Links::default();
    let detour = links.detour(|link| matches!(link, Link::ToServer(name, _) if name == "w-1"));
    let mut arena = Arena::on(backend).slots(64).witnesses(3).detour(detour).start().await;
    let gate = arena.gate("slow");
    let own = arena.shape("w-1", false, &Deed { gate: Some(gate.clone()), ..Deed::default() });
    let others = ["w-2", "w-3"].map(|name| arena.shape(name, true, &Deed::default()));
    let runs = arena.burst(&[own], QUEUED).await;
    let fault = arena.history.apply("nothing is read", [Touched::Worker("w-1".to_owned())]);
    let stalled = arena.history.applied(fault);
    links.of_worker("w-1").iter().for_each(|proxy| proxy.stall(Direction::Replies));
    // What it has under way ends, so that there is room for more, which it never hears of.
    fs::remove_file(gate).expect("a gate is opened once");
    let accepted = runs.iter().filter(|run| run.run != 0).count();
    let before = memory::highest(&arena).unwrap_or_default();
    let load = arena.load(others.into(), 20.0);
    arena.cluster.offline("w-1").await;
    let noticed = Moment::now();
    sleep(STALL.saturating_sub(Moment::now().since(stalled))).await;
    let grown = memory::highest(&arena).unwrap_or_default();
    let grown = grown.saturating_sub(before);
    links.of_worker("w-1").iter().for_each(|proxy| proxy.heal());
    let back = arena.history.heal(fault);
    sleep(Duration::from_secs(3)).await;
    arena.stop(load).await;
    let (evidence, verdict) = arena.conclude().await;
    let spans =
        evidence.accepted().filter(|(_, shape)| shape.target != "w-1").filter_map(|(submission, _)| {
            let done =
                evidence.testimony.of(submission.run).iter().find(|one| one.word == Some(Word::Done))?;
            Some(done.end.since(submission.asked))
        });
    let slowest = spans.max().unwrap_or_default();
    Finding::of(verdict)
        .detected("its session is given up", Some(noticed.since(stalled)), 30)
        .recovered("it works again", evidence.all_at_work_after(back, &["w-1".to_owned()]), 10)
        .demand(accepted == QUEUED, format!("{accepted} of {QUEUED} runs were accepted"))
        .demand(grown < 64 << 20, format!("a server grew by {} MiB", grown >> 20))
        .demand(slowest < Duration::from_secs(5), format!("a run of another worker took {slowest:.1?}"))
        .seen(format!(
            "{QUEUED} runs waited, grown by {} MiB, others took at most {slowest:.1?}",
            grown >> 20
        ))
        .nothing_again()
}
