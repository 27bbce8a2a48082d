//! How runs enter.

use std::time::Duration;

use chrono::TimeDelta;
use marabunta_server::run::{Fence, Run, State};
use marabunta_server::store::{Inserted, NewRun};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, elaborate, keyed, new, run, started, succeeded};

pub async fn a_run_is_accepted_once(f: &Fixture) {
    let run = f.run().await;
    assert_eq!(
        f.store.insert_runs(vec![new(&run), new(&run)]).await.unwrap(),
        [Inserted::New, Inserted::Duplicate]
    );
    assert_eq!(f.store.insert_runs(vec![new(&run)]).await.unwrap(), [Inserted::Duplicate]);
    let view = f.store.run(run.id).await.unwrap().unwrap();
    assert_eq!((view.run, view.state, view.server.as_str()), (run, State::Queued, "s1"));
    assert_eq!(f.store.insert_runs(vec![]).await.unwrap(), []);
}

pub async fn a_key_is_good_for_one_run_whoever_else_asks_at_the_same_time(f: &Fixture) {
    let mut runs = Vec::new();
    for _ in 0..8 {
        runs.push(f.run().await);
    }
    for round in 0..20 {
        let mut inserting = JoinSet::new();
        for one in &runs {
            let same = Run { id: marabunta_server::run::RunId::new(one.created, 0), ..one.clone() };
            let (store, new) = (f.store.clone(), keyed(&same, &format!("round {round}"), 1));
            inserting.spawn(async move { store.insert_runs(vec![new]).await.unwrap().remove(0) });
        }
        let answers = inserting.join_all().await;
        let new = answers.iter().filter(|answer| **answer == Inserted::New).count();
        assert_eq!(new, 1, "{answers:?}");
    }
}

pub async fn a_key_is_good_for_one_run(f: &Fixture) {
    let (first, second, third) = (f.run().await, f.run().await, f.run().await);
    let key = "k".repeat(1200);
    assert_eq!(f.store.insert_runs(vec![keyed(&first, &key, 1)]).await.unwrap(), [Inserted::New]);
    let again = vec![
        keyed(&first, &key, 1),
        keyed(&second, &key, 1),
        keyed(&third, &key, 2),
        keyed(&second, "K", 1),
        keyed(&third, "K", 1),
    ];
    let repeated = |run: &Run, same| Inserted::Repeated { run: run.id, same };
    assert_eq!(
        f.store.insert_runs(again).await.unwrap(),
        [
            repeated(&first, true),
            repeated(&first, true),
            repeated(&first, false),
            Inserted::New,
            repeated(&second, true)
        ]
    );
    assert_eq!(f.state(&third).await, None);

    f.sql("UPDATE idempotency SET cdate = '2020-01-01 00:00:00.000000'").await;
    assert_eq!(f.store.insert_runs(vec![keyed(&third, &key, 9)]).await.unwrap(), [Inserted::New]);
}

pub async fn batches_inserted_at_once_by_many_accept_each_run_once(f: &Fixture) {
    let now = f.store.now().await.unwrap();
    let runs: Vec<NewRun> = (0..300).map(|n| keyed(&run(now), &format!("key {n}"), 1)).collect();
    let mut servers = JoinSet::new();
    for server in 0..6 {
        let (store, mut mine) = (f.another().await, runs.clone());
        mine.rotate_left(server * 50);
        servers.spawn(async move { store.insert_runs(mine).await.unwrap() });
    }
    let inserted = servers.join_all().await.concat();
    assert_eq!(inserted.iter().filter(|inserted| **inserted == Inserted::New).count(), 300);
    assert_eq!(f.number("SELECT COUNT(*) FROM open_runs").await, 300);
}

pub async fn a_run_that_has_ended_is_not_accepted_again(f: &Fixture) {
    let run = f.started(5).await;
    f.store.end_attempts(vec![succeeded(&run, 5)]).await.unwrap();
    assert_eq!(f.store.insert_runs(vec![new(&run)]).await.unwrap(), [Inserted::Duplicate]);
    assert_eq!(f.state(&run).await, Some(State::Done));
    assert_eq!(f.number("SELECT COUNT(*) FROM open_runs").await, 0);
}

pub async fn what_starts_is_marked_and_an_older_fence_changes_nothing(f: &Fixture) {
    let (run, unknown) = (f.run().await, f.run().await);
    f.store.insert_runs(vec![new(&run)]).await.unwrap();
    for (fences, expected) in [(vec![5], 5), (vec![4], 5), (vec![7, 6], 7), (vec![7], 7)] {
        let mut items: Vec<_> = fences.iter().map(|fence| started(&run, *fence)).collect();
        items.push(started(&unknown, 9));
        assert_eq!(f.store.mark_running(items).await.unwrap(), [unknown.id]);
        let open = f.store.open_runs(None, 10).await.unwrap();
        assert_eq!(
            (open.len(), open[0].state, open[0].fence),
            (1, State::Running, Some(Fence(expected))),
            "{fences:?}"
        );
    }
    f.store.end_attempts(vec![succeeded(&run, 7)]).await.unwrap();
    f.store.mark_running(vec![started(&run, 8)]).await.unwrap();
    assert_eq!(f.state(&run).await, Some(State::Done));
}

pub async fn open_runs_are_listed_to_rebuild_a_queue(f: &Fixture) {
    let task = f.task("nightly", "0 2 * * *").await;
    let now = f.store.now().await.unwrap();
    let mut runs: Vec<Run> = (0..5).map(|_| elaborate(now, &task)).collect();
    runs.sort_by_key(|run| run.id);
    f.store.insert_runs(runs.iter().rev().map(new).collect()).await.unwrap();
    f.store.request_cancel(vec![runs[3].id]).await.unwrap();
    let first = f.store.open_runs(None, 3).await.unwrap();
    let second = f.store.open_runs(Some(first[2].run.id), 3).await.unwrap();
    let open = [first, second].concat();
    assert_eq!(open.iter().map(|open| open.run.clone()).collect::<Vec<_>>(), runs);
    assert_eq!(
        open.iter().map(|open| open.cancelled).collect::<Vec<_>>(),
        [false, false, false, true, false]
    );
    assert!(open.iter().all(|open| open.state == State::Todo && open.ready == now + TimeDelta::hours(1)));

    assert_eq!(f.store.unsettled(Duration::from_secs(3600), None, 10).await.unwrap(), []);
    f.sql("UPDATE open_runs SET touched = '2020-01-01 00:00:00.000000' WHERE cancelled = 1").await;
    let unsettled = f.store.unsettled(Duration::from_secs(3600), None, 10).await.unwrap();
    assert_eq!(unsettled.iter().map(|open| open.run.id).collect::<Vec<_>>(), [runs[3].id]);
}

pub async fn the_key_of_a_run_that_is_taken_back_is_good_for_another(f: &Fixture) {
    let (refused, other, later) = (f.run().await, f.run().await, f.run().await);
    let both = vec![keyed(&refused, "refused", 1), keyed(&other, "other", 1)];
    f.store.insert_runs(both).await.unwrap();
    // It says another's key, which stays with that.
    f.store.take_back(vec![keyed(&refused, "refused", 1), keyed(&refused, "other", 1)]).await.unwrap();
    assert_eq!((f.state(&refused).await, f.state(&other).await), (None, Some(State::Queued)));
    let again = vec![keyed(&later, "refused", 1), keyed(&later, "other", 1)];
    let repeated = Inserted::Repeated { run: other.id, same: true };
    assert_eq!(f.store.insert_runs(again).await.unwrap(), [Inserted::New, repeated]);
}

pub async fn only_what_never_started_is_withdrawn(f: &Fixture) {
    let (waiting, running) = (f.run().await, f.started(1).await);
    f.store.insert_runs(vec![new(&waiting)]).await.unwrap();
    f.store.withdraw(vec![waiting.id, running.id]).await.unwrap();
    assert_eq!((f.state(&waiting).await, f.state(&running).await), (None, Some(State::Running)));
}
