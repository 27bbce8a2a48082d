//! Disks without room.

use std::time::Duration;

use tokio::time::sleep;

use super::super::arena::{ALL, Arena};
use super::super::deed::Deed;
use super::super::disk::Disk;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::moment::Moment;
use crate::support::Backend;

const SLOTS: usize = 4;

/// The spool of a worker cannot be written: it takes nothing new, keeps what it has, and is well when there is room again.
pub async fn spool_full(backend: Backend) -> Finding {
    let disk = Disk::new(1 << 20);
    let spool = disk.path().join("spool");
    let mut arena = Arena::on(backend).witness(|worker| worker.spool(spool)).witnesses(2).start().await;
    let mix = arena.mix(&Deed { output: 2_000, ..Deed::taking(Duration::from_millis(500)) });
    let load = arena.load(mix, 8.0);
    let anywhere = arena.shape(&format!("any({ALL})"), true, &Deed::default());
    let more = arena.load(vec![anywhere], 5.0);
    arena
        .until("w-1 is at work", |testimony, one| testimony.worker(one) == "w-1" && one.word.is_none())
        .await;
    let fault = arena.history.apply("spool full", [Touched::Worker("w-1".to_owned())]);
    let full = arena.history.applied(fault);
    // What it lets go of is taken as well.
    while Moment::now().since(full) < Duration::from_secs(15) {
        disk.fill();
        sleep(Duration::from_millis(100)).await;
    }
    // It notices when it writes; what it had said before that it could take may still come then, and no more.
    let testimony = arena.testimony();
    let late = full.plus(Duration::from_secs(2));
    let taken =
        testimony.executions.iter().filter(|one| testimony.worker(one) == "w-1" && one.start > late).count();
    disk.free();
    let back = arena.history.heal(fault);
    sleep(Duration::from_secs(8)).await;
    arena.stop(load).await;
    arena.stop(more).await;
    let alive = arena.worker("w-1").is_running();
    let (evidence, verdict) = arena.conclude().await;
    Finding::of(verdict)
        .recovered("it works again", evidence.all_at_work_after(back, &["w-1".to_owned()]), 10)
        .demand(alive, "the worker has ended")
        .demand(taken <= SLOTS, format!("it took {taken} runs while its spool was full"))
        .seen(format!("{taken} runs taken while it was full, with {SLOTS} slots"))
        .nothing_again()
}
