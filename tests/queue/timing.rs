use anyhow::ensure;
use marabunta_server::queue::{EndingCause, Entry, Phase, Settled, Step};
use marabunta_tests::support::eventually;

use crate::bench::{limits, ms};
use crate::contract;

contract! {
    async fn a_run_waits_until_it_is_due(bench) {
        let run = bench.enqueue(Entry { delay: ms(250), ..bench.entry("web-1") }).await;
        let session = bench.connect("web-1").await;
        assert!(bench.take(&session, 1).await.is_empty());
        let Some(Phase::Due(wait)) = bench.phase(run).await else { panic!("it is not due") };
        let next = bench.tick().await.next.unwrap();
        assert!(wait <= ms(250) && next <= ms(250), "{wait:?} {next:?}");
        bench.until("it is ready", run, |phase| *phase == Phase::Ready).await;
        assert_eq!(bench.take(&session, 1).await, [run]);
    }

    async fn those_that_are_due_first_come_first(bench) {
        // In one call, so that they are counted from one moment.
        let entries = [90, 30, 60].map(|delay| Entry { delay: ms(delay), ..bench.ordered("web-1") }).to_vec();
        let runs: Vec<_> = entries.iter().map(|entry| entry.run).collect();
        bench.queue.enqueue(entries).await.unwrap();
        for run in &runs {
            bench.until("it is ready", *run, |phase| *phase == Phase::Ready).await;
        }
        let session = bench.connect("web-1").await;
        assert_eq!(bench.take(&session, 3).await, [runs[1], runs[2], runs[0]]);
    }

    async fn the_next_moment_is_never_more_than_an_hour_away(bench) {
        bench.enqueue(Entry { delay: ms(5 * 3600 * 1000), ..bench.entry("web-1") }).await;
        assert_eq!(bench.tick().await.next, Some(ms(3600 * 1000)));
    }

    async fn a_run_that_nobody_claims_expires(bench) {
        let run = bench.enqueue(Entry { expires: Some(ms(100)), ..bench.entry("web-1") }).await;
        let ending = eventually("it expires", async || {
            bench.tick().await.endings.pop().ok_or_else(|| anyhow::anyhow!("no ending"))
        })
        .await;
        assert_eq!((ending.record.run, ending.cause), (run, EndingCause::Expired));
        assert_eq!(ending.record.phase, Phase::Ending);
        let session = bench.connect("web-1").await;
        assert!(bench.take(&session, 1).await.is_empty());
        assert_eq!(bench.settle(run, None, Step::Remove { result: None }).await, Settled::Settled);
        bench.assert_empty(&[run]).await;
    }

    async fn expiry_counts_from_when_a_run_is_due(bench) {
        let run = bench.enqueue(Entry { delay: ms(60_000), expires: Some(ms(1)), ..bench.entry("web-1") }).await;
        tokio::time::sleep(ms(20)).await;
        assert!(bench.tick().await.endings.is_empty());
        assert!(matches!(bench.phase(run).await, Some(Phase::Due(_))));
    }

    async fn a_claim_does_not_give_out_what_has_expired(bench) {
        let session = bench.connect("web-1").await;
        let run = bench.enqueue(Entry { expires: Some(ms(1)), ..bench.entry("web-1") }).await;
        tokio::time::sleep(ms(20)).await;
        assert!(bench.take(&session, 1).await.is_empty());
        assert_eq!(bench.phase(run).await, Some(Phase::Ending));
    }

    async fn a_run_that_went_back_unaccepted_still_expires(bench) {
        let session = bench.connect("web-1").await;
        bench.enqueue(Entry { expires: Some(ms(400)), ..bench.entry("web-1") }).await;
        let delivery = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        bench.again(&delivery, ms(0)).await;
        bench.until("it expires", delivery.run, |phase| *phase == Phase::Ending).await;
    }

    async fn a_run_that_was_accepted_once_does_not_expire(bench) {
        let session = bench.connect("web-1").await;
        bench.enqueue(Entry { expires: Some(ms(2000)), ..bench.entry("web-1") }).await;
        let delivery = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        assert!(bench.accept(&delivery).await);
        bench.again(&delivery, ms(0)).await;
        assert_eq!(bench.tick().await.next, None, "nothing is to come");
    }

    async fn an_ending_is_offered_again_until_it_is_settled(bench) {
        let run = bench.enqueue(bench.entry("web-1")).await;
        bench.queue.cancel(vec![run]).await.unwrap();
        assert!(bench.tick().await.endings.is_empty(), "who cancelled it has it");
        for _ in 0..2 {
            let ending = eventually("it is offered", async || {
                let tick = bench.tick().await;
                ensure!(tick.next.is_some_and(|next| next <= limits().offer), "next {:?}", tick.next);
                tick.endings.into_iter().next().ok_or_else(|| anyhow::anyhow!("no ending"))
            })
            .await;
            assert_eq!((ending.record.run, ending.cause), (run, EndingCause::Cancelled));
        }
        bench.settle(run, None, Step::Remove { result: None }).await;
        bench.assert_empty(&[run]).await;
    }
}
