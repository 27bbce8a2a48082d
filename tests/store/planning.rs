//! What the planner sees and records.

use chrono::{DateTime, TimeDelta, Utc};
use marabunta_server::run::{Payload, Run, RunId, State, TaskId, TaskRef};
use marabunta_server::store::{Inserted, Mirror, NewRun, PlanTask, Planned, Store};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, name, new, run};

fn nothing(task: TaskId, now: DateTime<Utc>) -> Planned {
    Planned {
        task,
        runs: vec![],
        skipped: vec![],
        withdrawn: vec![],
        next: Some(now + TimeDelta::hours(1)),
        planned_to: now,
        problem: String::new(),
    }
}

/// Plans whatever there is to plan, without runs; the tasks' ids.
async fn settle(store: &Store) -> Vec<TaskId> {
    let now = store.now().await.unwrap();
    let mut seen = vec![];
    loop {
        let batch = store.plan_batch(now, 2).await.unwrap();
        let ids: Vec<_> = batch.tasks.iter().map(|task| task.id).collect();
        let planned = batch
            .tasks
            .iter()
            .map(|task| Planned { problem: problem(task), ..nothing(task.id, now) })
            .collect();
        batch.commit(planned).await.unwrap();
        if ids.is_empty() {
            return seen;
        }
        seen.extend(ids);
    }
}

fn problem(task: &PlanTask) -> String {
    task.spec.as_ref().err().cloned().unwrap_or_default()
}

fn firing(task: TaskId, fire: DateTime<Utc>) -> NewRun {
    let plain = run(fire);
    let id = RunId::fired(task, fire, &plain.place, 0);
    new(&Run { id, task: Some(TaskRef { id: task, name: name("a") }), ..plain })
}

pub async fn what_was_inserted_by_plain_sql_is_planned_once(f: &Fixture) {
    let until = f.store.now().await.unwrap();
    let peek = f.store.peek(until).await.unwrap();
    assert_eq!((peek.due, peek.changed, peek.orphaned), (false, false, false));
    for name in ["a", "b", "c", "d", "e"] {
        f.sql(&format!("INSERT INTO tasks (name, target, `when`) VALUES ('{name}', 'any', '@hourly')")).await;
    }
    assert!(f.store.peek(until).await.unwrap().changed);
    let batch = f.store.plan_batch(until, 1).await.unwrap();
    let task = &batch.tasks[0];
    assert!(task.changed && !task.paused && !task.resumed && task.planned_to.is_none() && task.spec.is_ok());
    drop(batch);
    assert_eq!(settle(&f.store).await.len(), 5);
    let peek = f.store.peek(until).await.unwrap();
    assert_eq!((peek.due, peek.changed, settle(&f.store).await.len()), (false, false, 0));
    let later = peek.now + TimeDelta::hours(2);
    assert!(f.store.peek(later).await.unwrap().due);
    let batch = f.store.plan_batch(later, 10).await.unwrap();
    assert_eq!(batch.tasks.iter().filter(|task| !task.changed && task.planned_to.is_some()).count(), 5);
}

pub async fn every_edit_by_plain_sql_is_found(f: &Fixture) {
    let task = f.task("a", "@hourly").await;
    f.task("b", "@hourly").await;
    settle(&f.store).await;
    for edit in [
        "name = 'c'",
        "target = 'Web'",
        "target = 'web'",
        "target = 'any'",
        "`when` = '* * * * *'",
        "payload = NULL",
        "payload = ''",
        "payload = 'null'",
        "timezone = 'UTC'",
        "handler = 'h'",
        "retries = 1",
        "backoff = '2s'",
        "max_lost = 0",
        "timeout = NULL",
        "timeout = '1s'",
        "expires = '1s'",
        "priority = 'low'",
        "catch_up = 'none'",
        "catch_up_max = 1",
        "overlap = 'queue'",
        "splay = '1m'",
        "start_deadline = NULL",
        "paused = 1",
        "paused = 0",
        "payload = '\"é\"'",
        "payload = '\"e\"'",
        "payload = '\"e\" '",
    ] {
        f.sql(&format!("UPDATE tasks SET {edit} WHERE uuid = '{}'", task.id)).await;
        assert_eq!(settle(&f.store).await, [task.id], "{edit}");
        f.sql(&format!("UPDATE tasks SET {edit} WHERE uuid = '{}'", task.id)).await;
        assert_eq!(settle(&f.store).await, [], "{edit} again");
    }
}

pub async fn what_is_mirrored_is_no_edit(f: &Fixture) {
    let (a, b) = (f.task("a", "@hourly").await, f.task("b", "@hourly").await);
    settle(&f.store).await;
    let now = f.store.now().await.unwrap();
    let latest = |task, state| Mirror { task, run: run(now).id, state, started: Some(now), retried: 2 };
    let (first, second) = (latest(a.id, State::Running), latest(b.id, State::Error));
    f.store
        .mirror(vec![latest(a.id, State::Queued), first.clone(), second, latest(TaskId::new(), State::Done)])
        .await
        .unwrap();
    assert!(!f.store.peek(now).await.unwrap().changed);
    let last = f.store.task("a").await.unwrap().unwrap().unwrap().last.unwrap();
    assert_eq!((last.run, last.state, last.started), (first.run, State::Running, Some(now)));
    assert_eq!(f.number("SELECT COUNT(*) FROM tasks WHERE retried = 2 AND sdate IS NOT NULL").await, 2);
}

pub async fn two_planners_at_once_plan_each_firing_once(f: &Fixture) {
    for n in 0..40 {
        f.task(&format!("t{n}"), "@hourly").await;
    }
    let start = f.store.now().await.unwrap();
    let mut servers = JoinSet::new();
    for _ in 0..4 {
        let store = f.another().await;
        servers.spawn(async move {
            let mut fired = 0;
            for round in 1..=5 {
                let until = start + TimeDelta::hours(round);
                loop {
                    let batch = store.plan_batch(until, 7).await.unwrap();
                    if batch.tasks.is_empty() && !store_has_more(&store, until).await {
                        break;
                    }
                    let planned: Vec<_> = batch
                        .tasks
                        .iter()
                        .map(|task| Planned { runs: vec![firing(task.id, until)], ..nothing(task.id, until) })
                        .collect();
                    let inserted = batch.commit(planned).await.unwrap().inserted;
                    fired += inserted.iter().filter(|inserted| **inserted == Inserted::New).count();
                }
            }
            fired
        });
    }
    assert_eq!(servers.join_all().await.into_iter().sum::<usize>(), 200);
    assert_eq!(f.number("SELECT COUNT(*) FROM open_runs").await, 200);
}

/// An empty batch may mean that others hold what is due.
async fn store_has_more(store: &Store, until: DateTime<Utc>) -> bool {
    let peek = store.peek(until).await.unwrap();
    peek.due || peek.changed
}

pub async fn what_is_locked_is_passed_over(f: &Fixture) {
    let other = f.another().await;
    if f.store.is_embedded() {
        // One writer: nobody plans beside it.
        return;
    }
    for n in 0..4 {
        f.task(&format!("t{n}"), "@hourly").await;
    }
    let now = f.store.now().await.unwrap();
    let first = f.store.plan_batch(now, 3).await.unwrap();
    let second = other.plan_batch(now, 3).await.unwrap();
    let third = other.plan_batch(now, 3).await.unwrap();
    assert_eq!((first.tasks.len(), second.tasks.len(), third.tasks.len()), (3, 1, 0));
}

pub async fn what_is_queued_ahead_is_given_back_when_its_task_changes(f: &Fixture) {
    let (task, other) = (f.task("a", "@hourly").await, f.task("b", "@hourly").await);
    settle(&f.store).await;
    let now = f.store.now().await.unwrap();
    let ahead = firing(task.id, now + TimeDelta::hours(1));
    let runs = vec![
        ahead.clone(),
        firing(other.id, now + TimeDelta::hours(1)),
        firing(task.id, now - TimeDelta::hours(1)),
    ];
    f.store.insert_runs(runs).await.unwrap();
    let batch = f.store.plan_task(task.id).await.unwrap();
    assert_eq!((batch.tasks.len(), batch.tasks[0].changed, batch.tasks[0].ahead.len()), (1, false, 0));
    drop(batch);
    f.sql("UPDATE tasks SET handler = 'h' WHERE name = 'a'").await;
    let batch = f.store.plan_batch(now, 10).await.unwrap();
    assert_eq!((batch.tasks.len(), &batch.tasks[0].ahead), (1, &vec![ahead.run.id]));
    // Withdrawn and planned again under the same id.
    let changed = NewRun { run: Run { handler: name("h"), ..ahead.run.clone() }, ..ahead.clone() };
    let planned =
        Planned { runs: vec![changed.clone()], withdrawn: vec![ahead.run.id], ..nothing(task.id, now) };
    assert_eq!(batch.commit(vec![planned]).await.unwrap().inserted, [Inserted::New]);
    assert_eq!(f.store.run(ahead.run.id).await.unwrap().unwrap().run, changed.run);
}

pub async fn a_deleted_task_leaves_orphans(f: &Fixture) {
    let (task, stays) = (f.task("a", "@hourly").await, f.task("b", "@hourly").await);
    settle(&f.store).await;
    let now = f.store.now().await.unwrap();
    let (ahead, due) =
        (firing(task.id, now + TimeDelta::hours(1)), firing(task.id, now - TimeDelta::hours(1)));
    let others = [
        new(&Run { due: now + TimeDelta::hours(1), ..run(now) }),
        firing(stays.id, now + TimeDelta::hours(1)),
    ];
    f.store.insert_runs([vec![ahead.clone(), due], others.to_vec()].concat()).await.unwrap();
    assert!(!f.store.peek(now).await.unwrap().orphaned);
    f.sql("DELETE FROM tasks WHERE name = 'a'").await;
    assert!(f.store.peek(now).await.unwrap().orphaned);
    let orphans = f.store.orphans(10).await.unwrap();
    assert_eq!(orphans, [ahead.run.id]);
    f.store.withdraw(orphans).await.unwrap();
    assert!(!f.store.peek(now).await.unwrap().orphaned);
}

pub async fn a_bad_row_gets_its_problem_and_is_left_alone(f: &Fixture) {
    f.sql("INSERT INTO tasks (name, target, `when`) VALUES ('a', 'any', 'x'), ('b', 'any', '@hourly')").await;
    f.sql("INSERT INTO tasks (uuid, name, target) VALUES ('me', 'c', 'any')").await;
    settle(&f.store).await;
    assert!(!f.store.peek(f.store.now().await.unwrap()).await.unwrap().changed);
    assert_eq!(
        f.number("SELECT COUNT(*) FROM tasks WHERE problem LIKE 'when: %' OR problem LIKE 'uuid: %'").await,
        2
    );
    f.sql("UPDATE tasks SET `when` = '@daily' WHERE name = 'a'").await;
    assert_eq!(settle(&f.store).await.len(), 1);
    assert_eq!(f.store.task("a").await.unwrap().unwrap().unwrap().problem, "");
}

pub async fn a_resumed_task_is_told_from_one_that_was_never_paused(f: &Fixture) {
    let task = f.task("a", "@hourly").await;
    for (edit, paused, resumed) in [
        ("retries = 1", false, false),
        ("paused = 1", true, false),
        ("retries = 2", true, false),
        ("paused = 0", false, true),
        ("retries = 3", false, false),
    ] {
        settle(&f.store).await;
        f.sql(&format!("UPDATE tasks SET {edit}")).await;
        let batch = f.store.plan_task(task.id).await.unwrap();
        assert_eq!((batch.tasks[0].paused, batch.tasks[0].resumed), (paused, resumed), "{edit}");
    }
    f.store.delete_task("a").await.unwrap();
    assert_eq!(f.store.plan_task(task.id).await.unwrap().tasks, []);
}

pub async fn a_long_payload_written_by_plain_sql_travels_by_hash(f: &Fixture) {
    let text = |letter: &str| format!("\"{}\"", letter.repeat(5000));
    f.sql(&format!("INSERT INTO tasks (name, target, payload) VALUES ('a', 'any', '{}')", text("a"))).await;
    f.sql(&format!("INSERT INTO payloads (data) VALUES ('{}')", text("b"))).await;
    f.sql("INSERT INTO tasks (name, target, payload) SELECT 'b', 'any', uuid FROM payloads").await;
    let now = f.store.now().await.unwrap();
    let batch = f.store.plan_batch(now, 10).await.unwrap();
    let mut payloads: Vec<_> = batch
        .tasks
        .iter()
        .map(|task| task.spec.clone().unwrap())
        .map(|spec| (spec.name, spec.payload))
        .collect();
    payloads.sort_by_key(|(name, _)| name.clone());
    let planned = batch.tasks.iter().map(|task| nothing(task.id, now)).collect();
    batch.commit(planned).await.unwrap();
    for ((_, payload), letter) in payloads.into_iter().zip(["a", "b"]) {
        let Payload::Stored(hash) = payload else { panic!("{letter} travels inline") };
        assert_eq!(f.store.payload(hash).await.unwrap().unwrap(), text(letter));
    }
}

pub async fn skipped_firings_go_to_the_history_once(f: &Fixture) {
    let task = f.task("a", "@hourly").await;
    let fire = f.store.now().await.unwrap() - TimeDelta::hours(3);
    for _ in 0..2 {
        let batch = f.store.plan_task(task.id).await.unwrap();
        let skipped = vec![(firing(task.id, fire), "too late".to_owned())];
        batch.commit(vec![Planned { skipped, ..nothing(task.id, fire) }]).await.unwrap();
    }
    let view = f.store.run(firing(task.id, fire).run.id).await.unwrap().unwrap();
    assert_eq!((view.state, view.error.as_str()), (State::Skipped, "too late"));
    assert_eq!(f.number("SELECT COUNT(*) FROM runs").await, 1);
}
