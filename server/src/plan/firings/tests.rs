use bytes::Bytes;

use super::*;
use crate::run::{Overlap, Payload, Policy, Priority, TaskId};
use crate::task::CatchUp;

fn at(text: &str) -> DateTime<Utc> {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

fn task(when: &str, target: &str) -> PlanTask {
    let spec = TaskSpec {
        name: "nightly".parse().unwrap(),
        description: String::new(),
        target: target.parse().unwrap(),
        when: When::parse(when).unwrap(),
        timezone: chrono_tz::UTC,
        handler: "backup".parse().unwrap(),
        payload: Payload::Inline(Bytes::from_static(b"null")),
        policy: Policy::default(),
        priority: Priority::Normal,
        catch_up: CatchUp::Latest,
        overlap: Overlap::Allow,
        splay: Duration::ZERO,
        start_deadline: None,
    };
    PlanTask {
        id: TaskId::new(),
        spec: Ok(spec),
        changed: false,
        paused: false,
        resumed: false,
        created: at("00:00:00"),
        planned_to: Some(at("12:00:00")),
        ahead: Vec::new(),
    }
}

fn places(names: &[&str]) -> Vec<Place> {
    names.iter().map(|name| Place::Worker(name.parse().unwrap())).collect()
}

/// Plans at noon plus `minutes`, one minute ahead.
fn plan_at(task: &PlanTask, minutes: i64, names: &[&str]) -> Planned {
    let now = at("12:00:00") + TimeDelta::minutes(minutes);
    let moment = Moment { now, until: now + TimeDelta::minutes(1), shards: 1, server: "s" };
    plan(task, task.spec.as_ref().unwrap(), &places(names), &moment)
}

fn due(planned: &Planned) -> Vec<String> {
    planned.runs.iter().map(|new| new.run.due.format("%H:%M:%S").to_string()).collect()
}

fn edit(task: &mut PlanTask, edit: impl FnOnce(&mut TaskSpec)) {
    edit(task.spec.as_mut().unwrap());
}

#[test]
fn what_is_due_up_to_the_horizon_is_planned_and_the_next_look_is_at_the_first_firing_after_it() {
    let planned = plan_at(&task("*/20 * * * * *", "web-1"), 0, &["web-1"]);
    assert_eq!(due(&planned), ["12:00:20", "12:00:40", "12:01:00"]);
    assert_eq!(planned.next, Some(at("12:01:20")));
    assert_eq!(planned.planned_to, at("12:01:00"));
    assert!(planned.skipped.is_empty());
}

#[test]
fn two_servers_give_the_same_firing_the_same_id() {
    let task = task("* * * * *", "web-1");
    let ids = |planned: Planned| planned.runs.iter().map(|new| new.run.id).collect::<Vec<_>>();
    assert_eq!(ids(plan_at(&task, 0, &["web-1"])), ids(plan_at(&task, 0, &["web-1"])));
    assert_ne!(ids(plan_at(&task, 0, &["web-1"])), ids(plan_at(&task, 0, &["web-2"])));
}

#[test]
fn missed_firings_are_caught_up_as_the_task_says_and_the_others_are_recorded() {
    let table = [
        (CatchUp::None, vec!["12:06:00"], 5),
        (CatchUp::Latest, vec!["12:05:00", "12:06:00"], 4),
        (CatchUp::All(3), vec!["12:03:00", "12:04:00", "12:05:00", "12:06:00"], 2),
        (CatchUp::All(9), vec!["12:01:00", "12:02:00", "12:03:00", "12:04:00", "12:05:00", "12:06:00"], 0),
    ];
    for (catch_up, runs, skipped) in table {
        let mut task = task("* * * * *", "web-1");
        edit(&mut task, |spec| spec.catch_up = catch_up);
        let planned = plan_at(&task, 5, &["web-1"]);
        assert_eq!(due(&planned), runs, "{catch_up:?}");
        assert_eq!(planned.skipped.len(), skipped, "{catch_up:?}");
    }
}

#[test]
fn a_firing_past_its_start_deadline_is_skipped() {
    let mut task = task("* * * * *", "web-1");
    edit(&mut task, |spec| {
        spec.catch_up = CatchUp::All(9);
        spec.start_deadline = Some(Duration::from_secs(90));
    });
    let planned = plan_at(&task, 5, &["web-1"]);
    assert_eq!(due(&planned), ["12:04:00", "12:05:00", "12:06:00"]);
    assert_eq!(planned.skipped.len(), 3);
    assert!(planned.skipped[0].1.contains("start deadline"));
}

#[test]
fn a_long_pause_makes_no_burst_and_a_bounded_record_that_counts_the_rest() {
    let planned = plan_at(&task("* * * * *", "web-1"), 3 * 24 * 60, &["web-1"]);
    assert_eq!(planned.runs.len(), 2);
    assert_eq!(planned.skipped.len(), RECORDED);
    assert!(planned.skipped[0].1.ends_with("before it"), "{}", planned.skipped[0].1);
}

#[test]
fn a_changed_or_resumed_task_fires_from_now_on() {
    for edit in [|task: &mut PlanTask| task.changed = true, |task: &mut PlanTask| task.resumed = true] {
        let mut task = task("* * * * *", "web-1");
        edit(&mut task);
        let planned = plan_at(&task, 5, &["web-1"]);
        assert_eq!(due(&planned), ["12:06:00"]);
        assert!(planned.skipped.is_empty());
    }
}

#[test]
fn a_task_never_planned_fires_from_its_creation_on() {
    let mut task = task("@at 2026-03-01T12:04:30Z", "web-1");
    (task.planned_to, task.changed, task.created) = (None, true, at("12:04:00"));
    assert_eq!(due(&plan_at(&task, 5, &["web-1"])), ["12:04:30"]);
}

#[test]
fn a_paused_task_and_one_without_a_schedule_do_not_fire() {
    let mut paused = task("* * * * *", "web-1");
    paused.paused = true;
    for task in [paused, task("now", "web-1")] {
        let planned = plan_at(&task, 5, &["web-1"]);
        assert_eq!((planned.runs.len(), planned.skipped.len(), planned.next), (0, 0, None));
    }
}

#[test]
fn all_fires_once_for_each_worker_as_one_group_and_is_skipped_when_there_is_none() {
    let task = task("* * * * *", "all(role=web)");
    let planned = plan_at(&task, 0, &["web-1", "web-2"]);
    let groups: Vec<_> = planned.runs.iter().map(|new| new.run.group).collect();
    assert!(groups[0].is_some() && groups[0] == groups[1]);
    let planned = plan_at(&task, 0, &[]);
    assert!(planned.runs.is_empty());
    assert!(planned.skipped[0].1.contains("no worker matches"));
}

#[test]
fn splay_delays_a_task_by_the_same_time_at_each_firing_and_never_beyond_it() {
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let mut task = task("* * * * *", "web-1");
        edit(&mut task, |spec| spec.splay = Duration::from_secs(30));
        let delay = |minutes| {
            let planned = plan_at(&task, minutes, &["web-1"]);
            planned.runs.last().unwrap().run.due - at("12:00:00") - TimeDelta::minutes(minutes + 1)
        };
        assert_eq!(delay(0), delay(7));
        assert!(delay(0) >= TimeDelta::zero() && delay(0) <= TimeDelta::seconds(30));
        seen.insert(delay(0));
    }
    assert!(seen.len() > 25, "spread over {} moments", seen.len());
}
