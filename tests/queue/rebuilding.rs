use marabunta_server::queue::{Admission, Entry, Phase, Restored, Settled, Settlement, Step};
use marabunta_server::run::{Counters, Fence, Overlap};

use crate::bench::{ms, name, session};
use crate::contract;

fn restored(entry: Entry) -> Restored {
    Restored {
        entry,
        counters: Counters::default(),
        attempt: 0,
        fence: None,
        held: None,
        unsure: false,
        missed: false,
    }
}

contract! {
    async fn a_new_queue_is_empty_handed_until_somebody_has_rebuilt_it(bench) {
        assert!(bench.queue.is_empty_handed().await.unwrap());
        assert!(bench.queue.begin_rebuild(ms(60_000)).await.unwrap());
        assert!(!bench.queue.begin_rebuild(ms(60_000)).await.unwrap(), "one at a time");
        assert!(bench.queue.is_empty_handed().await.unwrap());
        bench.queue.finish_rebuild().await.unwrap();
        assert!(!bench.queue.is_empty_handed().await.unwrap());
        assert!(bench.queue.begin_rebuild(ms(60_000)).await.unwrap(), "the right is free again");
    }

    async fn the_right_to_rebuild_ends_with_its_life(bench) {
        assert!(bench.queue.begin_rebuild(ms(30)).await.unwrap());
        tokio::time::sleep(ms(60)).await;
        assert!(bench.queue.begin_rebuild(ms(30)).await.unwrap());
    }

    async fn a_restored_run_has_what_it_had_behind_it(bench) {
        let counters = Counters { failed: 1, lost: 2, unaccepted: 3 };
        let far = Fence(marabunta_server::clock::wall().timestamp_micros() as u64 + 3_600_000_000);
        let entry = bench.entry("web-1");
        let run = entry.run;
        let once = Restored { counters, attempt: 4, fence: Some(far), ..restored(entry) };
        assert_eq!(bench.queue.restore(vec![once.clone()]).await.unwrap(), 1);
        assert_eq!(bench.queue.restore(vec![once]).await.unwrap(), 0);
        let record = bench.look(run).await.unwrap();
        assert_eq!((record.phase, record.counters, record.attempt, record.fence), (Phase::Ready, counters, 4, Some(far)));
        let session = bench.connect("web-1").await;
        let delivery = bench.claim(&session, "web-1", 9).await.deliveries.remove(0);
        assert_eq!(delivery.attempt, 5);
        assert!(delivery.fence > far);
        assert!(bench.take(&session, 9).await.is_empty());
    }

    async fn what_has_ended_is_not_entered_again_while_its_result_is_kept(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        let ended = crate::bench::entry(delivery.run, "web-1");
        let step = Step::Remove { result: Some("how it ended".into()) };
        let settlement = Settlement { run: delivery.run, fence: Some(delivery.fence), step };
        assert_eq!(bench.queue.settle(vec![settlement]).await.unwrap(), [Settled::Settled]);
        // The store has not heard of its end: it may still say that a worker has it.
        let held = Restored { held: Some(name("web-1")), fence: Some(delivery.fence), ..restored(ended.clone()) };
        let other = bench.entry("web-1");
        let open = other.run;
        assert_eq!(bench.queue.restore(vec![held, restored(ended), restored(other)]).await.unwrap(), 1);
        assert!(bench.look(delivery.run).await.is_none());
        assert!(bench.look(open).await.is_some());
    }

    async fn what_was_restored_is_not_queued_again_by_whoever_comes_late_with_it(bench) {
        let session = bench.connect("web-1").await;
        let entry = bench.entry("web-1");
        let run = entry.run;
        bench.queue.restore(vec![restored(entry.clone())]).await.unwrap();
        bench.open(&session, vec![]).await;
        let delivery = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        assert_eq!(bench.finish(&delivery).await, Settled::Settled);
        assert_eq!(bench.queue.enqueue(vec![entry]).await.unwrap(), [Admission::Duplicate]);
        assert!(bench.look(run).await.is_none());
        assert_eq!(bench.queue.results(vec![run]).await.unwrap(), [None], "how it ended is for the store to say");
        assert_eq!(bench.queue.restore(vec![restored(crate::bench::entry(run, "web-1"))]).await.unwrap(), 1, "and whether");
    }

    async fn what_a_worker_holds_and_the_queue_forgot_is_the_attempt_after_all_that_are_known(bench) {
        let entry = bench.entry("web-1");
        let run = entry.run;
        bench.queue.restore(vec![Restored { attempt: 1, fence: Some(Fence(77)), ..restored(entry) }]).await.unwrap();
        let session = session("web-1");
        for _ in 0..2 {
            bench.open(&session, vec![(run, Fence(78))]).await;
            let record = bench.look(run).await.unwrap();
            assert_eq!((record.attempt, record.fence), (2, Some(Fence(78))));
        }
    }

    async fn a_run_that_has_begun_in_an_attempt_that_was_forgotten_does_not_expire(bench) {
        let entry = Entry { expires: Some(ms(30)), ..bench.entry("web-1") };
        let run = entry.run;
        bench.queue.restore(vec![restored(entry)]).await.unwrap();
        let step = Step::Again { delay: ms(1), counters: Counters { failed: 1, ..Counters::default() }, attempt: 1 };
        assert_eq!(bench.settle(run, Some(Fence(77)), step).await, Settled::Settled);
        tokio::time::sleep(ms(60)).await;
        assert!(bench.queue.tick().await.unwrap().endings.is_empty());
        assert_eq!(bench.phase(run).await, Some(Phase::Ready));
    }

    async fn attempts_go_on_from_one_that_was_forgotten(bench) {
        let entry = bench.entry("web-1");
        let run = entry.run;
        let far = Fence(marabunta_server::clock::wall().timestamp_micros() as u64 + 3_600_000_000);
        bench.queue.restore(vec![restored(entry)]).await.unwrap();
        let counters = Counters { failed: 1, ..Counters::default() };
        let step = Step::Again { delay: ms(1), counters, attempt: 3 };
        assert_eq!(bench.settle(run, Some(far), step).await, Settled::Settled);
        let record = bench.look(run).await.unwrap();
        assert_eq!((record.counters, record.attempt, record.fence), (counters, 3, Some(far)));
        tokio::time::sleep(ms(5)).await;
        bench.queue.tick().await.unwrap();
        let session = bench.connect("web-1").await;
        let delivery = bench.claim(&session, "web-1", 1).await.deliveries.remove(0);
        assert_eq!(delivery.attempt, 4);
        assert!(delivery.fence > far);
    }

    async fn a_run_that_is_there_is_left_as_it_is(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        let entry = crate::bench::entry(delivery.run, "web-1");
        bench.queue.restore(vec![restored(entry)]).await.unwrap();
        assert!(matches!(bench.phase(delivery.run).await, Some(Phase::InFlight { accepted: true, .. })));
    }

    async fn what_was_in_flight_is_held_against_what_its_worker_holds_also_when_that_is_connected(bench) {
        let session = bench.connect("web-1").await;
        let (held, ended) = (bench.entry("web-1"), bench.entry("any"));
        let runs = [held.run, ended.run];
        let in_flight = |entry| Restored { attempt: 1, fence: Some(Fence(77)), held: Some(name("web-1")), ..restored(entry) };
        bench.queue.restore(vec![in_flight(held), in_flight(ended)]).await.unwrap();
        assert_eq!(bench.queue.renew(vec![(session.worker.clone(), session.id)]).await.unwrap(), [false]);
        let opened = bench.open(&session, vec![(runs[0], Fence(77))]).await;
        assert_eq!(opened.superseded, None);
        assert_eq!(opened.adopted.iter().map(|record| record.run).collect::<Vec<_>>(), [runs[0]]);
        assert_eq!(opened.missing.iter().map(|missing| missing.record.run).collect::<Vec<_>>(), [runs[1]]);
        assert_eq!(bench.queue.renew(vec![(session.worker.clone(), session.id)]).await.unwrap(), [true]);
    }

    async fn what_waits_for_a_worker_that_is_connected_is_given_to_it_only_when_it_has_said_what_it_holds(bench) {
        let session = bench.connect("web-1").await;
        let entries = [bench.entry("web-1"), bench.entry("web-1")];
        let runs = entries.each_ref().map(|entry| entry.run);
        bench.queue.restore(entries.map(restored).into()).await.unwrap();
        let nothing = bench.claim(&session, "web-1", 9).await;
        assert_eq!((nothing.unknown, nothing.deliveries.len()), (true, 0));
        let opened = bench.open(&session, vec![(runs[0], Fence(77))]).await;
        assert_eq!(opened.adopted.iter().map(|record| record.run).collect::<Vec<_>>(), [runs[0]]);
        assert_eq!(bench.take(&session, 9).await, [runs[1]]);
    }

    async fn all_sessions_are_to_be_opened_again_when_they_are_doubted(bench) {
        let sessions = [bench.connect("web-1").await, bench.connect("web-2").await];
        let mut hints = bench.queue.hints();
        bench.queue.doubt().await.unwrap();
        crate::bench::hinted(&mut hints, &marabunta_server::queue::Hint::Interrupted).await;
        let keys = || sessions.iter().map(|session| (session.worker.clone(), session.id)).collect::<Vec<_>>();
        assert_eq!(bench.queue.renew(keys()).await.unwrap(), [false, false]);
        for session in &sessions {
            bench.open(session, vec![]).await;
        }
        assert_eq!(bench.queue.renew(keys()).await.unwrap(), [true, true]);
    }

    async fn what_was_in_flight_waits_for_its_worker(bench) {
        let entry = bench.entry("web-1");
        let run = entry.run;
        let held = Restored { attempt: 1, fence: Some(Fence(77)), held: Some(name("web-1")), ..restored(entry) };
        bench.queue.restore(vec![held]).await.unwrap();
        assert!(matches!(bench.phase(run).await, Some(Phase::InFlight { accepted: true, .. })));
        assert_eq!(bench.queue.sessions(vec![name("web-1")]).await.unwrap(), [None]);
        let opened = bench.open(&session("web-1"), vec![(run, Fence(77))]).await;
        assert_eq!(opened.adopted.len(), 1);
    }

    async fn what_was_in_flight_for_a_worker_that_stays_away_is_found(bench) {
        let entry = bench.entry("web-1");
        let run = entry.run;
        let held = Restored { attempt: 1, fence: Some(Fence(77)), held: Some(name("web-1")), ..restored(entry) };
        bench.queue.restore(vec![held]).await.unwrap();
        bench.queue.reap().await.unwrap();
        let silent = bench.until_silent().await;
        assert_eq!(silent[0].holding.iter().map(|record| record.run).collect::<Vec<_>>(), [run]);
    }

    async fn a_worker_may_know_a_later_attempt_than_the_store(bench) {
        let entry = bench.entry("web-1");
        let run = entry.run;
        let behind = Restored { attempt: 1, fence: Some(Fence(77)), ..restored(entry) };
        bench.queue.restore(vec![behind]).await.unwrap();
        let opened = bench.open(&session("web-1"), vec![(run, Fence(99))]).await;
        assert_eq!(opened.adopted.iter().map(|record| record.fence).collect::<Vec<_>>(), [Some(Fence(99))]);
    }

    async fn who_had_the_slot_has_it_again(bench) {
        let waiting = bench.overlapping(Overlap::Queue, "t");
        let retrying = Entry { delay: ms(60_000), ..bench.overlapping(Overlap::Queue, "t") };
        let (first, second) = (retrying.run, waiting.run);
        let retrying = Restored { attempt: 1, fence: Some(Fence(7)), ..restored(retrying) };
        bench.queue.restore(vec![restored(waiting), retrying]).await.unwrap();
        assert!(matches!(bench.phase(first).await, Some(Phase::Due(_))));
        assert_eq!(bench.phase(second).await, Some(Phase::Behind));
    }

    async fn what_was_restored_is_not_taken_in_twice(bench) {
        let entry = bench.entry("web-1");
        bench.queue.restore(vec![restored(entry.clone())]).await.unwrap();
        assert_eq!(bench.queue.enqueue(vec![entry]).await.unwrap(), [Admission::Duplicate]);
    }
}
