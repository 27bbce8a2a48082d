use bytes::Bytes;
use marabunta_server::queue::{Admission, Entry, Phase, Step};
use marabunta_server::run::{Key, Place};

use crate::bench::{limits, ms};
use crate::contract;

fn key(text: &str, request: u8) -> Option<Key> {
    Some(Key { text: text.into(), request: [request; 16] })
}

contract! {
    async fn a_run_is_ready_with_its_body_and_nothing_behind_it(bench) {
        let entry = bench.entry("web-1");
        let body = entry.body.clone();
        let record = bench.look(bench.enqueue(entry).await).await.unwrap();
        assert_eq!((record.phase, record.fence, record.attempt, record.cancelled), (Phase::Ready, None, 0, false));
        assert_eq!((record.body, record.counters), (body, Default::default()));
    }

    async fn a_body_may_be_any_bytes(bench) {
        let body = Bytes::from((0..=255).collect::<Vec<u8>>());
        let run = bench.enqueue(Entry { body: body.clone(), ..bench.entry("web-1") }).await;
        assert_eq!(bench.look(run).await.unwrap().body, body);
    }

    async fn an_id_is_taken_in_once(bench) {
        let (entry, other) = (bench.entry("web-1"), bench.entry("web-1"));
        let answers = bench.queue.enqueue(vec![entry.clone(), other, entry.clone()]).await.unwrap();
        assert_eq!(answers, [Admission::Queued, Admission::Queued, Admission::Duplicate]);
        assert_eq!(bench.queue.enqueue(vec![entry.clone()]).await.unwrap(), [Admission::Duplicate]);
        assert_eq!(bench.queue.depth(entry.place).await.unwrap(), 2);
    }

    async fn an_id_whose_result_is_kept_is_not_taken_in_again(bench) {
        let entry = bench.entry("web-1");
        let run = bench.enqueue(entry.clone()).await;
        bench.settle(run, None, Step::Remove { result: Some("done".into()) }).await;
        assert_eq!(bench.queue.enqueue(vec![entry]).await.unwrap(), [Admission::Duplicate]);
        bench.assert_empty(&[run]).await;
    }

    async fn a_key_is_used_once_and_says_for_what(bench) {
        let first = Entry { key: key("k", 1), ..bench.ordered("web-1") };
        let run = bench.enqueue(first.clone()).await;
        let same = Entry { key: key("k", 1), ..bench.ordered("web-1") };
        let other = Entry { key: key("k", 2), ..bench.ordered("web-2") };
        let free = Entry { key: key("{k}", 1), ..bench.ordered("web-1") };
        assert_eq!(bench.queue.enqueue(vec![same, other, free]).await.unwrap(), [
            Admission::Repeated { run, same: true },
            Admission::Repeated { run, same: false },
            Admission::Queued,
        ]);
        bench.settle(run, None, Step::Remove { result: None }).await;
        assert_eq!(bench.queue.enqueue(vec![first]).await.unwrap(), [Admission::Duplicate], "its own key says so");
    }

    async fn a_key_counts_within_one_call(bench) {
        let first = Entry { key: key("k", 1), ..bench.ordered("web-1") };
        let second = Entry { key: key("k", 1), ..bench.ordered("web-1") };
        let run = first.run;
        assert_eq!(bench.queue.enqueue(vec![first, second]).await.unwrap(), [
            Admission::Queued,
            Admission::Repeated { run, same: true },
        ]);
    }

    async fn a_full_place_refuses_and_no_other_does(bench) {
        let most = limits().waiting;
        let entries: Vec<_> = (0..=most).map(|_| bench.ordered("web-1")).collect();
        let answers = bench.queue.enqueue(entries).await.unwrap();
        assert!(answers[..most].iter().all(|answer| *answer == Admission::Queued));
        assert_eq!(answers[most], Admission::Full);
        let later = Entry { delay: ms(60_000), ..bench.ordered("web-1") };
        assert_eq!(bench.queue.enqueue(vec![later]).await.unwrap(), [Admission::Full], "nor for later");
        assert_eq!(bench.queue.enqueue(vec![bench.ordered("web-2")]).await.unwrap(), [Admission::Queued]);

        let session = bench.connect("web-1").await;
        bench.take(&session, 1).await;
        assert_eq!(bench.queue.enqueue(vec![bench.ordered("web-1")]).await.unwrap(), [Admission::Queued]);
    }

    async fn selectors_are_the_any_places_that_hold_something(bench) {
        for place in ["any", "any(role=web)", "any(role=web)", "any(dc!=eu,role in (api,web))", "anyone", "web-1"] {
            bench.enqueue(bench.entry(place)).await;
        }
        let mut found = bench.queue.selectors().await.unwrap();
        found.sort();
        let mut expected = ["any", "any(dc!=eu,role in (api,web))", "any(role=web)"].map(|text| Place::parse(text).unwrap());
        expected.sort();
        assert_eq!(found, expected);
    }

    async fn nothing_asked_is_nothing_answered(bench) {
        assert!(bench.queue.enqueue(vec![]).await.unwrap().is_empty());
        assert!(bench.queue.claim(vec![]).await.unwrap().is_empty());
        assert!(bench.queue.settle(vec![]).await.unwrap().is_empty());
        assert!(bench.queue.look(vec![]).await.unwrap().is_empty());
        assert!(bench.queue.sessions(vec![]).await.unwrap().is_empty());
        assert!(bench.queue.renew(vec![]).await.unwrap().is_empty());
        bench.assert_empty(&[]).await;
    }
}
