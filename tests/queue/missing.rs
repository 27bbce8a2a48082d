//! What was due while nobody ticked.

use marabunta_server::queue::{Cancelled, Entry, Phase, Record, Restored, Settled, Step};
use marabunta_server::run::{Counters, Fence, Overlap, RunId};
use marabunta_tests::support::eventually;

use crate::bench::{Bench, LATE, limits, ms, session};
use crate::contract;

const GO: Step = Step::Again {
    delay: std::time::Duration::ZERO,
    counters: Counters { failed: 0, lost: 0, unaccepted: 0 },
    attempt: 0,
};

/// Two runs in the first shard that nobody lets go until the first is too late, and the second is not.
async fn missed(bench: &Bench) -> (RunId, RunId) {
    let first = bench.enqueue(Entry { delay: ms(1), ..bench.ordered("web-1") }).await;
    let second = bench.enqueue(Entry { delay: LATE - ms(100), ..bench.ordered("web-1") }).await;
    tokio::time::sleep(LATE + ms(10)).await;
    (first, second)
}

fn ids(records: &[Record]) -> Vec<RunId> {
    records.iter().map(|record| record.run).collect()
}

contract! {
    async fn what_is_due_while_nobody_ticks_is_not_let_go_before_it_was_judged(bench) {
        let (first, second) = missed(&bench).await;
        let session = bench.connect("web-1").await;
        let tick = bench.tick().await;
        let mut found = ids(&tick.missed);
        found.sort_by_key(|run| *run != first);
        assert_eq!((found, tick.released), (vec![first, second], vec![]));
        assert!(bench.take(&session, 9).await.is_empty());
        assert_eq!(bench.phase(first).await, Some(Phase::Missed));
        assert_eq!(bench.settle(first, None, Step::Remove { result: None }).await, Settled::Settled);
        assert_eq!(bench.settle(second, None, GO).await, Settled::Settled);
        assert_eq!(bench.settle(second, None, GO).await, Settled::Already);
        assert_eq!(bench.take(&session, 9).await, [second]);
    }

    async fn what_was_missed_is_offered_until_it_is_judged(bench) {
        let (first, second) = missed(&bench).await;
        assert_eq!(bench.tick().await.missed.len(), 2);
        let again = eventually("it is offered again", async || {
            let tick = bench.tick().await;
            anyhow::ensure!(!tick.missed.is_empty() && tick.next.is_some_and(|next| next <= limits().offer), "{tick:?}");
            Ok(tick.missed)
        })
        .await;
        assert_eq!(again.len(), 2);
        assert!(matches!(bench.queue.cancel(vec![first]).await.unwrap()[..], [Cancelled::Ending(_)]));
        assert_eq!(bench.queue.withdraw(vec![second]).await.unwrap(), [true]);
        bench.settle(first, None, Step::Remove { result: None }).await;
        bench.assert_empty(&[first, second]).await;
    }

    async fn what_waits_for_a_worker_or_for_its_next_attempt_was_not_missed(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        bench.again(&delivery, ms(1)).await;
        let ready = bench.enqueue(bench.ordered("web-2")).await;
        tokio::time::sleep(LATE + ms(10)).await;
        let tick = bench.tick().await;
        assert_eq!((tick.missed, tick.released.len()), (vec![], 1));
        assert_eq!(bench.phase(delivery.run).await, Some(Phase::Ready));
        assert_eq!(bench.phase(ready).await, Some(Phase::Ready));
    }

    async fn what_is_let_go_in_time_is_said(bench) {
        assert!(bench.tick().await.released.is_empty());
        let run = bench.enqueue(Entry { delay: ms(20), ..bench.entry("web-1") }).await;
        eventually("it is let go", async || {
            let tick = bench.tick().await;
            anyhow::ensure!(!tick.released.is_empty(), "{tick:?}");
            assert!(tick.missed.is_empty());
            Ok(())
        })
        .await;
        assert_eq!(bench.phase(run).await, Some(Phase::Ready));
    }

    async fn what_was_missed_gets_its_slot_when_it_is_let_go(bench) {
        let first = bench.enqueue(Entry { delay: ms(1), ..bench.overlapping(Overlap::Queue, "t") }).await;
        let second = bench.enqueue(Entry { delay: ms(2), ..bench.overlapping(Overlap::Queue, "t") }).await;
        tokio::time::sleep(LATE + ms(10)).await;
        assert_eq!(bench.tick().await.missed.len(), 2);
        bench.settle(second, None, GO).await;
        bench.settle(first, None, GO).await;
        assert_eq!(bench.phase(second).await, Some(Phase::Ready));
        assert_eq!(bench.phase(first).await, Some(Phase::Behind));
    }

    async fn what_the_store_knows_was_missed_is_held_back_unless_a_worker_has_it(bench) {
        let restored = |missed: bool| {
            let entry = Entry { delay: ms(100), ..bench.ordered("web-1") };
            Restored { entry, counters: Counters::default(), attempt: 0, fence: None, held: None, unsure: false, missed }
        };
        let (held, left, other) = (restored(true), restored(true), restored(false));
        let runs = [held.entry.run, left.entry.run, other.entry.run];
        bench.queue.restore(vec![held, left, other]).await.unwrap();
        let opened = bench.open(&session("web-1"), vec![(runs[0], Fence(7))]).await;
        assert_eq!(ids(&opened.adopted), [runs[0]]);
        let mut missed = vec![];
        eventually("both are found", async || {
            missed.extend(ids(&bench.tick().await.missed));
            anyhow::ensure!(bench.phase(runs[2]).await == Some(Phase::Ready) && !missed.is_empty(), "{missed:?}");
            Ok(())
        })
        .await;
        missed.dedup();
        assert_eq!(missed, [runs[1]]);
        assert!(matches!(bench.phase(runs[0]).await, Some(Phase::InFlight { accepted: true, .. })));
    }
}
