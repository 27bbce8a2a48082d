//! Changes of some fields of a task.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use marabunta_proto::v1;

use super::job::{overlap, policy, priority};
use super::submit::target;
use super::task::{catch_up, choice, description, timezone, when};
use super::time::{positive, span};
use super::what::{What, json_payload, name, what};
use super::{Invalid, exec};
use crate::run::{Payload, Policy};
use crate::task::{CatchUp, TaskSpec};

type Change = Box<dyn Fn(&mut TaskSpec) + Send + Sync>;

/// The changes that one request asks for.
pub struct Update {
    changes: Vec<Change>,
    handler: Option<marabunta_proto::name::Name>,
    /// JSON as it came, for whatever handler the task then has.
    text: Option<String>,
    /// The payload to be stored before [`Update::apply`]; `None`: it stays as it is.
    pub payload: Option<Bytes>,
}

const FIELDS: &str = "the fields are name, description, target, when, timezone, what, payload, policy, policy.retries, \
                      policy.backoff, policy.max_lost, policy.timeout, policy.expires, priority, catch_up, catch_up_max, \
                      overlap, splay and start_deadline";

/// Reads what `fields` names from the spec; the rest of it is not looked at.
pub fn update(spec: v1::TaskSpec, fields: &[String], now: DateTime<Utc>) -> Result<Update, Invalid> {
    if fields.is_empty() {
        return Err(Invalid::value("fields", "empty", FIELDS));
    }
    let mut update = Update { changes: Vec::new(), handler: None, text: None, payload: None };
    let has = |field: &str| fields.iter().any(|named| named == field);
    for field in fields {
        update.add(field, &spec, now)?;
    }
    if has("what") {
        // The two belong together: another handler's payload is of no use.
        let What { handler, payload } = what(choice(spec.what), &spec.payload)?;
        (update.handler, update.payload) = (Some(handler), Some(payload));
    } else if has("payload") {
        update.text = Some(spec.payload.clone());
        update.payload = Some(match spec.payload.as_str() {
            "" => Bytes::from_static(b"null"),
            text => Bytes::copy_from_slice(text.as_bytes()),
        });
        super::json::check("payload", if spec.payload.is_empty() { "null" } else { &spec.payload })?;
    }
    Ok(update)
}

impl Update {
    /// The spec with the changes made. `payload`: [`Update::payload`] as it was stored.
    pub fn apply(&self, mut spec: TaskSpec, payload: Option<&Payload>) -> Result<TaskSpec, Invalid> {
        for change in &self.changes {
            change(&mut spec);
        }
        if let Some(handler) = &self.handler {
            spec.handler = handler.clone();
        }
        if let Some(text) = self.text.as_ref().filter(|_| spec.handler.as_str() == exec::HANDLER) {
            json_payload(&spec.handler, text)?;
        }
        if let Some(payload) = payload {
            spec.payload = payload.clone();
        }
        Ok(spec)
    }

    fn add(&mut self, field: &str, from: &v1::TaskSpec, now: DateTime<Utc>) -> Result<(), Invalid> {
        let change: Change = match field {
            "name" => set(name("name", &from.name)?, |spec, name| spec.name = name),
            "description" => {
                set(description(from.description.clone())?, |spec, text| spec.description = text)
            }
            "target" => set(target(&from.target)?, |spec, target| spec.target = target),
            "when" => set(when(&from.when, now)?, |spec, when| spec.when = when),
            "timezone" => set(timezone(&from.timezone)?, |spec, zone| spec.timezone = zone),
            "what" | "payload" => return Ok(()),
            "priority" => set(priority(from.priority)?, |spec, priority| spec.priority = priority),
            "catch_up" => {
                set(catch_up(from.catch_up, from.catch_up_max)?, |spec, value| spec.catch_up = value)
            }
            "catch_up_max" => {
                let all = catch_up(v1::CatchUp::All.into(), from.catch_up_max)?;
                set(all, |spec, all| {
                    if let CatchUp::All(_) = spec.catch_up {
                        spec.catch_up = all;
                    }
                })
            }
            "overlap" => set(overlap(from.overlap)?, |spec, overlap| spec.overlap = overlap),
            "splay" => {
                let splay = from.splay.map_or(Ok(std::time::Duration::ZERO), |value| span("splay", value))?;
                set(splay, |spec, splay| spec.splay = splay)
            }
            "start_deadline" => {
                let deadline =
                    from.start_deadline.map(|value| positive("start_deadline", value)).transpose()?;
                set(deadline, |spec, deadline| spec.start_deadline = deadline)
            }
            _ => {
                let new = policy(from.policy.unwrap_or_default())?;
                set(new, policy_field(field)?)
            }
        };
        self.changes.push(change);
        Ok(())
    }
}

fn policy_field(field: &str) -> Result<fn(&mut TaskSpec, Policy), Invalid> {
    Ok(match field {
        "policy" => |spec, new| spec.policy = new,
        "policy.retries" => |spec, new| spec.policy.retries = new.retries,
        "policy.backoff" => |spec, new| spec.policy.backoff = new.backoff,
        "policy.max_lost" => |spec, new| spec.policy.max_lost = new.max_lost,
        "policy.timeout" => |spec, new| spec.policy.timeout = new.timeout,
        "policy.expires" => |spec, new| spec.policy.expires = new.expires,
        _ => return Err(Invalid::text("fields", field, FIELDS)),
    })
}

fn set<T: Clone + Send + Sync + 'static>(
    value: T,
    set: impl Fn(&mut TaskSpec, T) + Send + Sync + 'static,
) -> Change {
    Box::new(move |spec| set(spec, value.clone()))
}
