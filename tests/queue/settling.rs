use std::time::Duration;

use bytes::Bytes;
use marabunta_server::queue::{Phase, Settled, Step};
use marabunta_server::run::{Counters, Fence};

use crate::bench::ms;
use crate::contract;

contract! {
    async fn a_finished_run_is_gone_and_its_result_is_kept(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        let result = Bytes::from_static(b"\x00\xff result");
        let step = Step::Remove { result: Some(result.clone()) };
        assert_eq!(bench.settle(delivery.run, Some(delivery.fence), step).await, Settled::Settled);
        assert_eq!(bench.queue.results(vec![bench.id(), delivery.run]).await.unwrap(), [None, Some(result)]);
        bench.assert_empty(&[delivery.run]).await;
    }

    async fn accepting_is_told_by_the_fence(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.deliver(&session).await;
        let runs = vec![
            (delivery.run, Fence(delivery.fence.0 - 1)),
            (delivery.run, delivery.fence),
            (delivery.run, delivery.fence),
            (bench.id(), delivery.fence),
        ];
        assert_eq!(bench.queue.accept(runs).await.unwrap(), [false, true, true, false]);
        assert!(matches!(bench.phase(delivery.run).await, Some(Phase::InFlight { accepted: true, .. })));
    }

    async fn an_acceptance_that_comes_late_still_counts_before_the_next_claim(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.deliver(&session).await;
        bench.again(&delivery, Duration::ZERO).await;
        assert!(bench.accept(&delivery).await);
        assert!(bench.take(&session, 1).await.is_empty(), "it is not given out twice");

        let delivery = bench.deliver(&session).await;
        bench.again(&delivery, Duration::ZERO).await;
        assert_eq!(bench.take(&session, 1).await, [delivery.run]);
        assert!(!bench.accept(&delivery).await, "after the next claim it does not");
    }

    async fn an_acceptance_that_comes_after_the_end_does_not_count(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.deliver(&session).await;
        let counters = Counters { failed: 1, ..Counters::default() };
        let step = Step::Again { delay: Duration::ZERO, counters, attempt: 1 };
        assert_eq!(bench.settle(delivery.run, Some(delivery.fence), step).await, Settled::Settled);
        assert!(!bench.accept(&delivery).await, "it has failed, and its worker has it no longer");
        assert_eq!(bench.take(&session, 1).await, [delivery.run]);
    }

    async fn an_earlier_fence_changes_nothing(bench) {
        let session = bench.connect("web-1").await;
        let old = bench.start(&session).await;
        bench.again(&old, Duration::ZERO).await;
        let new = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        let before = bench.look(old.run).await;
        assert_eq!(bench.finish(&old).await, Settled::Stale);
        assert_eq!(bench.again(&old, ms(1000)).await, Settled::Stale);
        assert_eq!(bench.look(old.run).await, before);
        assert_eq!(bench.finish(&new).await, Settled::Settled);
    }

    async fn settling_twice_changes_nothing(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        assert_eq!(bench.again(&delivery, Duration::ZERO).await, Settled::Settled);
        let before = bench.look(delivery.run).await;
        assert_eq!(bench.again(&delivery, Duration::ZERO).await, Settled::Already, "it counts once");
        assert_eq!(bench.look(delivery.run).await, before);
        assert_eq!(bench.finish(&delivery).await, Settled::Settled);
        assert_eq!(bench.finish(&delivery).await, Settled::Unknown);
        bench.assert_empty(&[delivery.run]).await;
    }

    async fn a_report_after_the_run_went_back_wins_until_the_next_claim(bench) {
        let session = bench.connect("web-1").await;
        for delay in [Duration::ZERO, ms(60_000)] {
            let delivery = bench.start(&session).await;
            bench.again(&delivery, delay).await;
            assert_eq!(bench.finish(&delivery).await, Settled::Settled);
            bench.assert_empty(&[delivery.run]).await;
        }
        assert!(bench.take(&session, 9).await.is_empty());
    }

    async fn a_failure_reported_after_the_run_went_back_still_counts(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        bench.again(&delivery, Duration::ZERO).await;
        let counters = Counters { failed: 1, ..Counters::default() };
        let step = Step::Again { delay: ms(60_000), counters, attempt: 1 };
        assert_eq!(bench.settle(delivery.run, Some(delivery.fence), step).await, Settled::Settled);
        let record = bench.look(delivery.run).await.unwrap();
        assert!(matches!(record.phase, Phase::Due(_)), "{record:?}");
        assert_eq!(record.counters, counters);
        assert!(bench.take(&session, 1).await.is_empty());
    }

    async fn without_a_fence_a_run_is_settled_whatever_its_fence(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        assert_eq!(bench.settle(delivery.run, None, Step::Remove { result: None }).await, Settled::Settled);
        bench.assert_empty(&[delivery.run]).await;
    }

    async fn a_run_that_is_not_here_is_unknown(bench) {
        let step = Step::Remove { result: None };
        assert_eq!(bench.settle(bench.id(), Some(Fence(7)), step).await, Settled::Unknown);
    }

    async fn what_a_run_has_behind_it_stays_with_it(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        let counters = Counters { failed: 2, lost: 1, unaccepted: 7 };
        bench.settle(delivery.run, Some(delivery.fence), Step::Again { delay: Duration::ZERO, counters, attempt: 1 }).await;
        let second = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        let record = bench.look(second.run).await.unwrap();
        assert_eq!((record.counters, record.attempt, second.attempt), (counters, 2, 2));
    }
}
