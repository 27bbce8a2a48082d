//! Requests to run something, and what was accepted.

use marabunta_proto::target::Target;
use marabunta_proto::v1;

use super::invalid::at_most;
use super::what::{Choice, What, what};
use super::{Invalid, job};
use crate::run::Overlap;
use crate::submit::{Accepted, Request};

/// The longest idempotency key, in bytes.
const KEY: usize = 128;

pub fn request(submit: v1::SubmitRequest) -> Result<Request, Invalid> {
    let choice = submit.what.map(|what| match what {
        v1::submit_request::What::Exec(exec) => Choice::Exec(exec),
        v1::submit_request::What::Handler(handler) => Choice::Handler(handler),
    });
    let target = target(&submit.target)?;
    let What { handler, payload } = what(choice, &submit.payload)?;
    Ok(Request {
        target,
        handler,
        payload,
        policy: job::policy(submit.policy.unwrap_or_default())?,
        priority: job::priority(submit.priority)?,
        durability: job::durability(submit.durability)?,
        key: idempotency_key(submit.idempotency_key)?,
        online: submit.online,
        task: None,
        overlap: Overlap::Allow,
    })
}

pub fn target(text: &str) -> Result<Target, Invalid> {
    Target::parse(text).map_err(|error| Invalid::field("target", error))
}

/// No key when empty.
pub fn idempotency_key(key: String) -> Result<Option<String>, Invalid> {
    at_most("idempotency_key", &key, KEY)?;
    if key.chars().any(char::is_control) {
        return Err(Invalid::text("idempotency_key", &key, "control characters are not allowed"));
    }
    Ok(Some(key).filter(|key| !key.is_empty()))
}

pub fn accepted(accepted: Accepted) -> v1::SubmitResponse {
    let run = |(id, place): (crate::run::RunId, crate::run::Place)| v1::SubmittedRun {
        id: id.to_string(),
        target: place.to_string(),
    };
    v1::SubmitResponse {
        runs: accepted.runs.into_iter().map(run).collect(),
        group: accepted.group.map_or_else(String::new, |group| group.to_string()),
        warnings: accepted.warnings,
        repeated: accepted.repeated,
    }
}
