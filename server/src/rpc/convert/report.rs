//! Reports: what can be taken of them, and a verdict for each item.

use chrono::{DateTime, Utc};
use marabunta_proto::name::Name;
use marabunta_proto::v1;
use tracing::warn;

use super::time::instant;
use super::{Invalid, json};
use crate::report::Messages;
use crate::run::{AttemptEnd, Lease, Outcome};
use crate::settle::Verdict;
use crate::store::{Message, MessageKind};

/// The most bytes of one message.
const MESSAGE: usize = 64 << 10;
/// The longest error that is kept, in bytes.
const ERROR: usize = 4096;

/// A request, sorted into what is handed on and what is refused.
#[derive(Default)]
pub struct Reported {
    pub messages: Vec<Messages>,
    pub ends: Vec<(Lease, AttemptEnd)>,
    /// For each batch and each end of the request, whether it was handed on.
    taken: (Vec<bool>, Vec<bool>),
}

impl Reported {
    /// Reads a request at `now`. Only leases of workers for whom the caller `may` speak are taken.
    pub fn read(request: v1::ReportRequest, now: DateTime<Utc>, may: impl Fn(&Name) -> bool) -> Self {
        let mut reported = Self::default();
        for one in request.messages {
            let read = lease(&one.lease, &may).and_then(|lease| batch(lease, one, now));
            reported.taken.0.push(read.is_ok());
            note(read).into_iter().for_each(|batch| reported.messages.push(batch));
        }
        for one in request.ends {
            let read = lease(&one.lease, &may).and_then(|lease| Ok((lease, end(one)?)));
            reported.taken.1.push(read.is_ok());
            note(read).into_iter().for_each(|end| reported.ends.push(end));
        }
        reported
    }

    /// What is handed on, and what then makes the answer of its verdicts.
    pub fn split(
        self,
    ) -> (
        Vec<Messages>,
        Vec<(Lease, AttemptEnd)>,
        impl FnOnce(Vec<Verdict>, Vec<Verdict>) -> v1::ReportResponse,
    ) {
        let (messages, ends) = self.taken;
        let answer = move |kept, ended| v1::ReportResponse {
            messages: verdicts(messages, kept),
            ends: verdicts(ends, ended),
        };
        (self.messages, self.ends, answer)
    }
}

fn note<T>(read: Result<T, Invalid>) -> Option<T> {
    read.inspect_err(|error| warn!(%error, "refused a part of a report")).ok()
}

fn verdicts(taken: Vec<bool>, verdicts: Vec<Verdict>) -> Vec<i32> {
    let mut verdicts = verdicts.into_iter().map(|verdict| match verdict {
        Verdict::Recorded => v1::Verdict::Recorded,
        Verdict::Stale => v1::Verdict::Stale,
        Verdict::Unknown => v1::Verdict::Invalid,
        Verdict::Retry => v1::Verdict::Retry,
    });
    let mut next =
        |taken| if taken { verdicts.next().unwrap_or(v1::Verdict::Retry) } else { v1::Verdict::Invalid };
    taken.into_iter().map(|taken| next(taken).into()).collect()
}

fn lease(bytes: &[u8], may: impl Fn(&Name) -> bool) -> Result<Lease, Invalid> {
    let lease = Lease::decode(bytes).map_err(|error| Invalid::field("lease", error))?;
    if !may(&lease.worker) {
        return Err(Invalid::value("lease", format!("that of `{}`", lease.worker), "it is not the caller's"));
    }
    Ok(lease)
}

fn batch(lease: Lease, batch: v1::MessageBatch, now: DateTime<Utc>) -> Result<Messages, Invalid> {
    // Numbers are signed in the store.
    let last =
        batch.first.checked_add(batch.messages.len() as u64).filter(|last| i64::try_from(*last).is_ok());
    if last.is_none() {
        return Err(Invalid::value("first", batch.first, "no attempt has so many messages"));
    }
    let messages = batch.messages.into_iter().map(|one| message(one, now)).collect::<Result<_, _>>()?;
    Ok(Messages { lease, first: batch.first, messages })
}

fn message(message: v1::Message, now: DateTime<Utc>) -> Result<Message, Invalid> {
    let kind = match message.kind() {
        v1::MessageKind::Stdout => MessageKind::Stdout,
        v1::MessageKind::Stderr => MessageKind::Stderr,
        v1::MessageKind::Note => MessageKind::Note,
        v1::MessageKind::Progress => MessageKind::Progress,
        v1::MessageKind::Unspecified => {
            return Err(Invalid::value("kind", message.kind, "it must be one of MessageKind"));
        }
    };
    if message.data.len() > MESSAGE {
        let value = format!("{} bytes long", message.data.len());
        return Err(Invalid::value("data", value, format!("at most {MESSAGE} bytes are allowed")));
    }
    let time = message.time.and_then(|time| instant("time", time).ok()).unwrap_or(now);
    Ok(Message { kind, data: message.data, time })
}

fn end(end: v1::AttemptEnd) -> Result<AttemptEnd, Invalid> {
    let outcome = match end.outcome() {
        v1::Outcome::Succeeded => Outcome::Succeeded,
        v1::Outcome::Failed => Outcome::Failed,
        v1::Outcome::TimedOut => Outcome::TimedOut,
        v1::Outcome::Cancelled => Outcome::Cancelled,
        v1::Outcome::Rejected => Outcome::Rejected,
        v1::Outcome::Lost => Outcome::Lost,
        v1::Outcome::Unspecified => {
            return Err(Invalid::value("outcome", end.outcome, "it must be one of Outcome"));
        }
    };
    if !end.result.is_empty() {
        let text = std::str::from_utf8(&end.result).map_err(|error| Invalid::field("result", error))?;
        json::check("result", text)?;
    }
    let time = |time: Option<prost_types::Timestamp>| time.and_then(|time| instant("time", time).ok());
    Ok(AttemptEnd {
        outcome,
        exit_code: end.exit_code,
        error: cut(end.error),
        result: end.result,
        started: time(end.started),
        ended: time(end.ended),
        // As large as the store can count.
        output_bytes: end.output_bytes.min(i64::MAX.unsigned_abs()),
        truncated: end.truncated,
    })
}

fn cut(mut text: String) -> String {
    if text.len() > ERROR {
        text.truncate(text.floor_char_boundary(ERROR));
        text.push_str("..");
    }
    text
}
