//! Runs as `record.lua` tells them.

use std::time::Duration;

use super::link::garbled;
use crate::queue::{EndingCause, Phase, QueueError, Record, SessionId};
use crate::run::{Counters, Fence};

/// `{ id, phase, wait, worker, session, server, fence, attempt, counters, flags, body }`.
pub(super) type Raw = (String, String, u64, String, String, String, u64, u32, String, String, Vec<u8>);

/// A run, and why it ends if it does.
pub(super) fn read(raw: Raw) -> Result<(Record, Option<EndingCause>), QueueError> {
    let (run, phase, wait, worker, session, server, fence, attempt, counters, flags, body) = raw;
    let wrong = || garbled("record of a run");
    let cause = match phase.as_str() {
        "x" => Some(EndingCause::Expired),
        "o" => Some(EndingCause::Overlapped),
        "r" => Some(EndingCause::Replaced),
        "c" => Some(EndingCause::Cancelled),
        _ => None,
    };
    let phase = match phase.as_str() {
        _ if cause.is_some() => Phase::Ending,
        "D" => Phase::Due(Duration::from_millis(wait)),
        "B" => Phase::Behind,
        "R" => Phase::Ready,
        "m" => Phase::Missed,
        "F" | "A" => Phase::InFlight {
            worker: worker.parse().map_err(|_| wrong())?,
            session: SessionId(session.parse().map_err(|_| wrong())?),
            server,
            accepted: phase == "A",
        },
        _ => return Err(wrong()),
    };
    let record = Record {
        run: run.parse().map_err(|_| wrong())?,
        phase,
        fence: (fence > 0).then_some(Fence(fence)),
        attempt,
        counters: read_counters(&counters).ok_or_else(wrong)?,
        cancelled: flags.contains('c'),
        body: body.into(),
    };
    Ok((record, cause))
}

/// A run that does not end.
pub(super) fn read_record(raw: Raw) -> Result<Record, QueueError> {
    read(raw).map(|(record, _)| record)
}

/// Counters as they stand in a state.
pub(super) fn counters_text(counters: Counters) -> String {
    format!("{},{},{}", counters.failed, counters.lost, counters.unaccepted)
}

fn read_counters(text: &str) -> Option<Counters> {
    let mut numbers = text.split(',').map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Counters { failed: next()?, lost: next()?, unaccepted: next()? })
}
