//! Policy, priority, durability.

use marabunta_proto::v1;

use super::Invalid;
use super::invalid::enumerated;
use super::time::{positive, proto_duration, span};
use crate::run::{Durability, Overlap, Policy, Priority};

/// The most retries.
const RETRIES: u32 = 1000;
/// The most losses that a run may survive, as the column of a task has it.
const MAX_LOST: u32 = 1000;

pub fn policy(policy: v1::Policy) -> Result<Policy, Invalid> {
    let default = Policy::default();
    if policy.retries > RETRIES {
        return Err(Invalid::value(
            "policy.retries",
            policy.retries,
            format!("at most {RETRIES} are allowed"),
        ));
    }
    if let Some(max_lost) = policy.max_lost.filter(|max_lost| *max_lost > MAX_LOST) {
        return Err(Invalid::value("policy.max_lost", max_lost, format!("at most {MAX_LOST} are allowed")));
    }
    Ok(Policy {
        retries: policy.retries,
        backoff: policy.backoff.map_or(Ok(default.backoff), |value| span("policy.backoff", value))?,
        max_lost: policy.max_lost.unwrap_or(default.max_lost),
        timeout: policy.timeout.map(|value| positive("policy.timeout", value)).transpose()?,
        expires: policy.expires.map(|value| positive("policy.expires", value)).transpose()?,
    })
}

pub fn proto_policy(policy: &Policy) -> v1::Policy {
    v1::Policy {
        retries: policy.retries,
        backoff: Some(proto_duration(policy.backoff)),
        max_lost: Some(policy.max_lost),
        timeout: policy.timeout.map(proto_duration),
        expires: policy.expires.map(proto_duration),
    }
}

pub fn priority(number: i32) -> Result<Priority, Invalid> {
    Ok(match enumerated("priority", number)? {
        v1::Priority::Low => Priority::Low,
        v1::Priority::Unspecified | v1::Priority::Normal => Priority::Normal,
        v1::Priority::High => Priority::High,
        v1::Priority::Urgent => Priority::Urgent,
    })
}

pub fn proto_priority(priority: Priority) -> i32 {
    match priority {
        Priority::Low => v1::Priority::Low,
        Priority::Normal => v1::Priority::Normal,
        Priority::High => v1::Priority::High,
        Priority::Urgent => v1::Priority::Urgent,
    }
    .into()
}

/// Fast unless it says otherwise.
pub fn durability(number: i32) -> Result<Durability, Invalid> {
    Ok(match enumerated("durability", number)? {
        v1::Durability::Unspecified | v1::Durability::Fast => Durability::Fast,
        v1::Durability::Durable => Durability::Durable,
    })
}

pub fn proto_durability(durability: Durability) -> i32 {
    match durability {
        Durability::Fast => v1::Durability::Fast,
        Durability::Durable => v1::Durability::Durable,
    }
    .into()
}

pub fn overlap(number: i32) -> Result<Overlap, Invalid> {
    Ok(match enumerated("overlap", number)? {
        v1::Overlap::Unspecified | v1::Overlap::Allow => Overlap::Allow,
        v1::Overlap::Skip => Overlap::Skip,
        v1::Overlap::Queue => Overlap::Queue,
        v1::Overlap::Replace => Overlap::Replace,
    })
}

pub fn proto_overlap(overlap: Overlap) -> i32 {
    match overlap {
        Overlap::Allow => v1::Overlap::Allow,
        Overlap::Skip => v1::Overlap::Skip,
        Overlap::Queue => v1::Overlap::Queue,
        Overlap::Replace => v1::Overlap::Replace,
    }
    .into()
}
