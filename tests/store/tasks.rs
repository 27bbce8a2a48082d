//! Tasks, through the API and by plain SQL.

use std::time::Duration;

use bytes::Bytes;
use marabunta_proto::when::When;
use marabunta_server::run::{Payload, PayloadHash, Policy};
use marabunta_server::store::StoreError;
use marabunta_server::task::{CatchUp, TaskSpec};

use crate::fixture::{Fixture, name, spec};

pub async fn a_task_is_read_as_it_was_written(f: &Fixture) {
    let every = [
        spec("a", "*/5 9-17 * * MON-FRI"),
        TaskSpec {
            payload: Payload::Inline(Bytes::from("\"".repeat(2) + &" ".repeat(4000))),
            ..spec("b", "@every 1h30m")
        },
        TaskSpec {
            policy: Policy::default(),
            splay: Duration::ZERO,
            start_deadline: None,
            ..spec("c", "now")
        },
        TaskSpec {
            catch_up: CatchUp::None,
            description: String::new(),
            ..spec("d", "@at 2026-03-07T02:30:00Z")
        },
    ];
    for spec in every {
        let task = f.store.create_task(&spec, true).await.unwrap();
        assert_eq!(task.spec, spec);
        assert_eq!(f.store.task(spec.name.as_str()).await.unwrap(), Some(Ok(task.clone())));
        assert_eq!(f.store.task(&task.id.to_string()).await.unwrap(), Some(Ok(task)));
    }
}

pub async fn a_name_is_given_once(f: &Fixture) {
    let first = f.task("a", "now").await;
    let conflict = |result| matches!(result, Err(StoreError::Conflict(name)) if name == "a");
    assert!(conflict(f.store.create_task(&spec("a", "now"), false).await));
    let second = f.task("b", "now").await;
    assert!(conflict(f.store.update_task(second.id, None, &spec("a", "now")).await));
    assert!(f.store.update_task(first.id, None, &spec("a", "@hourly")).await.is_ok());
}

pub async fn an_update_counts_only_for_who_saw_the_latest(f: &Fixture) {
    let task = f.task("a", "@hourly").await;
    let changed = TaskSpec { handler: name("backup"), ..task.spec.clone() };
    let updated = f.store.update_task(task.id, Some(&task.spec), &changed).await.unwrap();
    assert_eq!((updated.spec, updated.created), (changed.clone(), task.created));
    let again = f.store.update_task(task.id, Some(&task.spec), &task.spec).await;
    assert!(matches!(again, Err(StoreError::Changed)), "{again:?}");
    f.sql("UPDATE tasks SET retries = 3").await;
    let again = f.store.update_task(task.id, Some(&changed), &task.spec).await;
    assert!(matches!(again, Err(StoreError::Changed)), "{again:?}");
    f.store.delete_task("a").await.unwrap();
    let gone = f.store.update_task(task.id, None, &task.spec).await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))), "{gone:?}");
}

pub async fn equal_payloads_are_stored_once(f: &Fixture) {
    for name in ["a", "b", "c"] {
        f.task(name, "@hourly").await;
    }
    assert_eq!(f.number("SELECT COUNT(*) FROM payloads").await, 1);
    let long = Bytes::from(format!("\"{}\"", "x".repeat(5000)));
    let payload = f.store.intern(vec![long.clone()]).await.unwrap().remove(0);
    assert_eq!(payload, Payload::Stored(PayloadHash::of(&long)));
    let task = f
        .store
        .create_task(&TaskSpec { payload: payload.clone(), ..spec("d", "@hourly") }, false)
        .await
        .unwrap();
    assert_eq!(task.spec.payload, payload);
    assert_eq!(f.number("SELECT COUNT(*) FROM payloads").await, 2);
}

pub async fn tasks_are_listed_by_name_and_prefix(f: &Fixture) {
    for name in ["web-2", "web", "db", "web-10", "web-1", "weber"] {
        f.task(name, "@hourly").await;
    }
    f.sql("INSERT INTO tasks (name, target) VALUES ('web-3', '(')").await;
    for (prefix, size, expected) in [
        ("", 3, vec!["db", "web", "web-1", "web-10", "web-2", "web-3", "weber"]),
        ("web-", 2, vec!["web-1", "web-10", "web-2", "web-3"]),
        ("x", 2, vec![]),
    ] {
        let (mut names, mut after) = (vec![], None::<String>);
        loop {
            let page = f.store.tasks(prefix, after.as_deref(), size).await.unwrap();
            names.extend(
                page.tasks
                    .into_iter()
                    .map(|task| task.map_or_else(|bad| bad.name, |task| task.spec.name.to_string())),
            );
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(names, expected, "{prefix}");
    }
}

pub async fn a_task_is_paused_and_deleted_by_name_or_id(f: &Fixture) {
    let task = f.task("a", "@hourly").await;
    for (key, paused) in [("a".to_owned(), true), (task.id.to_string(), false), (task.id.to_string(), true)] {
        let now = f.store.set_paused(&key, paused).await.unwrap().unwrap().unwrap();
        assert_eq!((now.paused, now.id), (paused, task.id));
    }
    for key in ["b", "A", "a ", "ä", ""] {
        assert_eq!(f.store.set_paused(key, true).await.unwrap(), None, "{key}");
        assert!(!f.store.delete_task(key).await.unwrap(), "{key}");
    }
    assert!(f.store.delete_task(&task.id.to_string()).await.unwrap());
    assert_eq!(f.store.task("a").await.unwrap(), None);
}

pub async fn a_row_of_plain_sql_needs_four_columns(f: &Fixture) {
    f.sql("INSERT INTO tasks (name, target, `when`, payload) VALUES ('a', 'web-1', '@hourly', '{\"argv\":[\"true\"]}')").await;
    f.sql("INSERT INTO payloads (data) VALUES ('{\"argv\":[\"false\"]}')").await;
    f.sql("INSERT INTO tasks (name, target, payload) SELECT 'b', 'all', uuid FROM payloads").await;
    let task = async |name| f.store.task(name).await.unwrap().unwrap().unwrap();
    let (a, b) = (task("a").await, task("b").await);
    assert_eq!(a.spec.payload, Payload::Inline(Bytes::from_static(b"{\"argv\":[\"true\"]}")));
    assert_eq!(b.spec.payload, Payload::Inline(Bytes::from_static(b"{\"argv\":[\"false\"]}")));
    assert_eq!(
        (a.spec.handler.as_str(), a.spec.policy.clone(), a.paused),
        ("exec", Policy::default(), false)
    );
    assert_eq!((b.spec.when, b.spec.catch_up, b.spec.timezone), (When::Now, CatchUp::Latest, chrono_tz::UTC));
    let age = f.store.now().await.unwrap() - a.created;
    assert!(age.num_seconds().abs() < 600, "{age}");
}

pub async fn a_bad_row_names_its_column(f: &Fixture) {
    for (column, value) in [
        ("name", "'Web'"),
        ("type", "'daily'"),
        ("type", "'ondemand'"),
        ("target", "'any(role'"),
        ("`when`", "'61 * * * *'"),
        ("`when`", "''"),
        ("payload", "'{'"),
        ("payload", "'00000000-0000-4000-8000-000000000000'"),
        ("timezone", "'Mars/Phobos'"),
        ("handler", "'a b'"),
        ("retries", "-1"),
        ("backoff", "'soon'"),
        ("max_lost", "2000000"),
        ("timeout", "'5'"),
        ("expires", "''"),
        ("priority", "'HIGH'"),
        ("catch_up", "'some'"),
        ("overlap", "''"),
        ("splay", "'-1s'"),
        ("start_deadline", "'1y'"),
        ("uuid", "'me'"),
    ] {
        f.sql("INSERT INTO tasks (name, target, `when`) VALUES ('a', 'web-1', '@hourly')").await;
        f.sql(&format!("UPDATE tasks SET {column} = {value}")).await;
        let page = f.store.tasks("", None, 10).await.unwrap();
        let bad = page
            .tasks
            .into_iter()
            .find_map(Result::err)
            .unwrap_or_else(|| panic!("{column} = {value} is read"));
        assert!(bad.problem.starts_with(column.trim_matches('`')), "{column} = {value}: {}", bad.problem);
        f.sql("DELETE FROM tasks").await;
    }
}
