use marabunta_server::queue::{Census, Entry, Step};
use marabunta_server::run::{Overlap, Place, Priority, RunId};

use crate::bench::ms;
use crate::contract;

contract! {
    async fn an_empty_queue_has_nothing_in_any_phase(bench) {
        assert_eq!(bench.queue.census().await.unwrap(), Census::default());
    }

    async fn asked_about_nobody_it_answers_nothing(bench) {
        assert!(bench.queue.holding(vec![]).await.unwrap().is_empty());
        assert!(bench.queue.sessions(vec![]).await.unwrap().is_empty());
    }

    async fn every_open_run_is_counted_in_the_phase_it_is_in(bench) {
        let session = bench.connect("web-1").await;
        bench.start(&session).await;
        bench.deliver(&session).await;
        let delayed = bench.start(&session).await;
        bench.again(&delayed, ms(60_000)).await;
        let mut ready = vec![];
        for place in ["web-2", "web-2", "any", "any(role=web)"] {
            ready.push(bench.enqueue(bench.entry(place)).await);
        }
        for _ in 0..3 {
            bench.enqueue(Entry { place: Place::parse("web-3").unwrap(), ..bench.overlapping(Overlap::Queue, "key") }).await;
        }
        let ends = bench.enqueue(bench.entry("web-4")).await;
        bench.queue.cancel(vec![ends]).await.unwrap();
        let census = bench.queue.census().await.unwrap();
        assert_eq!(census, Census { delayed: 1, behind: 2, ready: 5, in_flight: 2, ending: 1, oldest: census.oldest });
        bench.settle(ends, None, Step::Remove { result: None }).await;
        bench.queue.withdraw(ready).await.unwrap();
        let census = bench.queue.census().await.unwrap();
        assert_eq!(census, Census { delayed: 1, behind: 2, ready: 1, in_flight: 2, ending: 0, oldest: census.oldest });
    }

    async fn the_oldest_that_waits_is_found_in_whatever_place_and_urgency(bench) {
        let now = marabunta_server::clock::wall();
        let aged = |seconds: i64, place: &str, priority| {
            let run = RunId::new(now - chrono::TimeDelta::seconds(seconds), 0);
            Entry { run, priority, ..bench.entry(place) }
        };
        let mut oldest = None;
        for (age, place, priority) in [
            (10, "web-5", Priority::Normal),
            (5, "any", Priority::Urgent),
            (20, "web-5", Priority::Low),
            (15, "any(role=web)", Priority::Normal),
            (30, "any(role=web)", Priority::Urgent),
            (40, "a", Priority::Low),
        ] {
            let run = bench.enqueue(aged(age, place, priority)).await;
            if age >= 20 || oldest.is_none() {
                oldest = Some(run);
            }
            assert_eq!(bench.queue.census().await.unwrap().oldest, oldest, "{age} {place}");
        }
        let session = bench.connect("a").await;
        assert_eq!(bench.take(&session, 1).await, Vec::from_iter(oldest));
        assert_ne!(bench.queue.census().await.unwrap().oldest, oldest);
    }
}
