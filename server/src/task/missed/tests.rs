use bytes::Bytes;
use marabunta_proto::when::When;

use super::*;
use crate::run::{Durability, Overlap, Payload, Place, Policy, Priority, RunId, TaskId, TaskRef};

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

fn task(when: &str, catch_up: CatchUp) -> Task {
    let spec = TaskSpec {
        name: "nightly".parse().unwrap(),
        description: String::new(),
        target: "web-1".parse().unwrap(),
        when: When::parse(when).unwrap(),
        timezone: chrono_tz::UTC,
        handler: "backup".parse().unwrap(),
        payload: Payload::Inline(Bytes::from_static(b"null")),
        policy: Policy::default(),
        priority: Priority::Normal,
        catch_up,
        overlap: Overlap::Allow,
        splay: Duration::ZERO,
        start_deadline: None,
    };
    let created = at("00:00:00.25");
    Task {
        id: TaskId::new(),
        spec,
        paused: false,
        created,
        modified: created,
        problem: String::new(),
        planned_to: created,
        last: None,
    }
}

/// The run of a firing at this time.
fn run(task: &Task, fire: DateTime<Utc>) -> Run {
    let place = Place::Worker("web-1".parse().unwrap());
    Run {
        id: RunId::fired(task.id, fire, &place, 0),
        task: Some(TaskRef { id: task.id, name: task.spec.name.clone() }),
        group: None,
        due: fire + splay(task.id, &place, task.spec.splay),
        place,
        handler: task.spec.handler.clone(),
        payload: task.spec.payload.clone(),
        priority: Priority::Normal,
        durability: Durability::Durable,
        policy: Policy::default(),
        overlap: Overlap::Allow,
        created: fire - TimeDelta::minutes(1),
    }
}

/// Those of the firings on these minutes that take place, seen at 12:05:30.
fn kept(task: &Task, minutes: &[u32]) -> Vec<u32> {
    let fires = |minute: &u32| {
        let run = run(task, at(&format!("12:{minute:02}:00")));
        left_out(Some(task), &run, at("12:05:30")).is_none()
    };
    minutes.iter().copied().filter(|minute| fires(minute)).collect()
}

#[test]
fn catch_up_keeps_the_latest_of_all_that_were_missed_whether_or_not_they_were_queued_ahead() {
    for (catch_up, expected) in [
        (CatchUp::None, vec![]),
        (CatchUp::Latest, vec![5]),
        (CatchUp::All(2), vec![4, 5]),
        (CatchUp::All(9), vec![1, 2, 3, 4, 5]),
    ] {
        let task = task("* * * * *", catch_up);
        assert_eq!(kept(&task, &[1, 2, 3, 4, 5]), expected, "{catch_up:?}");
        // What was never planned counts as well.
        let ahead: Vec<_> = expected.into_iter().filter(|minute| *minute < 3).collect();
        assert_eq!(kept(&task, &[1, 2]), ahead, "{catch_up:?}");
    }
}

#[test]
fn a_start_deadline_leaves_out_what_is_later_by_more() {
    let mut task = task("* * * * *", CatchUp::All(9));
    task.spec.start_deadline = Some(Duration::from_secs(90));
    assert_eq!(kept(&task, &[1, 2, 3, 4, 5]), [4, 5]);
    let reason = left_out(Some(&task), &run(&task, at("12:03:00")), at("12:05:30"));
    assert!(reason.is_some_and(|reason| reason.contains("deadline")), "{reason:?}");
}

#[test]
fn splay_and_a_creation_between_two_seconds_change_nothing() {
    let mut task = task("* * * * *", CatchUp::Latest);
    task.spec.splay = Duration::from_secs(20);
    assert_eq!(kept(&task, &[3, 4, 5]), [5]);
    task.spec.when = When::parse("@every 1m").unwrap();
    let fire = at("12:05:00.25");
    assert_eq!(left_out(Some(&task), &run(&task, fire), at("12:05:30")), None);
    assert!(left_out(Some(&task), &run(&task, fire - TimeDelta::minutes(1)), at("12:05:30")).is_some());
}

#[test]
fn what_its_task_would_not_fire_now_does_not_take_place() {
    let known = task("* * * * *", CatchUp::All(9));
    let missed = run(&known, at("12:05:00"));
    let edited = Task {
        spec: TaskSpec { when: When::parse("0 2 * * *").unwrap(), ..known.spec.clone() },
        ..known.clone()
    };
    let paused = Task { paused: true, ..known.clone() };
    for (task, what) in [(None, "deleted"), (Some(&edited), "edited"), (Some(&paused), "paused")] {
        let reason = left_out(task, &missed, at("12:05:30"));
        assert!(reason.is_some_and(|reason| reason.contains("changed since")), "{what}: {reason:?}");
    }
    assert_eq!(left_out(Some(&known), &missed, at("12:05:30")), None);
}
