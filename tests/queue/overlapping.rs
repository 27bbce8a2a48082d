use std::collections::BTreeSet;

use marabunta_server::queue::{Cancelled, EndingCause, Entry, Hint, Phase, Step};
use marabunta_server::run::{Overlap, Place};

use crate::bench::{hinted, ms};
use crate::contract;

contract! {
    async fn runs_that_may_overlap_do(bench) {
        bench.enqueue(bench.overlapping(Overlap::Allow, "t")).await;
        let second = bench.enqueue(bench.overlapping(Overlap::Allow, "t")).await;
        assert_eq!(bench.phase(second).await, Some(Phase::Ready));
    }

    async fn a_run_that_would_overlap_is_skipped(bench) {
        let first = bench.enqueue(bench.overlapping(Overlap::Skip, "t")).await;
        let second = bench.enqueue(bench.overlapping(Overlap::Skip, "t")).await;
        let elsewhere = Entry { place: Place::parse("web-2").unwrap(), ..bench.overlapping(Overlap::Skip, "t") };
        let third = bench.enqueue(elsewhere).await;
        let other = bench.enqueue(bench.overlapping(Overlap::Skip, "u")).await;
        let endings = bench.tick().await.endings;
        assert!(endings.iter().all(|ending| ending.cause == EndingCause::Overlapped));
        let skipped: BTreeSet<_> = endings.iter().map(|ending| ending.record.run).collect();
        assert_eq!(skipped, [second, third].into());
        for run in [first, other] {
            assert_eq!(bench.phase(run).await, Some(Phase::Ready));
        }
    }

    async fn those_that_queue_go_one_after_the_other_in_order(bench) {
        let session = bench.connect("web-1").await;
        let mut runs = vec![];
        for _ in 0..4 {
            runs.push(bench.enqueue(bench.overlapping(Overlap::Queue, "t")).await);
        }
        assert_eq!(bench.phase(runs[1]).await, Some(Phase::Behind));
        for run in &runs {
            let claimed = bench.claim(&session, "web-1", 9).await;
            assert_eq!(claimed.deliveries.iter().map(|one| one.run).collect::<Vec<_>>(), [*run]);
            bench.finish(&claimed.deliveries[0]).await;
        }
        bench.assert_empty(&runs).await;
    }

    async fn a_slot_is_held_while_its_run_waits_for_a_retry(bench) {
        let session = bench.connect("web-1").await;
        let first = bench.enqueue(bench.overlapping(Overlap::Queue, "t")).await;
        let second = bench.enqueue(bench.overlapping(Overlap::Queue, "t")).await;
        let delivery = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        bench.again(&delivery, ms(50)).await;
        bench.until("the first is ready", first, |phase| *phase == Phase::Ready).await;
        assert_eq!(bench.phase(second).await, Some(Phase::Behind));
    }

    async fn a_slot_is_held_until_the_end_of_its_run_is_settled(bench) {
        let first = bench.enqueue(bench.overlapping(Overlap::Queue, "t")).await;
        let second = bench.enqueue(bench.overlapping(Overlap::Queue, "t")).await;
        bench.queue.cancel(vec![first]).await.unwrap();
        assert_eq!(bench.phase(second).await, Some(Phase::Behind));
        bench.settle(first, None, Step::Remove { result: None }).await;
        assert_eq!(bench.phase(second).await, Some(Phase::Ready));
    }

    async fn who_leaves_the_line_is_passed_over(bench) {
        let mut runs = vec![];
        for _ in 0..4 {
            runs.push(bench.enqueue(bench.overlapping(Overlap::Queue, "t")).await);
        }
        bench.queue.cancel(vec![runs[1]]).await.unwrap();
        assert_eq!(bench.queue.withdraw(vec![runs[0], runs[2]]).await.unwrap(), [true, true]);
        assert_eq!(bench.phase(runs[3]).await, Some(Phase::Ready));
    }

    async fn the_latest_replaces_those_that_wait(bench) {
        let first = bench.enqueue(bench.overlapping(Overlap::Replace, "t")).await;
        let second = bench.enqueue(bench.overlapping(Overlap::Replace, "t")).await;
        let third = bench.enqueue(bench.overlapping(Overlap::Replace, "t")).await;
        let mut endings: Vec<_> = bench.tick().await.endings.iter().map(|one| (one.record.run, one.cause)).collect();
        endings.sort_by_key(|(run, _)| *run != first);
        assert_eq!(endings, [(first, EndingCause::Replaced), (second, EndingCause::Replaced)]);
        assert_eq!(bench.phase(third).await, Some(Phase::Behind));
        bench.settle(first, None, Step::Remove { result: None }).await;
        assert_eq!(bench.phase(third).await, Some(Phase::Ready));
    }

    async fn the_latest_of_one_call_replaces_the_others(bench) {
        let entries: Vec<_> = (0..4).map(|_| bench.overlapping(Overlap::Replace, "t")).collect();
        let runs: Vec<_> = entries.iter().map(|entry| entry.run).collect();
        bench.queue.enqueue(entries).await.unwrap();
        assert_eq!(bench.tick().await.endings.len(), 3);
        assert_eq!(bench.phase(runs[3]).await, Some(Phase::Behind));
        bench.queue.withdraw(vec![runs[3]]).await.unwrap();
    }

    async fn a_replaced_run_in_flight_is_cancelled_before_the_latest_runs(bench) {
        let session = bench.connect("web-1").await;
        bench.enqueue(bench.overlapping(Overlap::Replace, "t")).await;
        let delivery = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        let mut hints = bench.queue.hints();
        let second = bench.enqueue(bench.overlapping(Overlap::Replace, "t")).await;
        let hint = Hint::Cancel { worker: session.worker.clone(), run: delivery.run, fence: delivery.fence };
        hinted(&mut hints, &hint).await;
        assert!(bench.look(delivery.run).await.unwrap().cancelled);
        assert!(bench.take(&session, 1).await.is_empty());
        bench.finish(&delivery).await;
        assert_eq!(bench.take(&session, 1).await, [second]);
    }

    async fn overlap_is_decided_when_a_run_is_due(bench) {
        let later = Entry { delay: ms(60), ..bench.overlapping(Overlap::Skip, "t") };
        let later = bench.enqueue(later).await;
        let first = bench.enqueue(bench.overlapping(Overlap::Skip, "t")).await;
        assert_eq!(bench.phase(first).await, Some(Phase::Ready));
        bench.until("the later is skipped", later, |phase| *phase == Phase::Ending).await;
        let cancelled = bench.queue.cancel(vec![later]).await.unwrap().remove(0);
        assert!(matches!(cancelled, Cancelled::Ending(ending) if ending.cause == EndingCause::Overlapped));
    }
}
