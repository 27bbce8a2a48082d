use anyhow::{Context as _, ensure};
use marabunta_server::queue::{Hint, Phase, Session, SessionId, Settled, Step};
use marabunta_server::run::Fence;
use marabunta_tests::support::eventually;
use uuid::Uuid;

use crate::bench::{hinted, limits, ms, name, session};
use crate::contract;

contract! {
    async fn the_newer_session_wins_and_the_server_of_the_older_is_told(bench) {
        let old = bench.connect("web-1").await;
        let mut hints = bench.queue.hints();
        let new = Session { instance: "another".into(), ..session("web-1") };
        assert_eq!(bench.open(&new, vec![]).await.superseded, Some(old.clone()));
        let (by, instance) = ("server-1".into(), "another".into());
        hinted(&mut hints, &Hint::Superseded { worker: name("web-1"), session: old.id, by, instance }).await;

        assert_eq!(bench.queue.sessions(vec![name("web-1"), name("web-2")]).await.unwrap(), [Some(new.clone()), None]);
        let both = vec![(name("web-1"), old.id), (name("web-1"), new.id)];
        assert_eq!(bench.queue.renew(both).await.unwrap(), [false, true]);
        bench.queue.close(name("web-1"), old.id).await.unwrap();
        assert_eq!(bench.queue.sessions(vec![name("web-1")]).await.unwrap(), [Some(new)], "its clean-up hits nothing");
    }

    async fn opening_the_same_session_twice_is_opening_it_once(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.deliver(&session).await;
        let opened = bench.open(&session, vec![]).await;
        assert_eq!(opened, Default::default(), "what it was given meanwhile is not missing");
        assert!(bench.accept(&delivery).await);
    }

    async fn what_a_worker_brings_along_is_compared_with_what_it_was_given(bench) {
        let old = bench.connect("web-1").await;
        let held = bench.start(&old).await;
        let dropped = bench.start(&old).await;
        let unseen = bench.deliver(&old).await;
        let given_away = bench.start(&old).await;
        bench.again(&given_away, ms(0)).await;
        let other = bench.connect("web-2").await;
        let again = bench.claim(&other, "web-1", 1).await.deliveries.remove(0);
        assert_eq!(again.run, given_away.run);
        let ended = (bench.id(), Fence(5));

        let new = session("web-1");
        let holding = vec![(held.run, held.fence), (given_away.run, given_away.fence), ended];
        let opened = bench.open(&new, holding).await;
        assert_eq!(opened.adopted.len(), 1);
        assert_eq!((opened.adopted[0].run, opened.adopted[0].fence), (held.run, Some(held.fence)));
        let mut missing: Vec<_> = opened.missing.iter().map(|one| (one.record.run, one.begun)).collect();
        missing.sort_by_key(|(run, _)| *run != dropped.run);
        assert_eq!(missing, [(dropped.run, true), (unseen.run, false)]);
        assert_eq!(opened.stale, [(given_away.run, given_away.fence)]);
        assert_eq!(opened.unknown, [ended]);

        let phase = bench.phase(held.run).await;
        assert!(matches!(phase, Some(Phase::InFlight { session, accepted: true, .. }) if session == new.id));
        assert_eq!(bench.finish(&held).await, Settled::Settled, "with the fence it had");
    }

    async fn another_instance_may_have_begun_what_it_had_not_accepted(bench) {
        let old = bench.connect("web-1").await;
        let unseen = bench.deliver(&old).await;
        bench.queue.close(name("web-1"), old.id).await.unwrap();
        let new = Session { instance: "another".into(), ..session("web-1") };
        let opened = bench.open(&new, vec![]).await;
        let missing: Vec<_> = opened.missing.iter().map(|one| (one.record.run, one.begun)).collect();
        assert_eq!(missing, [(unseen.run, true)]);
    }

    async fn a_run_that_went_back_is_adopted_if_nobody_has_it_yet(bench) {
        let old = bench.connect("web-1").await;
        let delivery = bench.start(&old).await;
        bench.again(&delivery, ms(0)).await;
        let new = session("web-1");
        let opened = bench.open(&new, vec![(delivery.run, delivery.fence)]).await;
        assert_eq!(opened.adopted.len(), 1);
        assert!(bench.take(&new, 1).await.is_empty());
    }

    async fn a_closed_session_has_its_grace_and_no_more(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        bench.queue.reap().await.unwrap();
        bench.queue.close(name("web-1"), session.id).await.unwrap();
        assert_eq!(bench.queue.sessions(vec![name("web-1")]).await.unwrap(), [None]);
        assert_eq!(bench.queue.renew(vec![(name("web-1"), session.id)]).await.unwrap(), [false]);
        let silent = bench.until_silent().await;
        assert_eq!(silent.len(), 1);
        assert_eq!((silent[0].worker.clone(), silent[0].session), (name("web-1"), session.id));
        assert_eq!(silent[0].holding.iter().map(|record| record.run).collect::<Vec<_>>(), [delivery.run]);
    }

    async fn whoever_comes_back_within_the_grace_loses_nothing(bench) {
        let old = bench.connect("web-1").await;
        let delivery = bench.start(&old).await;
        bench.queue.reap().await.unwrap();
        bench.queue.close(name("web-1"), old.id).await.unwrap();
        let new = session("web-1");
        let opened = bench.open(&new, vec![(delivery.run, delivery.fence)]).await;
        assert_eq!((opened.adopted.len(), opened.superseded), (1, None));
        tokio::time::sleep(limits().grace * 2).await;
        assert!(bench.queue.reap().await.unwrap().is_empty());
    }

    async fn a_silent_session_is_offered_again_until_its_runs_are_settled(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        bench.queue.reap().await.unwrap();
        for _ in 0..2 {
            let silent = bench.until_silent().await;
            assert_eq!(silent[0].holding.len(), 1, "it stays in flight until somebody decides");
        }
        assert_eq!(bench.queue.renew(vec![(name("web-1"), session.id)]).await.unwrap(), [false]);
        bench.again(&delivery, ms(0)).await;
        tokio::time::sleep(limits().offer * 2).await;
        assert!(bench.queue.reap().await.unwrap().is_empty());
        let new = bench.connect("web-1").await;
        assert_eq!(bench.take(&new, 1).await, [delivery.run]);
    }

    async fn whether_its_stream_had_ended_is_told_of_a_silent_session_each_time(bench) {
        let (left, vanished) = (bench.connect("web-1").await, bench.connect("web-2").await);
        for session in [&left, &vanished] {
            bench.start(session).await;
        }
        bench.queue.reap().await.unwrap();
        bench.queue.close(left.worker.clone(), left.id).await.unwrap();
        for (session, ended) in [(&left, true), (&vanished, false), (&left, true), (&vanished, false)] {
            eventually("it is offered", async || {
                let silent = bench.queue.reap().await?;
                let silent = silent.iter().find(|silent| silent.session == session.id);
                ensure!(silent.context("not now")?.ended == ended, "{silent:?}");
                Ok(())
            })
            .await;
        }
    }

    async fn a_fence_that_nobody_can_have_given_is_no_good(bench) {
        let session = bench.connect("web-1").await;
        let delivery = bench.start(&session).await;
        let forged = Fence(delivery.fence.0 + 2 * Fence::AHEAD);
        assert_eq!(bench.settle(delivery.run, Some(forged), Step::Remove { result: None }).await, Settled::Stale);
        let again = Session { id: SessionId(Uuid::new_v4()), ..session };
        let opened = bench.open(&again, vec![(delivery.run, forged)]).await;
        assert_eq!((opened.adopted.len(), opened.stale), (0, vec![(delivery.run, forged)]));
        let next = bench.deliver(&again).await;
        assert!(next.fence > delivery.fence && next.fence < forged, "later fences are no higher for it");
    }

    async fn a_session_that_holds_nothing_is_told_of_once(bench) {
        bench.connect("web-1").await;
        bench.queue.reap().await.unwrap();
        assert!(bench.until_silent().await[0].holding.is_empty());
        // Each shard tells of it once, and not all in the same moment.
        tokio::time::sleep(limits().life).await;
        bench.queue.reap().await.unwrap();
        tokio::time::sleep(limits().offer * 2).await;
        assert!(bench.queue.reap().await.unwrap().is_empty());
    }

    async fn a_renewed_session_lives_on(bench) {
        let session = bench.connect("web-1").await;
        bench.queue.reap().await.unwrap();
        for _ in 0..6 {
            tokio::time::sleep(limits().life / 4).await;
            assert_eq!(bench.queue.renew(vec![(name("web-1"), session.id)]).await.unwrap(), [true]);
        }
        assert!(bench.queue.reap().await.unwrap().is_empty());
    }

    async fn after_a_pause_everybody_has_time_to_come_back(bench) {
        let session = bench.connect("web-1").await;
        tokio::time::sleep(limits().life * 2).await;
        assert!(bench.queue.reap().await.unwrap().is_empty(), "nobody looked before");
        assert_eq!(bench.queue.renew(vec![(name("web-1"), session.id)]).await.unwrap(), [true]);
    }

    async fn a_worker_that_holds_two_attempts_of_a_run_learns_which_is_stale(bench) {
        let old = bench.connect("web-1").await;
        let first = bench.start(&old).await;
        bench.again(&first, ms(0)).await;
        let second = bench.claim(&old, "web-1", 1).await.deliveries.remove(0);
        assert_eq!(second.run, first.run);
        for holding in [[&first, &second], [&second, &first]] {
            let holding = holding.map(|delivery| (delivery.run, delivery.fence)).to_vec();
            let opened = bench.open(&session("web-1"), holding).await;
            assert_eq!(opened.stale, [(first.run, first.fence)]);
            assert_eq!(opened.adopted[0].fence, Some(second.fence));
            assert_eq!((opened.adopted.len(), opened.missing, opened.unknown), (1, vec![], vec![]));
        }
    }

    async fn of_two_attempts_that_the_queue_has_forgotten_the_later_is_adopted(bench) {
        let run = bench.enqueue(bench.entry("web-1")).await;
        let far = bench.deliver(&bench.connect("web-2").await).await.fence.0;
        let (older, later) = ((run, Fence(far + 1)), (run, Fence(far + 2)));
        for holding in [vec![older, later], vec![later, older]] {
            let opened = bench.open(&session("web-1"), holding).await;
            assert_eq!(opened.stale, [older]);
            assert_eq!(opened.adopted.iter().map(|record| record.fence).collect::<Vec<_>>(), [Some(later.1)]);
        }
    }
}
