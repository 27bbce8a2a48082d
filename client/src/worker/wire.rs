//! Between the wire and the worker's own types. All of it is total: whatever a server sends becomes something or a named refusal.

use std::time::{Duration, SystemTime};

use marabunta_proto::v1;

use super::attempts::{Assignment, Lease, Payload, Stop, Verdict};

/// The protocol version that this worker speaks.
pub const PROTOCOL: u32 = 1;
/// Bytes of one message.
pub const LARGEST_MESSAGE: usize = 64 << 10;
/// Bytes of a result.
pub const LARGEST_RESULT: usize = 1 << 20;

/// Why an assignment cannot be taken.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum WireError {
    #[error("the assignment has no {0}")]
    Missing(&'static str),
    #[error("the assignment's payload hash has {0} bytes; SHA-256 has 32")]
    Hash(usize),
}

/// Reads an assignment.
pub fn assignment(wire: v1::Assignment) -> Result<Assignment, WireError> {
    use v1::assignment::Payload as Wire;
    if wire.lease.is_empty() {
        return Err(WireError::Missing("lease"));
    }
    if wire.run.is_empty() {
        return Err(WireError::Missing("run"));
    }
    let payload = match wire.payload {
        Some(Wire::Data(data)) if !data.is_empty() => Payload::Inline(data),
        Some(Wire::Data(_)) | None => Payload::Inline("null".into()),
        Some(Wire::Hash(hash)) => {
            Payload::Hash(hash.as_ref().try_into().map_err(|_| WireError::Hash(hash.len()))?)
        }
    };
    Ok(Assignment {
        lease: Lease(wire.lease),
        run: wire.run,
        handler: wire.handler,
        payload,
        timeout: wire.timeout.map(duration),
        attempt: wire.attempt,
        task: wire.task,
    })
}

/// A verdict; one that this version does not know means to ask again later.
pub fn verdict(wire: i32) -> Verdict {
    match v1::Verdict::try_from(wire) {
        Ok(v1::Verdict::Recorded) => Verdict::Recorded,
        Ok(v1::Verdict::Stale) => Verdict::Stale,
        Ok(v1::Verdict::Invalid) => Verdict::Invalid,
        Ok(v1::Verdict::Retry | v1::Verdict::Unspecified) | Err(_) => Verdict::Retry,
    }
}

/// The end of an attempt that was stopped; an abandoned one has none to report.
pub fn stopped(why: Stop) -> v1::AttemptEnd {
    let (outcome, exit_code, error) = match why {
        Stop::Cancel => (v1::Outcome::Cancelled, Some(130), ""),
        Stop::Drain | Stop::Abandon | Stop::Leave => {
            (v1::Outcome::Lost, None, "the worker was stopped before it ended")
        }
    };
    v1::AttemptEnd { outcome: outcome.into(), exit_code, error: error.into(), ..Default::default() }
}

/// A span of time; a negative one counts as none, and one longer than can be written counts as the longest.
pub fn duration(wire: prost_types::Duration) -> Duration {
    match (u64::try_from(wire.seconds), u32::try_from(wire.nanos)) {
        (Ok(seconds), Ok(nanos)) => Duration::from_secs(seconds)
            .saturating_add(Duration::from_nanos(nanos.into()))
            .min(marabunta_proto::duration::MAX),
        _ => Duration::ZERO,
    }
}

/// A moment that is so much later; `None` if there is none.
pub fn later(moment: prost_types::Timestamp, by: Duration) -> Option<prost_types::Timestamp> {
    SystemTime::try_from(moment).ok()?.checked_add(by).map(Into::into)
}

/// The time on this host's clock, for people: nothing is decided by it.
#[allow(clippy::disallowed_methods, reason = "said to people, who compare it with this host's logs")]
pub fn now() -> prost_types::Timestamp {
    SystemTime::now().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_that_cannot_be_taken_says_why() {
        let whole = v1::Assignment { lease: "l".into(), run: "r".into(), ..Default::default() };
        assert_eq!(assignment(whole.clone()).unwrap().payload, Payload::Inline("null".into()));
        let hash = |length: usize| Some(v1::assignment::Payload::Hash(vec![7; length].into()));
        let table = [
            (v1::Assignment::default(), WireError::Missing("lease")),
            (v1::Assignment { lease: "l".into(), ..Default::default() }, WireError::Missing("run")),
            (v1::Assignment { payload: hash(31), ..whole.clone() }, WireError::Hash(31)),
        ];
        for (wire, expected) in table {
            assert_eq!(assignment(wire).unwrap_err(), expected);
        }
        let fetched = assignment(v1::Assignment { payload: hash(32), ..whole }).unwrap();
        assert_eq!(fetched.payload, Payload::Hash([7; 32]));
    }

    #[test]
    fn a_time_out_of_any_length_can_be_counted_from_now() {
        for seconds in [i64::MIN, -1, 0, 5, i64::MAX] {
            let timeout = Some(prost_types::Duration { seconds, nanos: 0 });
            let wire = v1::Assignment { lease: "l".into(), run: "r".into(), timeout, ..Default::default() };
            let timeout = assignment(wire).unwrap().timeout.unwrap();
            assert!(tokio::time::Instant::now().checked_add(timeout).is_some(), "{seconds} s");
        }
    }

    #[test]
    fn an_unknown_verdict_means_later() {
        assert_eq!([0, 1, 2, 3, 4, 5, -1].map(verdict), {
            use Verdict::*;
            [Retry, Recorded, Stale, Invalid, Retry, Retry, Retry]
        });
    }
}
