//! How attempts and runs end.

use std::time::Duration;

use marabunta_server::run::{AttemptEnd, Counters, Durability, Next, Outcome, Reason, Run, State};
use marabunta_server::store::Recorded;
use tokio::task::JoinSet;

use crate::fixture::{Fixture, ended, ended_run, lost, new, run, started, succeeded};

pub async fn an_attempt_that_succeeds_takes_its_run_to_the_history(f: &Fixture) {
    let run = f.started(5).await;
    assert_eq!(f.store.end_attempts(vec![succeeded(&run, 5)]).await.unwrap(), [Recorded::Recorded]);
    let view = f.store.run(run.id).await.unwrap().unwrap();
    assert_eq!((&view.run, view.state, view.reason, view.exit_code), (&run, State::Done, None, Some(0)));
    assert_eq!(
        (&view.result[..], view.worker.unwrap().as_str(), view.server.as_str()),
        (&b"{\"n\":1}"[..], "web-1", "s3")
    );
    assert!(view.started.unwrap() >= run.created && view.ended.unwrap() >= view.started.unwrap());
    let attempt = &view.attempts[0];
    assert_eq!((view.attempts.len(), attempt.fence.0, attempt.outcome), (1, 5, Some(Outcome::Succeeded)));
    assert_eq!(
        (attempt.started.unwrap().timestamp_micros(), attempt.truncated),
        (1_772_850_600_000_001, true)
    );
    assert_eq!(f.number("SELECT COUNT(*) FROM open_runs").await, 0);
}

pub async fn an_attempt_that_fails_leaves_its_run_waiting(f: &Fixture) {
    let run = f.started(5).await;
    let counters = Counters { failed: 1, lost: 2, unaccepted: 3 };
    let again = Next::Again { delay: Duration::from_secs(60), counters };
    assert_eq!(
        f.store.end_attempts(vec![ended(&run, 5, Outcome::Failed, again)]).await.unwrap(),
        [Recorded::Recorded]
    );
    let open = f.store.open_runs(None, 10).await.unwrap().remove(0);
    assert_eq!((open.state, open.counters, open.attempt), (State::Queued, counters, 1));
    let waits = open.ready - run.due;
    assert!((60..120).contains(&waits.num_seconds()), "{waits}");

    let end = Next::End { state: State::Error, reason: Some(Reason::Failed), counters };
    assert_eq!(
        f.store.end_attempts(vec![ended(&run, 6, Outcome::Failed, end)]).await.unwrap(),
        [Recorded::Recorded]
    );
    let view = f.store.run(run.id).await.unwrap().unwrap();
    assert_eq!(
        (view.state, view.reason, view.error.as_str()),
        (State::Error, Some(Reason::Failed), "it broke")
    );
    assert_eq!((view.counters.failed, view.counters.lost, view.attempts.len()), (1, 2, 2));
}

pub async fn the_same_end_twice_is_recorded_once(f: &Fixture) {
    let (done, waits) = (f.started(5).await, f.started(5).await);
    let again =
        Next::Again { delay: Duration::ZERO, counters: Counters { failed: 1, ..Counters::default() } };
    let ends = vec![succeeded(&done, 5), ended(&waits, 5, Outcome::Failed, again)];
    assert_eq!(f.store.end_attempts(ends.clone()).await.unwrap(), [Recorded::Recorded; 2]);
    assert_eq!(f.store.end_attempts(ends.clone()).await.unwrap(), [Recorded::Already; 2]);
    f.store.mark_running(vec![started(&waits, 9)]).await.unwrap();
    assert_eq!(f.store.end_attempts(ends).await.unwrap(), [Recorded::Already; 2]);
    assert_eq!(f.number("SELECT COUNT(*) FROM attempts").await, 2);
}

pub async fn an_older_fence_is_stale_and_a_newer_one_counts(f: &Fixture) {
    let run = f.started(5).await;
    assert_eq!(f.store.end_attempts(vec![succeeded(&run, 4)]).await.unwrap(), [Recorded::Stale]);
    assert_eq!(f.state(&run).await, Some(State::Running));
    assert_eq!(f.store.end_attempts(vec![succeeded(&run, 6)]).await.unwrap(), [Recorded::Recorded]);
    assert_eq!(f.store.end_attempts(vec![succeeded(&run, 7)]).await.unwrap(), [Recorded::Stale]);
}

pub async fn a_loss_is_replaced_by_the_account_of_its_worker(f: &Fixture) {
    let (back, taken) = (f.started(5).await, f.started(5).await);
    let losses = vec![lost(&back, 5), lost(&taken, 5)];
    assert_eq!(f.store.end_attempts(losses).await.unwrap(), [Recorded::Recorded; 2]);
    f.store.mark_running(vec![started(&taken, 6)]).await.unwrap();
    let accounts = vec![succeeded(&back, 5), succeeded(&taken, 5)];
    assert_eq!(f.store.end_attempts(accounts).await.unwrap(), [Recorded::Recorded, Recorded::Stale]);
    let view = f.store.run(back.id).await.unwrap().unwrap();
    assert_eq!(
        (view.state, view.attempts.len(), view.attempts[0].outcome),
        (State::Done, 1, Some(Outcome::Succeeded))
    );
    assert_eq!(f.state(&taken).await, Some(State::Running));
}

pub async fn a_loss_says_when_the_attempt_had_begun_and_when_it_was_lost(f: &Fixture) {
    let unaware = |run: &Run, fence| {
        let mut lost = lost(run, fence);
        lost.end = AttemptEnd::lost("its worker fell silent");
        lost
    };
    let run = f.started(5).await;
    let begun = f.store.run(run.id).await.unwrap().unwrap().started;
    f.store.end_attempts(vec![unaware(&run, 5)]).await.unwrap();
    // Of this one nobody noted that it had begun.
    f.store.end_attempts(vec![unaware(&run, 6)]).await.unwrap();
    let attempts = f.store.run(run.id).await.unwrap().unwrap().attempts;
    assert_eq!((attempts[0].started, attempts[1].started), (begun, None));
    assert!(begun.is_some() && attempts[0].ended >= begun && attempts[1].ended >= attempts[0].ended);
    assert_eq!(attempts[0].error, "its worker fell silent");
}

pub async fn a_loss_that_ended_the_run_stands(f: &Fixture) {
    let run = f.started(5).await;
    let end = Next::End { state: State::Error, reason: Some(Reason::Lost), counters: Counters::default() };
    f.store.end_attempts(vec![ended(&run, 5, Outcome::Lost, end)]).await.unwrap();
    assert_eq!(f.store.end_attempts(vec![succeeded(&run, 5)]).await.unwrap(), [Recorded::Stale]);
    assert_eq!(f.state(&run).await, Some(State::Error));
}

pub async fn a_fast_run_is_recorded_though_nobody_entered_it(f: &Fixture) {
    let fast = |run: Run| Run { durability: Durability::Fast, ..run };
    let (done, waits) = (fast(f.run().await), fast(f.run().await));
    assert_eq!(
        f.store.end_attempts(vec![succeeded(&done, 5), lost(&waits, 5)]).await.unwrap(),
        [Recorded::Recorded; 2]
    );
    assert_eq!((f.state(&done).await, f.state(&waits).await), (Some(State::Done), Some(State::Queued)));
    // The entry, which comes late.
    f.store.insert_runs(vec![new(&done), new(&waits)]).await.unwrap();
    assert_eq!((f.state(&done).await, f.state(&waits).await), (Some(State::Done), Some(State::Queued)));
    assert_eq!(f.store.open_runs(None, 10).await.unwrap()[0].counters.lost, 1);
}

pub async fn an_earlier_attempt_of_a_fast_run_that_is_written_late_enters_its_history(f: &Fixture) {
    let fast = |run: Run| Run { durability: Durability::Fast, ..run };
    let failed = |run: &Run, fence, failed| {
        let counters = Counters { failed, ..Counters::default() };
        ended(run, fence, Outcome::Failed, Next::Again { delay: Duration::ZERO, counters })
    };
    let (done, cancelled, runs) = (fast(f.run().await), fast(f.run().await), fast(f.run().await));
    f.store.insert_runs(vec![new(&runs)]).await.unwrap();
    f.store.mark_running(vec![started(&runs, 7)]).await.unwrap();
    f.store.end_attempts(vec![succeeded(&done, 7)]).await.unwrap();
    f.store.end_runs(vec![ended_run(&cancelled, State::Cancelled)]).await.unwrap();
    for fence in [6, 5] {
        for run in [&done, &cancelled, &runs] {
            let late = vec![failed(run, fence, u32::try_from(fence - 4).unwrap())];
            assert_eq!(f.store.end_attempts(late.clone()).await.unwrap(), [Recorded::Earlier]);
            assert_eq!(f.store.end_attempts(late).await.unwrap(), [Recorded::Already]);
        }
    }
    for (run, state, fences) in [
        (&done, State::Done, &[5, 6, 7][..]),
        (&cancelled, State::Cancelled, &[5, 6]),
        (&runs, State::Running, &[5, 6, 7]),
    ] {
        let view = f.store.run(run.id).await.unwrap().unwrap();
        let known: Vec<u64> = view.attempts.iter().map(|attempt| attempt.fence.0).collect();
        assert_eq!((view.state, view.counters.failed, &known[..]), (state, 2, fences));
    }
    // What would end the run comes from its last attempt only.
    assert_eq!(f.store.end_attempts(vec![succeeded(&runs, 4)]).await.unwrap(), [Recorded::Stale]);
    assert_eq!(f.store.end_attempts(vec![succeeded(&done, 8)]).await.unwrap(), [Recorded::Stale]);
}

pub async fn attempts_of_a_fast_run_may_come_in_any_order_in_one_batch(f: &Fixture) {
    let run = Run { durability: Durability::Fast, ..f.run().await };
    use Recorded::{Earlier, Recorded as Done};
    assert_eq!(
        f.store.end_attempts(vec![lost(&run, 6), lost(&run, 5)]).await.unwrap(),
        [Done, Earlier],
        "it waits"
    );
    assert_eq!(f.store.end_attempts(vec![succeeded(&run, 8), lost(&run, 7)]).await.unwrap(), [Done, Earlier]);
    let view = f.store.run(run.id).await.unwrap().unwrap();
    assert_eq!((view.state, view.counters.lost, view.attempts.len()), (State::Done, 1, 4));
}

pub async fn a_durable_run_that_nobody_entered_is_unknown(f: &Fixture) {
    let run = f.run().await;
    assert_eq!(f.store.end_attempts(vec![succeeded(&run, 5)]).await.unwrap(), [Recorded::Unknown]);
    assert_eq!(f.store.end_runs(vec![ended_run(&run, State::Expired)]).await.unwrap(), [Recorded::Unknown]);
    assert_eq!(f.state(&run).await, None);
}

pub async fn runs_end_without_an_attempt_once(f: &Fixture) {
    let (open, skipped) = (f.started(5).await, f.run().await);
    let fast = Run { durability: Durability::Fast, ..f.run().await };
    let ends = vec![
        ended_run(&open, State::Error),
        ended_run(&skipped, State::Skipped),
        ended_run(&fast, State::Expired),
    ];
    assert_eq!(f.store.end_runs(ends.clone()).await.unwrap(), [Recorded::Recorded; 3]);
    assert_eq!(f.store.end_runs(ends).await.unwrap(), [Recorded::Already; 3]);
    assert_eq!(f.store.end_runs(vec![ended_run(&open, State::Cancelled)]).await.unwrap(), [Recorded::Stale]);
    let view = f.store.run(open.id).await.unwrap().unwrap();
    assert_eq!((view.state, view.reason, view.error.as_str()), (State::Error, Some(Reason::Lost), "because"));
}

pub async fn the_same_run_may_end_twice_in_one_batch(f: &Fixture) {
    let (run, lost_run) = (f.started(5).await, f.started(5).await);
    let again =
        Next::Again { delay: Duration::ZERO, counters: Counters { failed: 1, ..Counters::default() } };
    let ends = vec![
        ended(&run, 5, Outcome::Failed, again),
        lost(&lost_run, 5),
        succeeded(&run, 6),
        succeeded(&lost_run, 5),
        succeeded(&run, 6),
        succeeded(&run, 7),
    ];
    use Recorded::{Already, Recorded as Done, Stale};
    assert_eq!(f.store.end_attempts(ends).await.unwrap(), [Done, Done, Done, Done, Already, Stale]);
    assert_eq!((f.state(&run).await, f.state(&lost_run).await), (Some(State::Done), Some(State::Done)));
    assert_eq!(f.store.run(run.id).await.unwrap().unwrap().attempts.len(), 2);
}

pub async fn overlapping_batches_at_once_record_each_end_once(f: &Fixture) {
    let now = f.store.now().await.unwrap();
    let runs: Vec<Run> = (0..200).map(|_| run(now)).collect();
    f.store.insert_runs(runs.iter().map(new).collect()).await.unwrap();
    let mut servers = JoinSet::new();
    for server in 0..6 {
        let mut ends: Vec<_> = runs.iter().map(|run| succeeded(run, 5)).collect();
        ends.rotate_left(server * 33);
        if server % 2 == 1 {
            ends.reverse();
        }
        let store = f.another().await;
        servers.spawn(async move { store.end_attempts(ends).await.unwrap() });
    }
    let recorded = servers.join_all().await.concat();
    assert_eq!(recorded.iter().filter(|recorded| **recorded == Recorded::Recorded).count(), 200);
    assert_eq!(recorded.iter().filter(|recorded| **recorded == Recorded::Already).count(), 1000);
    assert_eq!(f.number("SELECT COUNT(*) FROM runs").await, 200);
    assert_eq!(f.number("SELECT COUNT(*) FROM open_runs").await, 0);
}

pub async fn disjoint_batches_at_once_all_succeed(f: &Fixture) {
    let now = f.store.now().await.unwrap();
    let mut servers = JoinSet::new();
    for _ in 0..8 {
        let (store, runs) = (f.another().await, (0..100).map(|_| run(now)).collect::<Vec<_>>());
        servers.spawn(async move {
            for chunk in runs.chunks(20) {
                store.insert_runs(chunk.iter().map(new).collect()).await.unwrap();
                store.mark_running(chunk.iter().map(|run| started(run, 1)).collect()).await.unwrap();
                let lost = chunk.iter().map(|run| lost(run, 1)).collect();
                assert!(
                    store
                        .end_attempts(lost)
                        .await
                        .unwrap()
                        .iter()
                        .all(|recorded| *recorded == Recorded::Recorded)
                );
                let ends = chunk.iter().map(|run| succeeded(run, 2)).collect();
                assert!(
                    store
                        .end_attempts(ends)
                        .await
                        .unwrap()
                        .iter()
                        .all(|recorded| *recorded == Recorded::Recorded)
                );
            }
        });
    }
    servers.join_all().await;
    assert_eq!(f.number("SELECT COUNT(*) FROM runs").await, 800);
    assert_eq!(f.number("SELECT COUNT(*) FROM open_runs").await, 0);
}

pub async fn an_end_and_its_entry_at_once_leave_one_row(f: &Fixture) {
    let now = f.store.now().await.unwrap();
    let runs: Vec<Run> = (0..100).map(|_| Run { durability: Durability::Fast, ..run(now) }).collect();
    let mut servers = JoinSet::new();
    for chunk in runs.chunks(5) {
        let (store, entries) = (f.store.clone(), chunk.iter().map(new).collect());
        servers.spawn(async move { drop(store.insert_runs(entries).await.unwrap()) });
        let (store, ends) = (f.store.clone(), chunk.iter().map(|run| succeeded(run, 1)).collect());
        servers.spawn(async move { drop(store.end_attempts(ends).await.unwrap()) });
    }
    servers.join_all().await;
    assert_eq!(f.number("SELECT COUNT(*) FROM runs").await, 100);
    assert_eq!(f.number("SELECT COUNT(*) FROM open_runs").await, 0);
}

pub async fn an_end_and_the_attempt_before_it_at_once_leave_one_row(f: &Fixture) {
    let now = f.store.now().await.unwrap();
    let runs: Vec<Run> = (0..200).map(|_| Run { durability: Durability::Fast, ..run(now) }).collect();
    let again =
        Next::Again { delay: Duration::ZERO, counters: Counters { failed: 1, ..Counters::default() } };
    let mut servers = JoinSet::new();
    for chunk in runs.chunks(2) {
        for (fence, outcome, next) in [(1, Outcome::Failed, Some(again)), (2, Outcome::Succeeded, None)] {
            let end =
                |run| next.map_or_else(|| succeeded(run, fence), |next| ended(run, fence, outcome, next));
            let (store, ends) = (f.store.clone(), chunk.iter().map(end).collect());
            servers.spawn(async move { drop(store.end_attempts(ends).await.unwrap()) });
        }
    }
    servers.join_all().await;
    assert_eq!(f.number("SELECT COUNT(*) FROM open_runs").await, 0);
    assert_eq!(f.number("SELECT COUNT(*) FROM runs").await, 200);
    assert_eq!(f.number("SELECT COUNT(*) FROM attempts").await, 400);
}
