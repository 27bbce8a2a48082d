//! Definitions of tasks.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use marabunta_proto::v1;
use marabunta_proto::when::{Schedule, When, parse_zone};

use super::invalid::{at_most, enumerated};
use super::job::{overlap, policy, priority, proto_overlap, proto_policy, proto_priority};
use super::run::{state, text};
use super::submit::target;
use super::time::{positive, proto_duration, span, timestamp};
use super::what::{Choice, What, name, what};
use super::{Invalid, exec};
use crate::run::Payload;
use crate::store::BadTask;
use crate::task::{CatchUp, Task, TaskSpec};

/// The longest description, in bytes.
const DESCRIPTION: usize = 4096;
/// The most missed firings that are caught up, and how many unless it is said.
const CATCH_UP: u32 = 1000;
const CATCH_UP_DEFAULT: u32 = 10;

/// A spec whose payload is not stored yet.
pub struct TaskDraft {
    /// Its payload is a stand-in.
    pub spec: TaskSpec,
    pub payload: Bytes,
}

/// A spec, all of its fields. `now`: nothing is planned before.
pub fn draft(task: v1::TaskSpec, now: DateTime<Utc>) -> Result<TaskDraft, Invalid> {
    let What { handler, payload } = what(choice(task.what), &task.payload)?;
    let spec = TaskSpec {
        name: name("name", &task.name)?,
        description: description(task.description)?,
        target: target(&task.target)?,
        when: when(&task.when, now)?,
        timezone: timezone(&task.timezone)?,
        handler,
        payload: Payload::Inline(Bytes::new()),
        policy: policy(task.policy.unwrap_or_default())?,
        priority: priority(task.priority)?,
        catch_up: catch_up(task.catch_up, task.catch_up_max)?,
        overlap: overlap(task.overlap)?,
        splay: task.splay.map_or(Ok(std::time::Duration::ZERO), |value| span("splay", value))?,
        start_deadline: task.start_deadline.map(|value| positive("start_deadline", value)).transpose()?,
    };
    Ok(TaskDraft { spec, payload })
}

/// A task. `payload`: `None` for one that is not to be shown. `count`: how many firings after `now` are.
pub fn task(task: Task, payload: Option<&[u8]>, now: DateTime<Utc>, count: usize) -> v1::Task {
    let next = if task.paused {
        Vec::new()
    } else {
        let schedule = Schedule::new(task.spec.when.clone(), task.spec.timezone, task.created);
        schedule.after(now).take(count).map(timestamp).collect()
    };
    v1::Task {
        id: task.id.to_string(),
        paused: task.paused,
        created: Some(timestamp(task.created)),
        modified: Some(timestamp(task.modified)),
        problem: task.problem,
        next,
        last_run: task.last.as_ref().map_or_else(String::new, |last| last.run.to_string()),
        last_state: task.last.as_ref().map_or(v1::RunState::Unspecified, |last| state(last.state)).into(),
        last_started: task.last.as_ref().and_then(|last| last.started).map(timestamp),
        spec: Some(spec(task.spec, payload)),
    }
}

/// A row that cannot be read, as far as it can.
pub fn bad_task(bad: BadTask) -> v1::Task {
    let spec = v1::TaskSpec { name: bad.name, target: bad.target, when: bad.when, ..v1::TaskSpec::default() };
    v1::Task { id: bad.id, spec: Some(spec), paused: bad.paused, problem: bad.problem, ..v1::Task::default() }
}

fn spec(spec: TaskSpec, payload: Option<&[u8]>) -> v1::TaskSpec {
    use v1::task_spec::What as Wire;
    let is_exec = spec.handler.as_str() == exec::HANDLER;
    let command = payload.filter(|_| is_exec).and_then(exec::command);
    let (what, payload) = match command {
        Some(command) => (Wire::Exec(command), String::new()),
        None => (Wire::Handler(spec.handler.to_string()), payload.map_or_else(String::new, text)),
    };
    let (catch_up, catch_up_max) = match spec.catch_up {
        CatchUp::None => (v1::CatchUp::None, 0),
        CatchUp::Latest => (v1::CatchUp::Latest, 0),
        CatchUp::All(most) => (v1::CatchUp::All, most),
    };
    v1::TaskSpec {
        name: spec.name.to_string(),
        description: spec.description,
        target: spec.target.to_string(),
        when: spec.when.to_string(),
        timezone: spec.timezone.name().to_owned(),
        payload,
        policy: Some(proto_policy(&spec.policy)),
        priority: proto_priority(spec.priority),
        catch_up: catch_up.into(),
        catch_up_max,
        overlap: proto_overlap(spec.overlap),
        splay: Some(spec.splay).filter(|splay| !splay.is_zero()).map(proto_duration),
        start_deadline: spec.start_deadline.map(proto_duration),
        what: Some(what),
    }
}

pub fn choice(what: Option<v1::task_spec::What>) -> Option<Choice> {
    what.map(|what| match what {
        v1::task_spec::What::Exec(exec) => Choice::Exec(exec),
        v1::task_spec::What::Handler(handler) => Choice::Handler(handler),
    })
}

pub fn description(text: String) -> Result<String, Invalid> {
    at_most("description", &text, DESCRIPTION)?;
    Ok(text)
}

pub fn when(text: &str, now: DateTime<Utc>) -> Result<When, Invalid> {
    let when = When::parse(text).map_err(|error| Invalid::field("when", error))?;
    match &when {
        When::At(time) if *time <= now => {
            let right =
                format!("it lies in the past, now being {}; it would never fire", now.format("%FT%TZ"));
            Err(Invalid::text("when", text, right))
        }
        _ => Ok(when),
    }
}

pub fn timezone(text: &str) -> Result<Tz, Invalid> {
    match text {
        "" => Ok(Tz::UTC),
        _ => parse_zone(text).map_err(|error| Invalid::field("timezone", error)),
    }
}

pub fn catch_up(number: i32, most: u32) -> Result<CatchUp, Invalid> {
    if most > CATCH_UP {
        let right = format!("1 to {CATCH_UP} are allowed, or 0 for {CATCH_UP_DEFAULT}");
        return Err(Invalid::value("catch_up_max", most, right));
    }
    Ok(match enumerated("catch_up", number)? {
        v1::CatchUp::None => CatchUp::None,
        v1::CatchUp::Unspecified | v1::CatchUp::Latest => CatchUp::Latest,
        v1::CatchUp::All => CatchUp::All(if most == 0 { CATCH_UP_DEFAULT } else { most }),
    })
}
