//! What the ledger reports next, and what becomes of it with the server's verdicts.

use std::io;

use marabunta_proto::v1::{AttemptEnd, MessageBatch, ReportRequest, ReportResponse};
use prost::Message as _;
use tokio::time::Instant;

use super::{
    frames::Frames,
    ledger::{Attempt, GROUP, Ledger, Pending},
    record::{Body, End, Record},
};
use crate::worker::{
    attempts::{Key, Lease, Verdict},
    backoff::Backoff,
    wire,
};

/// A verdict that the daemon has to act on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub key: Key,
    /// The lease it was reported with.
    pub lease: Lease,
    pub verdict: Verdict,
}

/// What to report next, and of whom it is.
#[derive(Debug)]
pub struct Batch {
    pub request: ReportRequest,
    messages: Vec<(Key, Lease, usize)>,
    ends: Vec<(Key, Lease)>,
}

impl Batch {
    /// How many verdicts it asks for.
    pub fn len(&self) -> usize {
        self.messages.len() + self.ends.len()
    }
}

impl Ledger {
    /// Up to `limit` bytes of what can be reported now, and at least one item if there is any.
    pub fn batch(&mut self, now: Instant, limit: usize) -> Option<Batch> {
        let mut batch = Batch { request: ReportRequest::default(), messages: Vec::new(), ends: Vec::new() };
        let mut size = 0;
        let due = |attempt: &Attempt| !attempt.parked && attempt.deferred.is_none_or(|until| until <= now);
        let (before, from) = (self.attempts.range(..self.cursor), self.attempts.range(self.cursor..));
        let mut damaged = Vec::new();
        for (&key, attempt) in from.chain(before).filter(|(_, attempt)| due(attempt)) {
            if size >= limit {
                self.cursor = key;
                break;
            }
            let (messages, taken, bytes) = take_messages(&self.log, attempt, limit - size);
            size += bytes;
            if taken > 0 {
                let batch_of = MessageBatch { lease: attempt.lease.0.clone(), ..messages };
                batch.request.messages.push(batch_of);
                batch.messages.push((key, attempt.lease.clone(), taken));
            }
            if let Some(end) = &attempt.end
                && taken == attempt.messages.len()
                && (size < limit || batch.len() == 0)
            {
                match read(&self.log, end).map(|record| record.body) {
                    Ok(Some(Body::End(End { end: Some(end), .. }))) => {
                        size += end.result.len() + end.error.len() + 256;
                        batch.request.ends.push(AttemptEnd { lease: attempt.lease.0.clone(), ..end });
                        batch.ends.push((key, attempt.lease.clone()));
                    }
                    _ => damaged.push(key),
                }
            }
        }
        for key in damaged {
            tracing::error!(
                key = key.0,
                "the end of an attempt cannot be read back from the spool; it counts as lost"
            );
            self.forget(key);
        }
        (batch.len() > 0).then_some(batch)
    }

    /// Takes the verdicts on a batch; those missing count as [`Verdict::Retry`]. Returns what the daemon has to act on.
    pub fn settle(&mut self, batch: Batch, response: &ReportResponse, now: Instant) -> Vec<Judged> {
        let mut judged = Vec::new();
        let mut mended = false;
        for (at, (key, lease, count)) in batch.messages.into_iter().enumerate() {
            let verdict = response.messages.get(at).map_or(Verdict::Retry, |&verdict| wire::verdict(verdict));
            mended |= verdict == Verdict::Recorded && self.is_deferred(key);
            judged.extend(self.settle_messages(key, lease, count, verdict, now));
        }
        for (at, (key, lease)) in batch.ends.into_iter().enumerate() {
            let verdict = response.ends.get(at).map_or(Verdict::Retry, |&verdict| wire::verdict(verdict));
            mended |= verdict == Verdict::Recorded && self.is_deferred(key);
            judged.extend(self.settle_end(key, lease, verdict, now));
        }
        judged.dedup();
        if mended {
            // What kept this one from being recorded has passed: the others need not wait out their time.
            self.attempts.values_mut().for_each(|attempt| attempt.deferred = None);
        }
        self.judge_space();
        judged
    }

    fn is_deferred(&self, key: Key) -> bool {
        self.attempts.get(&key).is_some_and(|attempt| attempt.deferred.is_some())
    }

    fn settle_messages(
        &mut self,
        key: Key,
        lease: Lease,
        count: usize,
        verdict: Verdict,
        now: Instant,
    ) -> Option<Judged> {
        let attempt = self.attempts.get_mut(&key)?;
        if attempt.lease != lease {
            return None;
        }
        match verdict {
            Verdict::Retry => defer(attempt, now),
            Verdict::Stale => return self.park(key, lease, verdict),
            Verdict::Recorded | Verdict::Invalid => {
                if verdict == Verdict::Invalid {
                    tracing::error!(
                        run = attempt.run,
                        "the server refused messages for good; they are dropped"
                    );
                }
                (attempt.deferred, attempt.backoff) = (None, Backoff::default());
                let settled: Vec<Pending> =
                    attempt.messages.drain(..count.min(attempt.messages.len())).collect();
                attempt.tell();
                let done = attempt.orphan && attempt.messages.is_empty() && attempt.end.is_none();
                settled.iter().for_each(|pending| self.drop_message(pending));
                if done {
                    self.forget(key);
                }
            }
        }
        None
    }

    fn settle_end(&mut self, key: Key, lease: Lease, verdict: Verdict, now: Instant) -> Option<Judged> {
        let attempt = self.attempts.get_mut(&key)?;
        if attempt.lease != lease {
            return None;
        }
        match verdict {
            Verdict::Retry => {
                defer(attempt, now);
                None
            }
            Verdict::Stale | Verdict::Invalid => {
                if verdict == Verdict::Invalid {
                    tracing::error!(run = attempt.run, "the server refused the end of an attempt for good");
                }
                self.park(key, lease, verdict)
            }
            Verdict::Recorded => {
                let (end, orphan) = (attempt.end.take(), std::mem::replace(&mut attempt.orphan, true));
                let done = attempt.messages.is_empty();
                end.iter().for_each(|pending| self.drop_pending(pending));
                if done {
                    self.forget(key);
                }
                (!orphan).then_some(Judged { key, lease, verdict })
            }
        }
    }

    fn park(&mut self, key: Key, lease: Lease, verdict: Verdict) -> Option<Judged> {
        let attempt = self.attempts.get_mut(&key)?;
        if attempt.orphan {
            self.forget(key);
            return None;
        }
        attempt.parked = true;
        Some(Judged { key, lease, verdict })
    }
}

/// Not before a while, which grows with each time that the server asks for it.
fn defer(attempt: &mut Attempt, now: Instant) {
    attempt.deferred = Some(now + attempt.backoff.next(now));
}

/// The messages at the front of an attempt that fit, always one record at least; how many records they are, and their bytes.
fn take_messages(log: &Frames, attempt: &Attempt, room: usize) -> (MessageBatch, usize, usize) {
    let (mut taken, mut bytes) = (0, 0);
    let mut batch = MessageBatch::default();
    for pending in &attempt.messages {
        if bytes >= room.min(GROUP) {
            break;
        }
        match read(log, pending).map(|record| record.body) {
            // Numbers must follow each other within a batch: what comes after a gap goes into the next.
            Ok(Some(Body::Messages(next)))
                if !batch.messages.is_empty() && next.first != batch.first + batch.messages.len() as u64 =>
            {
                break;
            }
            Ok(Some(Body::Messages(next))) => {
                if batch.messages.is_empty() {
                    batch.first = next.first;
                }
                bytes += next.messages.iter().map(|message| message.data.len() + 16).sum::<usize>();
                batch.messages.extend(next.messages);
            }
            _ if batch.messages.is_empty() => {
                tracing::error!(run = attempt.run, "messages cannot be read back from the spool")
            }
            _ => break,
        }
        taken += 1;
    }
    (batch, taken, bytes)
}

fn read(log: &Frames, pending: &Pending) -> io::Result<Record> {
    let record = match pending {
        Pending::Disk(place) => Record::decode(log.read(*place)?.as_slice()),
        Pending::Memory(body) => Record::decode(body.clone()),
    };
    record.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}
