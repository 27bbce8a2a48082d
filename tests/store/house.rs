//! Workers, payloads, and facts about the installation.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chrono::TimeDelta;
use marabunta_proto::selector::{Selector, Traits};
use marabunta_server::run::{Fence, Payload, PayloadHash};
use marabunta_server::store::{Registered, Registration};
use tokio::task::JoinSet;

use crate::fixture::{Fixture, name};

pub async fn facts_are_made_once_whoever_asks_first(f: &Fixture) {
    let mut servers = JoinSet::new();
    for default in 1..=6 {
        let store = f.another().await;
        servers.spawn(
            async move { (store.shards(default).await.unwrap(), store.installation().await.unwrap()) },
        );
    }
    let mut facts = servers.join_all().await;
    facts.dedup();
    assert_eq!(facts.len(), 1);
    assert_eq!(f.store.shards(99).await.unwrap(), facts[0].0);
}

pub async fn the_fence_floor_only_rises(f: &Fixture) {
    assert_eq!(f.store.fence_floor().await.unwrap(), Fence(1));
    for (raised, floor) in [(1 << 60, 1 << 60), (5, 1 << 60), ((1 << 60) + 1, (1 << 60) + 1)] {
        f.store.raise_fence_floor(Fence(raised)).await.unwrap();
        assert_eq!(f.store.fence_floor().await.unwrap(), Fence(floor));
    }
}

pub async fn what_was_let_go_is_known_from_the_first_question_on_and_only_moves_forward(f: &Fixture) {
    let before = f.store.now().await.unwrap();
    let first = f.store.released().await.unwrap();
    assert!(first >= before && first == f.store.released().await.unwrap());
    for (noted, expected) in [(60, 60), (5, 60), (61, 61)] {
        f.store.note_released(first + TimeDelta::seconds(noted)).await.unwrap();
        assert_eq!(f.store.released().await.unwrap(), first + TimeDelta::seconds(expected));
    }
}

pub async fn the_last_darkness_is_remembered_whole(f: &Fixture) {
    assert_eq!(f.store.dark().await.unwrap(), None);
    let start = f.store.now().await.unwrap();
    let at = |seconds| start + TimeDelta::seconds(seconds);
    for ((from, to), expected) in [
        ((10, 20), (10, 20)),
        ((5, 21), (5, 21)),   // of the same, found by another tick
        ((15, 22), (5, 22)),  // found a moment later
        ((90, 99), (90, 99)), // another
        ((1, 2), (90, 99)),   // too late to matter
    ] {
        f.store.note_dark(at(from), at(to)).await.unwrap();
        assert_eq!(f.store.dark().await.unwrap(), Some((at(expected.0), at(expected.1))));
    }
}

fn worker(text: &str, role: &str) -> Registration {
    Registration {
        name: name(text),
        traits: Traits {
            labels: BTreeMap::from([("role".to_owned(), role.to_owned())]),
            handlers: BTreeSet::from([name("exec"), name("backup")]),
        },
        slots: 4,
        version: "0.1.0".to_owned(),
    }
}

pub async fn a_worker_is_registered_and_drained(f: &Fixture) {
    let registered = |draining, matches_others| Registered { draining, matches_others };
    let register = async |worker: Registration| f.store.register(&[worker]).await.unwrap()[0];
    assert_eq!(register(worker("w", "web")).await, registered(false, true));
    assert_eq!(register(worker("w", "web")).await, registered(false, false));
    let first = f.store.worker(&name("w")).await.unwrap().unwrap();
    assert_eq!(first.registration, worker("w", "web"));
    assert!(f.store.set_draining(&name("w"), true).await.unwrap());
    assert!(!f.store.set_draining(&name("x"), true).await.unwrap());
    assert_eq!(register(worker("w", "db")).await, registered(true, true));
    let again = f.store.worker(&name("w")).await.unwrap().unwrap();
    assert_eq!(
        (again.registration, again.registered, again.draining),
        (worker("w", "db"), first.registered, true)
    );
    assert!(again.connected >= first.connected);
    let more = Registration { slots: 7, ..worker("w", "db") };
    assert_eq!(register(more.clone()).await, registered(true, false), "who matches depends on labels alone");
    assert_eq!(f.store.worker(&name("w")).await.unwrap().unwrap().registration, more);
}

pub async fn many_workers_are_registered_at_once(f: &Fixture) {
    let herd = |role: &str| (0..600).map(|n| worker(&format!("w{}", n % 500), role)).collect::<Vec<_>>();
    let registered = f.store.register(&herd("web")).await.unwrap();
    assert_eq!(registered.len(), 600);
    assert!(registered.iter().all(|one| one.matches_others && !one.draining));
    let before = f.store.worker(&name("w499")).await.unwrap().unwrap();
    let mut again = herd("web");
    again[499] = worker("w499", "db");
    again.push(worker("new", "web"));
    let some = &herd("web")[..400];
    let (one, other) = tokio::join!(f.store.register(&again), f.store.register(some));
    assert!(other.unwrap().iter().all(|one| !one.matches_others));
    let others: Vec<_> = (0..601).filter(|n| one.as_ref().unwrap()[*n].matches_others).collect();
    assert_eq!(others, [499, 600]);
    let after = f.store.worker(&name("w499")).await.unwrap().unwrap();
    assert_eq!((after.registration, after.registered), (worker("w499", "db"), before.registered));
    assert_eq!(f.store.worker(&name("w0")).await.unwrap().unwrap().registration, worker("w0", "web"));
    let later: Selector = "role=db".parse().unwrap();
    assert_eq!(f.store.matching(&later).await.unwrap(), [name("w499")]);
    assert_eq!(f.store.register(&[]).await.unwrap(), []);
}

pub async fn workers_are_found_by_selector_and_page(f: &Fixture) {
    for (name, role) in [("w1", "web"), ("w3", "db"), ("w2", "web"), ("w10", "web")] {
        f.store.register(&[worker(name, role)]).await.unwrap();
    }
    for (selector, expected) in [
        ("", vec!["w1", "w10", "w2", "w3"]),
        ("role=web", vec!["w1", "w10", "w2"]),
        ("role!=web", vec!["w3"]),
        ("name in (w2,w3)", vec!["w2", "w3"]),
        ("role=x", vec![]),
    ] {
        let selector: Selector = selector.parse().unwrap();
        let expected: Vec<_> = expected.into_iter().map(name).collect();
        assert_eq!(f.store.matching(&selector).await.unwrap(), expected, "{selector}");
        let (mut names, mut after) = (vec![], None);
        loop {
            let page = f.store.workers(&selector, after.as_ref(), 2).await.unwrap();
            names.extend(page.workers.into_iter().map(|worker| worker.registration.name));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(names, expected, "{selector} by page");
    }
}

pub async fn long_payloads_are_kept_by_hash(f: &Fixture) {
    let long = Bytes::from(format!("\"{}é\"", "x".repeat(100_000)));
    let (most, more) =
        (Bytes::from(" ".repeat(Payload::INLINE)), Bytes::from(" ".repeat(Payload::INLINE + 1)));
    let given = vec![long.clone(), most.clone(), more.clone(), long.clone()];
    let (hash, more_hash) = (PayloadHash::of(&long), PayloadHash::of(&more));
    for _ in 0..2 {
        let payloads = f.store.intern(given.clone()).await.unwrap();
        assert_eq!(
            payloads,
            [
                Payload::Stored(hash),
                Payload::Inline(most.clone()),
                Payload::Stored(more_hash),
                Payload::Stored(hash)
            ]
        );
    }
    assert_eq!(f.store.payload(hash).await.unwrap(), Some(long));
    assert_eq!(f.store.payload(PayloadHash::of(b"")).await.unwrap(), None);
    assert_eq!(f.number("SELECT COUNT(*) FROM payloads").await, 2);
    f.sql("UPDATE payloads SET data = '1'").await;
    assert_eq!(f.store.payload(hash).await.unwrap(), None);
}

pub async fn several_servers_open_an_empty_store_at_once(f: &Fixture) {
    for table in [
        "payloads",
        "tasks",
        "open_runs",
        "runs",
        "attempts",
        "idempotency",
        "messages",
        "workers",
        "meta",
        "_sqlx_migrations",
    ] {
        f.sql(&format!("DROP TABLE {table}")).await;
    }
    if f.store.is_embedded() {
        return;
    }
    let stores = futures(f).await;
    assert_eq!(stores, 5);
}

async fn futures(f: &Fixture) -> usize {
    let (a, b, c, d, e) = tokio::join!(f.another(), f.another(), f.another(), f.another(), f.another());
    let mut opened = 0;
    for store in [a, b, c, d, e] {
        store.installation().await.unwrap();
        opened += 1;
    }
    opened
}
