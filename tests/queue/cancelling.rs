use marabunta_server::queue::{Cancelled, EndingCause, Entry, Hint, Phase, Settled, Step};

use crate::bench::{hinted, ms};
use crate::contract;

contract! {
    async fn a_run_that_waits_ends_when_it_is_cancelled(bench) {
        let ready = bench.enqueue(bench.entry("web-1")).await;
        let due = bench.enqueue(Entry { delay: ms(60_000), expires: Some(ms(1000)), ..bench.entry("web-1") }).await;
        for run in [ready, due] {
            for _ in 0..2 {
                let cancelled = bench.queue.cancel(vec![run]).await.unwrap().remove(0);
                let Cancelled::Ending(ending) = cancelled else { panic!("{cancelled:?}") };
                assert_eq!((ending.record.run, ending.cause), (run, EndingCause::Cancelled));
            }
            let session = bench.connect("web-1").await;
            assert!(bench.take(&session, 9).await.iter().all(|taken| *taken != run));
            bench.settle(run, None, Step::Remove { result: None }).await;
        }
        bench.assert_empty(&[ready, due]).await;
    }

    async fn a_run_in_flight_is_marked_and_its_server_told(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        let mut hints = bench.queue.hints();
        let cancelled = bench.queue.cancel(vec![delivery.run]).await.unwrap().remove(0);
        let Cancelled::InFlight(record) = cancelled else { panic!("{cancelled:?}") };
        assert!(record.cancelled && matches!(record.phase, Phase::InFlight { .. }));
        let hint = Hint::Cancel { worker: session.worker.clone(), run: delivery.run, fence: delivery.fence };
        hinted(&mut hints, &hint).await;
        assert_eq!(bench.finish(&delivery).await, Settled::Settled);
    }

    async fn a_run_to_be_cancelled_is_never_given_out_again(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        bench.queue.cancel(vec![delivery.run]).await.unwrap();
        assert_eq!(bench.again(&delivery, ms(0)).await, Settled::Settled);
        assert!(bench.take(&session, 1).await.is_empty());
        let ending = bench.tick().await.endings.remove(0);
        assert_eq!((ending.record.run, ending.cause), (delivery.run, EndingCause::Cancelled));
        assert_eq!(bench.finish(&delivery).await, Settled::Settled, "its report still wins");
        bench.assert_empty(&[delivery.run]).await;
    }

    async fn a_run_that_is_not_here_cannot_be_cancelled(bench) {
        assert_eq!(bench.queue.cancel(vec![bench.id()]).await.unwrap(), [Cancelled::Unknown]);
    }

    async fn what_was_never_claimed_can_be_withdrawn_without_a_trace(bench) {
        let session = bench.connect("web-1").await;
        let in_flight = bench.deliver(&session).await;
        let ready = bench.enqueue(bench.entry("web-1")).await;
        let due = bench.enqueue(Entry { delay: ms(60_000), expires: Some(ms(9)), ..bench.entry("web-1") }).await;
        let runs = vec![ready, due, in_flight.run, bench.id()];
        assert_eq!(bench.queue.withdraw(runs.clone()).await.unwrap(), [true, true, false, true]);
        assert_eq!(bench.queue.withdraw(runs).await.unwrap(), [true, true, false, true]);
        bench.assert_empty(&[ready, due]).await;
        assert!(bench.take(&session, 9).await.is_empty());
        bench.again(&in_flight, ms(0)).await;
        assert_eq!(bench.queue.withdraw(vec![in_flight.run]).await.unwrap(), [false], "it was claimed once");
    }
}
