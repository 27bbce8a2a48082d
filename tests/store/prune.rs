//! Keeping history bounded.

use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use marabunta_server::run::{Fence, Payload, Run, State};
use marabunta_server::store::{Message, MessageBatch, MessageKind, Retention};

use crate::fixture::{Fixture, ended_run, keyed, new, run, succeeded};

async fn prune(f: &Fixture, retention: Retention) -> u64 {
    let mut pruned = 0;
    loop {
        match f.store.prune(retention).await.unwrap() {
            0 => return pruned,
            more => pruned += more,
        }
    }
}

pub async fn history_is_bounded_by_count(f: &Fixture) {
    let now = f.store.now().await.unwrap();
    // All at one moment, so that only the id tells them apart.
    let runs: Vec<Run> = (0..200).map(|_| run(now)).collect();
    f.store.insert_runs(runs.iter().map(new).collect()).await.unwrap();
    f.store.end_runs(runs.iter().skip(10).map(|run| ended_run(run, State::Expired)).collect()).await.unwrap();
    assert_eq!(prune(f, Retention { count: Some(500), age: None }).await, 0);
    assert_eq!(prune(f, Retention { count: Some(30), age: None }).await, 160);
    assert_eq!(f.number("SELECT COUNT(*) FROM runs").await, 30);
    assert_eq!(f.number("SELECT COUNT(*) FROM open_runs").await, 10);
    assert_eq!(prune(f, Retention::default()).await, 0);
}

pub async fn history_is_bounded_by_age(f: &Fixture) {
    let now = f.store.now().await.unwrap();
    let runs: Vec<Run> = (0..10).map(|n| run(now - TimeDelta::hours(n))).collect();
    f.store.insert_runs(runs.iter().map(new).collect()).await.unwrap();
    f.store.end_runs(runs.iter().map(|run| ended_run(run, State::Expired)).collect()).await.unwrap();
    let age = Some(Duration::from_secs(3 * 3600 + 1800));
    assert_eq!(prune(f, Retention { age, count: Some(9) }).await, 6);
    assert!(f.store.run(runs[3].id).await.unwrap().is_some());
    assert!(f.store.run(runs[4].id).await.unwrap().is_none());
}

pub async fn what_pruned_runs_had_goes_with_them(f: &Fixture) {
    let long = |letter: &str| Bytes::from(format!("\"{}\"", letter.repeat(5000)));
    let payloads = f.store.intern(vec![long("a"), long("b"), long("c")]).await.unwrap();
    let spec = marabunta_server::task::TaskSpec {
        payload: payloads[1].clone(),
        ..crate::fixture::spec("t", "@hourly")
    };
    f.store.create_task(&spec, false).await.unwrap();
    let with = |run: Run, payload: &Payload| Run { payload: payload.clone(), ..run };
    let (gone, open) = (with(f.run().await, &payloads[0]), with(f.run().await, &payloads[2]));
    f.store.insert_runs(vec![keyed(&gone, "k", 1), new(&open)]).await.unwrap();
    let message = Message { kind: MessageKind::Stdout, data: Bytes::from_static(b"x"), time: gone.created };
    f.store
        .append(vec![MessageBatch { run: gone.id, fence: Fence(5), first: 0, messages: vec![message] }])
        .await
        .unwrap();
    f.store.end_attempts(vec![succeeded(&gone, 5)]).await.unwrap();
    for edit in ["runs SET created", "payloads SET cdate", "idempotency SET cdate"] {
        f.sql(&format!("UPDATE {edit} = '2020-01-01 00:00:00.000000'")).await;
    }
    assert_eq!(prune(f, Retention { age: Some(Duration::from_secs(86400)), count: None }).await, 1);
    for (table, left) in
        [("runs", 0), ("attempts", 0), ("messages", 0), ("idempotency", 0), ("payloads", 2), ("open_runs", 1)]
    {
        assert_eq!(f.number(&format!("SELECT COUNT(*) FROM {table}")).await, left, "{table}");
    }
}
