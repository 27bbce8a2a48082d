use marabunta_server::queue::{Entry, Hint};
use marabunta_server::run::{Overlap, Place};

use crate::bench::{hinted, ms};
use crate::contract;

contract! {
    async fn a_place_that_was_empty_is_told_to_have_something(bench) {
        let session = bench.connect("web-1").await;
        let mut hints = bench.queue.hints();
        for place in ["web-1", "any(role=web)"] {
            bench.enqueue(bench.entry(place)).await;
            hinted(&mut hints, &Hint::Ready(Place::parse(place).unwrap())).await;
        }
        bench.take(&session, 1).await;
        bench.enqueue(bench.entry("web-1")).await;
        hinted(&mut hints, &Hint::Ready(Place::parse("web-1").unwrap())).await;
    }

    async fn a_run_that_goes_back_or_gets_its_slot_is_told_too(bench) {
        let session = bench.connect("web-1").await;
        let ready = Hint::Ready(Place::parse("web-1").unwrap());
        bench.enqueue(bench.overlapping(Overlap::Queue, "t")).await;
        bench.enqueue(bench.overlapping(Overlap::Queue, "t")).await;
        let delivery = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        let mut hints = bench.queue.hints();
        bench.again(&delivery, ms(0)).await;
        hinted(&mut hints, &ready).await;
        let delivery = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        bench.finish(&delivery).await;
        hinted(&mut hints, &ready).await;
    }

    async fn a_nearer_moment_is_told(bench) {
        let mut hints = bench.queue.hints();
        for delay in [60_000, 30_000] {
            bench.enqueue(Entry { delay: ms(delay), ..bench.entry("web-1") }).await;
            hinted(&mut hints, &Hint::Due).await;
        }
    }

    async fn who_follows_a_run_is_told_of_every_change(bench) {
        let session = bench.connect("web-1").await;
        let run = bench.enqueue(bench.entry("web-1")).await;
        bench.queue.follow(run).await.unwrap();
        let mut hints = bench.queue.hints();
        let changed = Hint::Changed(run);
        let delivery = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        hinted(&mut hints, &changed).await;
        bench.accept(&delivery).await;
        hinted(&mut hints, &changed).await;
        bench.queue.nudge(vec![bench.id(), run]).await.unwrap();
        hinted(&mut hints, &changed).await;
        bench.queue.cancel(vec![run]).await.unwrap();
        hinted(&mut hints, &changed).await;
        bench.finish(&delivery).await;
        hinted(&mut hints, &changed).await;
        bench.queue.nudge(vec![run]).await.unwrap();
        assert_silent(&bench, &mut hints).await;
    }

    async fn a_run_that_nobody_follows_makes_no_noise(bench) {
        let session = bench.connect("web-1").await;
        bench.enqueue(bench.entry("web-1")).await;
        let delivery = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        let mut hints = bench.queue.hints();
        // What was told of the run's arrival may still be under way.
        let drain = Hint::Drain { worker: session.worker.clone(), draining: false };
        bench.queue.announce(drain.clone()).await.unwrap();
        hinted(&mut hints, &drain).await;
        bench.accept(&delivery).await;
        bench.queue.nudge(vec![delivery.run]).await.unwrap();
        bench.finish(&delivery).await;
        assert_silent(&bench, &mut hints).await;
    }

    async fn an_announcement_reaches_those_who_listen(bench) {
        let mut hints = bench.queue.hints();
        let hint = Hint::Drain { worker: "web-1".parse().unwrap(), draining: true };
        bench.queue.announce(hint.clone()).await.unwrap();
        hinted(&mut hints, &hint).await;
    }
}

/// Nothing was told before what is announced now.
async fn assert_silent(bench: &crate::bench::Bench, hints: &mut tokio::sync::broadcast::Receiver<Hint>) {
    let last = Hint::Drain { worker: "last".parse().unwrap(), draining: true };
    bench.queue.announce(last.clone()).await.unwrap();
    assert_eq!(hints.recv().await.unwrap(), last);
}
