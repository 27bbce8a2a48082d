//! What follows from an end, given what the queue knows of the run.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::warn;

use super::{End, Verdict, Witness};
use crate::planted::{self, Bug};
use crate::queue::{Phase, Record, SessionId};
use crate::run::{AttemptEnd, Durability, Fence, Next, Outcome, Run, next};

/// An end whose fence holds, with what follows from it.
pub(super) struct Decided {
    pub index: usize,
    pub end: End,
    pub run: Run,
    pub next: Next,
}

/// What a fence is, held against what the queue knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// That of the latest attempt.
    Latest,
    /// Of a later attempt than any known. It is right: the queue lost what gave it, and nobody has had the run since.
    Forgotten,
    /// Of an earlier attempt.
    Stale,
    /// Of no attempt: the latest is with its worker, or none can have this fence yet.
    Unknown,
}

/// The verdict on what is said of a run that neither the queue nor the store knows: the queue may have lost a fast run whose row is to come.
pub fn unknown(fence: Fence, now: DateTime<Utc>) -> Verdict {
    if fence.is_young(micros(now)) { Verdict::Retry } else { Verdict::Unknown }
}

/// As fences count the time.
pub(crate) fn micros(time: DateTime<Utc>) -> u64 {
    u64::try_from(time.timestamp_micros()).unwrap_or(0)
}

/// What this fence of a worker is.
pub fn claim(record: &Record, fence: Fence, now: DateTime<Utc>) -> Claim {
    match record.fence {
        Some(_) if planted::is(Bug::UnfencedReport) => Claim::Latest,
        Some(latest) if latest == fence => Claim::Latest,
        Some(latest) if latest > fence => Claim::Stale,
        _ => match &record.phase {
            Phase::InFlight { session, .. } if *session != SessionId::NONE => Claim::Unknown,
            _ if fence.is_possible(micros(now)) => Claim::Forgotten,
            _ => Claim::Unknown,
        },
    }
}

/// What follows from an end, or the verdict when nothing does.
pub(super) fn decide(
    index: usize,
    end: End,
    record: &Record,
    now: DateTime<Utc>,
) -> Result<Decided, Verdict> {
    let claim = claim(record, end.fence, now);
    if let Claim::Stale | Claim::Unknown = claim {
        return Err(if claim == Claim::Stale { Verdict::Stale } else { Verdict::Unknown });
    }
    let run = Run::decode(record.run, &record.body).map_err(|error| {
        warn!(run = %record.run, %error, "failed to read a queued run");
        Verdict::Unknown
    })?;
    let end = if end.end.is_none() && end.by == Witness::Delivery && run.policy.max_lost == 0 {
        // It may have begun, and is to be started at most once.
        let lost = AttemptEnd::lost("its worker did not say whether it had begun");
        End { number: record.attempt, end: Some(AttemptEnd { ended: Some(now), ..lost }), ..end }
    } else {
        end
    };
    let outcome = end.end.as_ref().map(|end| end.outcome);
    let waits = !matches!(record.phase, Phase::InFlight { .. });
    if waits && (outcome.is_none() || claim == Claim::Latest && outcome != Some(Outcome::Succeeded)) {
        // It is back in the queue already, by this very end or by a loss: it counts once. Only a success that comes late is worth more.
        if run.durability == Durability::Durable || outcome.is_none() {
            return Err(Verdict::Recorded);
        }
        // That the queue has it may not have been heard, and its row not be on its way.
        let next = Next::Again { delay: Duration::ZERO, counters: record.counters };
        return Ok(Decided { index, end, run, next });
    }
    let jitter = rand::random();
    let next = next(&run.policy, record.counters, outcome, record.cancelled, jitter);
    Ok(Decided { index, end, run, next })
}

impl Decided {
    pub fn is_durable(&self) -> bool {
        self.run.durability == Durability::Durable
    }

    /// Whether the store has a row of it.
    pub fn is_recorded(&self) -> bool {
        self.end.end.is_some() || matches!(self.next, Next::End { .. })
    }
}
