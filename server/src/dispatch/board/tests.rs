use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use chrono::DateTime;

use super::*;
use crate::run::{Durability, Overlap, Payload, Policy, Priority, Run};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn any(selector: &str) -> Place {
    Place::parse(&format!("any({selector})")).unwrap()
}

fn traits(text: &str) -> Traits {
    let pairs = text.split(',').filter_map(|pair| pair.split_once('='));
    Traits { labels: pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect(), ..Traits::default() }
}

/// A board with a clock that the test moves.
struct Game {
    board: Board,
    now: Instant,
    fence: u64,
}

impl Game {
    fn new() -> Self {
        Self { board: Board::default(), now: Instant::now(), fence: 0 }
    }

    fn connect(&mut self, worker: &str, with: &str, credit: u64) -> SessionId {
        let id = SessionId(uuid::Uuid::new_v4());
        let (server, instance) = ("s".to_owned(), "i".to_owned());
        let session = Session { worker: name(worker), id, server, instance };
        self.board.open(session, traits(with), credit, false, Vec::new(), self.now);
        id
    }

    fn delivery(&mut self, place: &Place) -> Delivery {
        self.fence += 1;
        let run = Run {
            id: RunId::new(DateTime::UNIX_EPOCH, 0),
            task: None,
            group: None,
            place: place.clone(),
            handler: name("exec"),
            payload: Payload::Inline(Bytes::new()),
            priority: Priority::Normal,
            durability: Durability::Fast,
            policy: Policy::default(),
            overlap: Overlap::Allow,
            created: DateTime::UNIX_EPOCH,
            due: DateTime::UNIX_EPOCH,
        };
        Delivery { run: run.id, fence: Fence(self.fence), attempt: 1, body: run.encode().into() }
    }

    /// Answers every claim with all that it asks for, up to what is there; says what each worker got.
    fn serve(&mut self, place: &Place, there: &mut u32) -> BTreeMap<String, usize> {
        let mut got = BTreeMap::new();
        loop {
            let claims = self.board.claims();
            if claims.is_empty() {
                return got;
            }
            for claim in claims {
                let count = if claim.place == *place { claim.max.min(*there) } else { 0 };
                *there -= count;
                let deliveries = (0..count).map(|_| self.delivery(place)).collect();
                let claimed =
                    Claimed { deliveries, more: claim.place == *place && *there > 0, unknown: false };
                if let Some(Brought::Assign { worker, deliveries, .. }) =
                    self.board.claimed(&claim, Some(claimed), self.now)
                {
                    *got.entry(worker.to_string()).or_default() += deliveries.len();
                }
            }
        }
    }
}

#[test]
fn a_burst_larger_than_the_credit_is_delivered_as_credit_comes_back() {
    let mut game = Game::new();
    let session = game.connect("web-1", "", 100);
    let place = Place::Worker(name("web-1"));
    game.board.ready(place.clone());
    let mut there = 130;
    assert_eq!(game.serve(&place, &mut there)["web-1"], 100);
    assert!(game.board.claims().is_empty(), "no claim without credit");
    game.board.said(&name("web-1"), session, &FromWorker::Credit { total: 140, ended: Vec::new() });
    assert_eq!(game.serve(&place, &mut there)["web-1"], 30);
}

#[test]
fn work_that_was_queued_before_its_worker_connects_is_claimed_when_it_does() {
    let mut game = Game::new();
    game.board.ready(Place::Worker(name("web-1")));
    game.board.ready(any("role=web"));
    assert!(game.board.claims().is_empty());
    game.connect("web-1", "role=web", 1);
    let places: Vec<_> = (0..2)
        .flat_map(|_| {
            let claims = game.board.claims();
            for claim in &claims {
                game.board.claimed(claim, None, game.now);
            }
            claims.into_iter().map(|claim| claim.place.to_string())
        })
        .collect();
    assert!(
        places.contains(&"web-1".to_owned()) && places.contains(&"any(role=web)".to_owned()),
        "{places:?}"
    );
}

#[test]
fn an_any_place_is_shared_by_the_workers_that_match_and_by_no_others() {
    let mut game = Game::new();
    for worker in ["web-1", "web-2", "web-3"] {
        game.connect(worker, "role=web", 8);
    }
    game.connect("db-1", "role=db", 8);
    let place = any("role=web");
    game.board.ready(place.clone());
    let mut there = 24;
    let got = game.serve(&place, &mut there);
    assert_eq!(
        got.into_iter().collect::<Vec<_>>(),
        [("web-1".into(), 8), ("web-2".into(), 8), ("web-3".into(), 8)]
    );
}

#[test]
fn a_place_where_nobody_could_take_anything_is_looked_at_when_somebody_can() {
    let mut game = Game::new();
    let session = game.connect("web-1", "role=web", 0);
    game.board.ready(any("role=web"));
    game.board.ready(Place::Worker(name("web-1")));
    assert!(game.board.claims().is_empty());
    game.board.said(&name("web-1"), session, &FromWorker::Credit { total: 1, ended: Vec::new() });
    assert!(!game.board.claims().is_empty());
}

#[test]
fn a_session_has_one_claim_at_a_time_so_that_its_credit_is_never_overdrawn() {
    let mut game = Game::new();
    game.connect("web-1", "role=web", 1);
    game.board.ready(any("role=web"));
    game.board.ready(Place::Worker(name("web-1")));
    assert_eq!(game.board.claims().len(), 1);
    assert!(game.board.claims().is_empty());
}

#[test]
fn a_drained_worker_gets_nothing_until_it_is_given_work_again() {
    let mut game = Game::new();
    game.connect("web-1", "", 5);
    game.board.drain(&name("web-1"), true);
    game.board.ready(Place::Worker(name("web-1")));
    assert!(game.board.claims().is_empty());
    game.board.drain(&name("web-1"), false);
    assert_eq!(game.board.claims().len(), 1);
}

#[test]
fn what_came_while_the_queue_did_not_know_the_session_is_looked_at_when_it_does_again() {
    let mut game = Game::new();
    let session = game.connect("web-1", "role=web", 5);
    game.serve(&any("role=web"), &mut 0);
    for place in [any("role=web"), Place::Worker(name("web-1"))] {
        game.board.ready(place.clone());
        let claims = game.board.claims();
        assert_eq!(claims.iter().map(|claim| &claim.place).collect::<Vec<_>>(), [&place]);
        let unknown = Claimed { unknown: true, ..Claimed::default() };
        assert_eq!(game.board.claimed(&claims[0], Some(unknown), game.now), None);
        assert!(game.board.claims().is_empty());
    }
    assert!(game.board.get(&name("web-1"), session).is_some());
    game.board.reopened(&name("web-1"));
    assert_eq!(game.serve(&any("role=web"), &mut 3), BTreeMap::from([("web-1".to_owned(), 3)]));
}

#[test]
fn what_a_claim_brings_to_a_session_that_has_gone_goes_back() {
    let mut game = Game::new();
    let session = game.connect("web-1", "", 5);
    let claims = game.board.claims();
    game.board.close(&name("web-1"), session);
    let delivery = game.delivery(&claims[0].place);
    let claimed = Claimed { deliveries: vec![delivery.clone()], more: false, unknown: false };
    let back = Brought::Return { worker: name("web-1"), deliveries: vec![delivery] };
    assert_eq!(game.board.claimed(&claims[0], Some(claimed), game.now), Some(back));
}

#[test]
fn what_is_not_accepted_within_five_seconds_is_taken_off_and_what_is_accepted_stays() {
    let mut game = Game::new();
    let session = game.connect("web-1", "", 2);
    let claims = game.board.claims();
    let deliveries = vec![game.delivery(&claims[0].place), game.delivery(&claims[0].place)];
    game.board.claimed(
        &claims[0],
        Some(Claimed { deliveries: deliveries.clone(), more: false, unknown: false }),
        game.now,
    );
    let (_, lease) = game.board.lease(&name("web-1"), deliveries[0].run, deliveries[0].fence).unwrap();
    let started = game.board.said(&name("web-1"), session, &FromWorker::Accepted(vec![lease.clone(), lease]));
    assert_eq!(started.len(), 1, "accepting twice counts once");
    assert!(game.board.unaccepted(game.now + Duration::from_millis(4_999)).is_empty());
    game.board.spare(Duration::from_secs(2));
    assert!(
        game.board.unaccepted(game.now + Duration::from_millis(6_999)).is_empty(),
        "the server itself was late"
    );
    let overdue = game.board.unaccepted(game.now + Duration::from_secs(7));
    assert_eq!(overdue.iter().map(|(_, lease)| lease.run).collect::<Vec<_>>(), [deliveries[1].run]);
    assert!(game.board.unaccepted(game.now + Duration::from_secs(60)).is_empty());
}

#[test]
fn the_clean_up_of_an_old_session_does_not_touch_the_new_one() {
    let mut game = Game::new();
    let old = game.connect("web-1", "", 1);
    let new = game.connect("web-1", "", 1);
    assert!(game.board.close(&name("web-1"), old).is_none());
    assert!(game.board.get(&name("web-1"), new).is_some());
}

#[test]
fn what_ended_with_any_verdict_is_held_no_longer_and_what_is_never_told_costs_no_credit() {
    let mut game = Game::new();
    let session = game.connect("web-1", "", 2);
    for round in 1..=100 {
        let place = Place::Worker(name("web-1"));
        game.board.ready(place.clone());
        assert_eq!(game.serve(&place, &mut 2)["web-1"], 2, "round {round}");
        let live = game.board.find(&name("web-1")).unwrap();
        assert_eq!(live.holding().len(), round + 1, "all that was never told, and two new ones");
        let told = live.holding().into_iter().take(1).collect();
        let total = 2 + 2 * round as u64;
        game.board.said(&name("web-1"), session, &FromWorker::Credit { total, ended: told });
        assert_eq!(game.board.find(&name("web-1")).unwrap().free(), 2);
    }
}

#[test]
fn credit_never_falls() {
    let mut game = Game::new();
    let session = game.connect("web-1", "", 10);
    game.board.said(&name("web-1"), session, &FromWorker::Credit { total: 3, ended: Vec::new() });
    assert_eq!(game.board.find(&name("web-1")).unwrap().free(), 10);
}

#[test]
fn credit_without_bounds_is_honoured_within_bounds() {
    let mut game = Game::new();
    let session = game.connect("web-1", "", u64::MAX);
    let place = Place::Worker(name("web-1"));
    for _ in 0..2 {
        game.board.ready(place.clone());
        assert_eq!(game.serve(&place, &mut 25_000)["web-1"], 10_000, "and no more until it is heard again");
        game.board.said(&name("web-1"), session, &FromWorker::Credit { total: u64::MAX, ended: Vec::new() });
    }
}

#[test]
fn a_list_of_selectors_that_comes_late_does_not_hide_a_place_where_nobody_could_take_anything() {
    let mut game = Game::new();
    let session = game.connect("web-1", "role=web", 0);
    game.board.ready(any("role=web"));
    assert!(game.board.claims().is_empty());
    game.board.sweep(Vec::new());
    game.board.said(&name("web-1"), session, &FromWorker::Credit { total: 1, ended: Vec::new() });
    assert_eq!(game.serve(&any("role=web"), &mut 1)["web-1"], 1);
}

#[test]
fn a_selector_that_is_no_longer_used_is_forgotten() {
    let mut game = Game::new();
    let session = game.connect("web-1", "role=web", 1);
    game.board.ready(any("role=web"));
    let mut nothing = 0;
    game.serve(&any("role=web"), &mut nothing);
    game.board.sweep(Vec::new());
    game.serve(&any("role=web"), &mut nothing);
    game.board.said(&name("web-1"), session, &FromWorker::Credit { total: 2, ended: Vec::new() });
    assert!(game.board.claims().is_empty());
}

#[test]
fn of_what_ended_only_that_is_asked_after_of_which_the_queue_was_told_that_it_is_held() {
    let mut game = Game::new();
    let session = game.connect("web-1", "role=web", 2);
    game.board.ready(any("role=web"));
    assert_eq!(game.serve(&any("role=web"), &mut 1)["web-1"], 1);
    let worker = name("web-1");
    let held = game.board.get(&worker, session).unwrap().holding();
    assert_eq!(game.board.untell(&worker, session, &held), [], "the queue gave it and was told nothing");
    assert_eq!(game.board.get(&worker, session).unwrap().tell(), held);
    assert_eq!(game.board.untell(&worker, session, &held), held);
    assert_eq!(game.board.untell(&worker, session, &held), [], "once");
}
