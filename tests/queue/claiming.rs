use std::collections::HashSet;

use marabunta_server::queue::{Entry, Phase, SessionId};
use marabunta_server::run::{Fence, Place, Priority};

use uuid::Uuid;

use crate::bench::{claim, session};
use crate::contract;

contract! {
    async fn the_most_urgent_come_first_and_among_them_the_oldest(bench) {
        let mut expected = vec![];
        for priority in [Priority::Normal, Priority::Low, Priority::Urgent, Priority::High, Priority::Normal, Priority::Urgent] {
            let run = bench.enqueue(Entry { priority, ..bench.ordered("web-1") }).await;
            expected.push((priority, run));
        }
        expected.sort_by_key(|(priority, _)| std::cmp::Reverse(*priority));
        let session = bench.connect("web-1").await;
        let expected: Vec<_> = expected.into_iter().map(|(_, run)| run).collect();
        assert_eq!(bench.take(&session, 10).await, expected);
    }

    async fn a_batch_keeps_its_order(bench) {
        let entries: Vec<_> = (0..150).map(|_| bench.ordered("web-1")).collect();
        let runs: Vec<_> = entries.iter().map(|entry| entry.run).collect();
        bench.queue.enqueue(entries).await.unwrap();
        let session = bench.connect("web-1").await;
        assert_eq!(bench.take(&session, 70).await, runs[..70]);
        assert_eq!(bench.take(&session, 100).await, runs[70..]);
    }

    async fn a_burst_larger_than_the_credit_says_that_there_is_more(bench) {
        let entries: Vec<_> = (0..130).map(|_| bench.entry("web-1")).collect();
        let runs: HashSet<_> = entries.iter().map(|entry| entry.run).collect();
        bench.queue.enqueue(entries).await.unwrap();
        let session = bench.connect("web-1").await;
        let first = bench.claim(&session, "web-1", 100).await;
        assert_eq!((first.deliveries.len(), first.more), (100, true));
        let second = bench.claim(&session, "web-1", 100).await;
        assert_eq!((second.deliveries.len(), second.more), (30, false));
        let taken: HashSet<_> = first.deliveries.iter().chain(&second.deliveries).map(|one| one.run).collect();
        assert_eq!(taken, runs);
    }

    async fn a_claim_says_when_the_session_is_not_known_and_takes_nothing(bench) {
        let session = bench.connect("web-1").await;
        bench.enqueue(bench.entry("web-1")).await;
        let stranger = marabunta_server::queue::Session {
            id: marabunta_server::queue::SessionId(uuid::Uuid::new_v4()),
            ..session.clone()
        };
        let nothing = bench.claim(&stranger, "web-1", 1).await;
        assert_eq!((nothing.unknown, nothing.deliveries.len()), (true, 0));
        let taken = bench.claim(&session, "web-1", 1).await;
        assert_eq!((taken.unknown, taken.deliveries.len()), (false, 1));
    }

    async fn a_claimed_run_is_in_flight_and_no_longer_ready(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.deliver(&session).await;
        let record = bench.look(delivery.run).await.unwrap();
        let Phase::InFlight { worker, session: holder, server, accepted } = record.phase else { panic!("{record:?}") };
        assert_eq!((worker, holder, server.as_str(), accepted), (session.worker.clone(), session.id, "server-1", false));
        assert_eq!((record.fence, record.attempt), (Some(delivery.fence), 1));
        assert_eq!(delivery.body, format!("body of {}", delivery.run));
        assert_eq!(bench.queue.depth(Place::parse("web-1").unwrap()).await.unwrap(), 0);
    }

    async fn what_was_given_to_a_session_and_not_accepted_can_be_asked_for(bench) {
        let (one, two) = (bench.connect("web-1").await, bench.connect("web-2").await);
        let mut given = vec![];
        for _ in 0..3 {
            let delivery = bench.deliver(&one).await;
            given.push((delivery.run, delivery.fence));
        }
        let other = bench.deliver(&two).await;
        assert_eq!(bench.queue.accept(vec![given.remove(1)]).await.unwrap(), [true]);
        given.sort_unstable();
        let gone = (one.worker.clone(), SessionId(Uuid::new_v4()));
        let sessions = vec![(one.worker, one.id), gone, (two.worker, two.id)];
        let mut unaccepted = bench.queue.unaccepted(sessions).await.unwrap();
        unaccepted[0].sort_unstable();
        assert_eq!(unaccepted, [given, vec![], vec![(other.run, other.fence)]]);
    }

    async fn two_claims_in_one_call_never_get_the_same_run(bench) {
        let (one, two) = (bench.connect("web-1").await, bench.connect("web-2").await);
        bench.queue.enqueue((0..5).map(|_| bench.ordered("any(role=web)")).collect()).await.unwrap();
        let place = "any(role=web)";
        let claimed = bench.queue.claim(vec![claim(&one, place, 3), claim(&two, place, 3)]).await.unwrap();
        assert_eq!((claimed[0].deliveries.len(), claimed[1].deliveries.len()), (3, 2));
        assert!(!claimed[1].more);
        let runs: HashSet<_> = claimed.iter().flat_map(|one| &one.deliveries).map(|one| one.run).collect();
        assert_eq!(runs.len(), 5);
    }

    async fn a_session_that_is_not_live_gets_nothing(bench) {
        let run = bench.enqueue(bench.entry("web-1")).await;
        let stranger = session("web-1");
        assert!(bench.take(&stranger, 1).await.is_empty());
        let old = bench.connect("web-1").await;
        let new = bench.connect("web-1").await;
        assert!(bench.take(&old, 1).await.is_empty(), "superseded");
        bench.queue.close(new.worker.clone(), new.id).await.unwrap();
        assert!(bench.take(&new, 1).await.is_empty(), "closed");
        let back = bench.connect("web-1").await;
        assert_eq!(bench.take(&back, 1).await, [run], "what waited before anybody came is there");
    }

    async fn fences_only_grow(bench) {
        let session = bench.connect("web-1").await;
        let mut last = bench.deliver(&session).await.fence;
        for floor in [last.0 - 1000, last.0 + 3_600_000_000] {
            bench.queue.raise_fence(Fence(floor)).await.unwrap();
            for _ in 0..3 {
                let delivery = bench.deliver(&session).await;
                // Shards count on their own; what counts is that a floor holds for all and a run's own fences grow.
                assert!(delivery.fence.0 >= floor && (bench.queue.shards() > 1 || delivery.fence > last));
                last = delivery.fence;
                bench.again(&delivery, std::time::Duration::ZERO).await;
                let next = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
                assert_eq!((next.run, next.attempt), (delivery.run, 2));
                assert!(next.fence > delivery.fence);
            }
        }
    }

    async fn a_run_that_went_back_regains_its_turn(bench) {
        let session = bench.connect("web-1").await;
        let first = bench.enqueue(bench.ordered("web-1")).await;
        let delivery = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        let second = bench.enqueue(bench.ordered("web-1")).await;
        bench.again(&delivery, std::time::Duration::ZERO).await;
        assert_eq!(bench.take(&session, 2).await, [first, second]);
    }
}
