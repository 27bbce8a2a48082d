//! The database dies.

use std::time::Duration;

use tokio::time::sleep;
use tonic::Code;

use super::super::arena::{ALL, Arena};
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::moment::Moment;
use super::super::testimony::Word;
use crate::support::Backend;

/// How many durable runs are asked for, once each, while there is no database.
const ASKED: usize = 6;

/// Fast runs go on without it, durable ones wait for it.
pub async fn killed(backend: Backend) -> Finding {
    let mut arena = Arena::on(backend).servers(2).witnesses(4).start().await;
    let mix = arena.mix(&Deed::taking(Duration::from_millis(20)));
    let long = arena.mix(&Deed::taking(Duration::from_secs(3)));
    let fast = arena.shape(&format!("any({ALL})"), false, &Deed::default());
    let loads = [arena.load(mix, 20.0), arena.load(long, 3.0), arena.load(vec![fast.clone()], 10.0)];
    sleep(Duration::from_secs(3)).await;
    let fault = arena.history.end("kill -9", [Touched::Store]);
    let gone = arena.history.applied(fault);
    arena.cluster.mariadb().kill();
    let durable = arena.shape(&format!("any({ALL})"), true, &Deed::default());
    let answers = arena.ask(&durable, ASKED).await;
    sleep(Duration::from_secs(5).saturating_sub(Moment::now().since(gone))).await;
    arena.cluster.mariadb().restart().await;
    let back = arena.history.heal(fault);
    sleep(Duration::from_secs(5)).await;
    for load in loads {
        arena.stop(load).await;
    }
    let (evidence, verdict) = arena.conclude().await;
    let meanwhile = evidence.accepted().filter(|(submission, shape)| {
        let executions = evidence.testimony.of(submission.run).iter();
        let done = |end| end > gone && end < back;
        !shape.durable
            && submission.asked > gone
            && executions.filter(|one| one.word == Some(Word::Done)).any(|one| done(one.end))
    });
    let meanwhile = meanwhile.count();
    Finding::of(verdict)
        .recovered("the first new run is done", evidence.first_end_after(back), 5)
        .demand(
            answers == [Code::Unavailable; ASKED],
            format!("{ASKED} durable submits without a database were answered {answers:?}"),
        )
        .demand(meanwhile > 0, "no fast run was done while the database was away")
        .seen(format!("{meanwhile} fast runs asked for and done without it"))
        .nothing_again()
}
