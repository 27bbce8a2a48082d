//! Which firings of a task take place, when and where. Pure.

use std::collections::VecDeque;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use marabunta_proto::target::Target;
use marabunta_proto::when::{Schedule, When};

use crate::queue::shard_of;
use crate::run::{Durability, GroupId, Place, Run, RunId, TaskRef};
use crate::store::{NewRun, PlanTask, Planned};
use crate::task::{TaskSpec, splay};

/// How many missed firings are recorded one by one, at the most; a line on the oldest of them counts the others.
const RECORDED: usize = 100;
/// How many firings of one task are planned at once, at the most. What is beyond is planned by the next poll.
const PLANNED: usize = 10_000;

/// Why the firing of an `all(..)` that matches nobody does not take place.
pub(super) const NO_WORKER: &str = "no worker matches its target";

/// What the planner knows when it looks at a task.
pub(super) struct Moment<'a> {
    pub now: DateTime<Utc>,
    /// Up to when runs are queued ahead.
    pub until: DateTime<Utc>,
    /// Shards of the queue.
    pub shards: u16,
    pub server: &'a str,
}

/// Plans a task. `places`: where its runs go, one for each firing; empty for an `all(..)` that matches nobody.
pub(super) fn plan(task: &PlanTask, spec: &TaskSpec, places: &[Place], moment: &Moment<'_>) -> Planned {
    let mut planned = Planned {
        task: task.id,
        runs: Vec::new(),
        skipped: Vec::new(),
        withdrawn: Vec::new(),
        next: None,
        planned_to: moment.now,
        problem: String::new(),
    };
    if task.paused || matches!(spec.when, When::Now) {
        return planned;
    }
    let schedule = Schedule::new(spec.when.clone(), spec.timezone, task.created);
    let from = start(task, moment.now);
    planned.planned_to = moment.until;
    planned.next = schedule.next_after(moment.until);

    let (missed, left_out) = missed(&schedule, from, moment.now);
    for (index, (fire, verdict)) in judge(&missed, spec, moment.now).into_iter().enumerate() {
        match verdict {
            None => fire_at(&mut planned, task, spec, places, fire, moment),
            Some(reason) if index == 0 && left_out > 0 => {
                skip(
                    &mut planned,
                    task,
                    spec,
                    places,
                    fire,
                    format!("{reason}; so were {left_out} before it"),
                    moment,
                );
            }
            Some(reason) => skip(&mut planned, task, spec, places, fire, reason.into(), moment),
        }
    }
    // For an `all(..)` what was queued ahead is gone through again: a run that is there already is not made twice, one for a new worker is.
    let since = if matches!(spec.target, Target::All(_)) { moment.now } else { from.max(moment.now) };
    let ahead = schedule.after(since).take_while(|fire| *fire <= moment.until);
    for (count, fire) in ahead.enumerate() {
        if count == PLANNED {
            planned.next = Some(fire);
            planned.planned_to = fire - TimeDelta::microseconds(1);
            break;
        }
        fire_at(&mut planned, task, spec, places, fire, moment);
    }
    planned
}

/// From when on firings count: where the planner left off; now, if the task is another than it was then.
fn start(task: &PlanTask, now: DateTime<Utc>) -> DateTime<Utc> {
    match task.planned_to {
        // The firing at the very moment of creation is none: a schedule starts after it.
        None => task.created,
        Some(_) if task.changed || task.resumed => now,
        Some(planned_to) => planned_to,
    }
}

/// The latest firings between, oldest first, and how many more there were before them.
fn missed(schedule: &Schedule, from: DateTime<Utc>, now: DateTime<Utc>) -> (VecDeque<DateTime<Utc>>, usize) {
    let (mut latest, mut left_out) = (VecDeque::new(), 0);
    let room = RECORDED.max(1000);
    for fire in schedule.after(from).take_while(|fire| *fire <= now) {
        if latest.len() == room {
            latest.pop_front();
            left_out += 1;
        }
        latest.push_back(fire);
        if left_out == PLANNED * 10 {
            break;
        }
    }
    if left_out == PLANNED * 10
        && let Some(last) = schedule.latest(from, now)
    {
        latest.push_back(last);
    }
    (latest, left_out)
}

/// For each missed firing why it does not take place, if it does not; at most the latest [`RECORDED`] that do not.
fn judge(
    missed: &VecDeque<DateTime<Utc>>,
    spec: &TaskSpec,
    now: DateTime<Utc>,
) -> Vec<(DateTime<Utc>, Option<&'static str>)> {
    let judged: Vec<_> = missed
        .iter()
        .enumerate()
        .map(|(index, fire)| {
            let late = (now - *fire).to_std().unwrap_or(Duration::ZERO);
            (*fire, spec.leaves_out(missed.len() - 1 - index, late))
        })
        .collect();
    let skipped = judged.iter().filter(|(_, reason)| reason.is_some()).count();
    judged.into_iter().skip(skipped.saturating_sub(RECORDED)).collect()
}

fn fire_at(
    planned: &mut Planned,
    task: &PlanTask,
    spec: &TaskSpec,
    places: &[Place],
    fire: DateTime<Utc>,
    moment: &Moment<'_>,
) {
    if places.is_empty() {
        skip(planned, task, spec, places, fire, NO_WORKER.into(), moment);
    }
    for place in places {
        planned.runs.push(run(task, spec, place, fire, moment));
    }
}

fn skip(
    planned: &mut Planned,
    task: &PlanTask,
    spec: &TaskSpec,
    places: &[Place],
    fire: DateTime<Utc>,
    reason: String,
    moment: &Moment<'_>,
) {
    // One row stands for the whole firing: for an `all(..)` it is recorded for any of its workers.
    let place = places.first().cloned().or_else(|| match &spec.target {
        Target::Worker(name) => Some(Place::Worker(name.clone())),
        Target::Any(selector) | Target::All(selector) => Some(Place::Any(selector.clone())),
    });
    if let Some(place) = place {
        planned.skipped.push((run(task, spec, &place, fire, moment), reason));
    }
}

fn run(task: &PlanTask, spec: &TaskSpec, place: &Place, fire: DateTime<Utc>, moment: &Moment<'_>) -> NewRun {
    let grouped = matches!(spec.target, Target::All(_));
    let run = Run {
        // One shard for all runs of a task, so that its overlap policy is decided in one place.
        id: RunId::fired(task.id, fire, place, shard_of(&task.id.to_string(), moment.shards)),
        task: Some(TaskRef { id: task.id, name: spec.name.clone() }),
        group: grouped.then(|| GroupId::fired(task.id, fire)),
        place: place.clone(),
        handler: spec.handler.clone(),
        payload: spec.payload.clone(),
        priority: spec.priority,
        durability: Durability::Durable,
        policy: spec.policy.clone(),
        overlap: spec.overlap,
        created: moment.now,
        due: fire + splay(task.id, place, spec.splay),
    };
    NewRun { run, server: moment.server.to_owned(), key: None }
}

#[cfg(test)]
mod tests;
