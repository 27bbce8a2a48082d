//! Whose messages and ends wait for a verdict, and where they are.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    io,
    path::Path,
};

use bytes::Bytes;
use marabunta_proto::v1::{AttemptEnd, Message, MessageBatch};
use prost::Message as _;
use tokio::{sync::watch, time::Instant};

use super::{
    frames::Frames,
    log::{Location, LogError},
    record::{Body, End, Record},
};
use crate::worker::{
    attempts::{Key, Lease},
    backoff::Backoff,
    wire,
};

/// Messages of one attempt that are grouped into one record, and taken into one batch, in bytes. Small, so that one that prints much
/// does not keep the others waiting.
pub(super) const GROUP: usize = 256 << 10;
/// Space beyond the quota that is kept for ends.
const RESERVE: u64 = 32 << 20;
/// Bytes of messages kept in memory while the disk takes none; more is left out.
const MEMORY: usize = 8 << 20;
/// What a disk that took nothing has to take before it counts as well: what one attempt may say at once. A few bytes are often left on a
/// disk that is full.
const ROOM: usize = GROUP;
/// Records that may wait at once, so that the index stays small however short the messages are.
const RECORDS: usize = 500_000;

/// What the daemon and the attempts tell the ledger.
#[derive(Debug)]
pub enum Entry {
    /// Reports of this attempt will come. What comes without it, or after `Forget`, is dropped.
    Open {
        key: Key,
        run: String,
        lease: Lease,
    },
    Relet {
        key: Key,
        lease: Lease,
    },
    /// How many words of this attempt, its messages and its end, are where they outlive the daemon is to be told here from now on.
    Follow {
        key: Key,
        taken: watch::Sender<u64>,
    },
    Message {
        key: Key,
        /// If whoever says it counts: one with a number that was written already is dropped.
        number: Option<u64>,
        message: Message,
    },
    End {
        key: Key,
        end: Box<AttemptEnd>,
    },
    Forget {
        key: Key,
    },
}

/// An attempt found in the log that had ended without a verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub key: Key,
    pub run: String,
    pub lease: Lease,
}

#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) run: String,
    pub(super) lease: Lease,
    /// Number of the next message.
    pub(super) next: u64,
    pub(super) messages: VecDeque<Pending>,
    pub(super) end: Option<Pending>,
    taken: Option<watch::Sender<u64>>,
    /// The number of the first message that is in memory, as the disk took none.
    in_memory: Option<u64>,
    pub(super) relets: Vec<Location>,
    /// Something of it was written to the log.
    pub(super) on_disk: bool,
    /// Some of its messages were left out here.
    pub(super) lossy: bool,
    /// Judged stale or invalid: waits for `Relet` or `Forget`.
    pub(super) parked: bool,
    /// Nobody waits for verdicts on it: it ran when the daemon died, or its end is recorded.
    pub(super) orphan: bool,
    /// Not to be reported before this moment.
    pub(super) deferred: Option<Instant>,
    pub(super) backoff: Backoff,
}

#[derive(Clone, Debug)]
pub(super) enum Pending {
    Disk(Location),
    Memory(Bytes),
}

/// All that waits for a verdict. Its methods block on the disk.
#[derive(Debug)]
pub struct Ledger {
    pub(super) log: Frames,
    quota: u64,
    pub(super) attempts: BTreeMap<Key, Attempt>,
    /// Where the next batch begins, so that every attempt has its turn.
    pub(super) cursor: Key,
    /// Records, and bytes of messages in memory, in all attempts.
    records: usize,
    memory: usize,
    full: bool,
    /// Why the disk took nothing when it was last tried.
    failure: Option<String>,
}

impl Ledger {
    /// Opens the spool in `directory`, or in memory without one, which may grow to `quota` bytes (ends may exceed it a little). Returns the ends it found, and
    /// the first key that is free.
    pub fn open(directory: Option<&Path>, quota: u64) -> Result<(Self, Vec<Restored>, Key), LogError> {
        let mut attempts: BTreeMap<Key, Attempt> = BTreeMap::new();
        let (mut next, mut dead) = (1, Vec::new());
        let log = Frames::open(directory, |place, body| {
            let Some(record) = Record::read(body) else { return dead.push(place) };
            next = next.max(record.key + 1);
            replay(&mut attempts, &mut dead, place, record);
        })?;
        let records = attempts
            .values()
            .map(|attempt| attempt.messages.len() + usize::from(attempt.end.is_some()))
            .sum();
        let mut ledger =
            Self { log, quota, attempts, cursor: Key(0), records, memory: 0, full: false, failure: None };
        dead.into_iter().for_each(|place| ledger.log.release(place));
        let mut restored = Vec::new();
        for (&key, attempt) in &mut ledger.attempts {
            attempt.orphan = attempt.end.is_none();
            if !attempt.orphan {
                restored.push(Restored { key, run: attempt.run.clone(), lease: attempt.lease.clone() });
            }
        }
        ledger.sweep();
        ledger.judge_space();
        Ok((ledger, restored, Key(next)))
    }

    /// Takes back an attempt that outlived the daemon; `first` is the number of the first of its messages that was not taken. False if its
    /// end is here already.
    pub fn adopt(&mut self, key: Key, run: String, lease: Lease, first: u64) -> bool {
        let attempt = self.attempts.entry(key).or_default();
        if attempt.end.is_some() {
            return false;
        }
        (attempt.run, attempt.lease, attempt.orphan) = (run, lease, false);
        attempt.next = attempt.next.max(first);
        true
    }

    /// Takes entries in order. Once it returns, ends among them are on disk, unless there is trouble.
    pub fn write(&mut self, entries: Vec<Entry>) {
        let mut entries = entries.into_iter().peekable();
        let (mut ends, mut told) = (false, BTreeSet::new());
        while let Some(entry) = entries.next() {
            match entry {
                Entry::Open { key, run, lease } => {
                    self.attempts.insert(key, Attempt { run, lease, ..Attempt::default() });
                }
                Entry::Relet { key, lease } => self.relet(key, lease),
                Entry::Forget { key } => self.forget(key),
                Entry::Follow { key, taken } => match self.attempts.get_mut(&key) {
                    Some(attempt) => {
                        attempt.taken = Some(taken);
                        told.insert(key);
                    }
                    None => drop(taken.send(u64::MAX)),
                },
                Entry::End { key, end } => {
                    self.end(key, *end);
                    ends = true;
                    told.insert(key);
                }
                Entry::Message { key, number, message } => {
                    let mut size = message.data.len();
                    let mut group = vec![message];
                    while size < GROUP
                        && let Some(Entry::Message { message, .. }) = entries.next_if(|next| {
                            let after = number.map(|number| number + group.len() as u64);
                            matches!(next, Entry::Message { key: other, number, .. } if *other == key && *number == after)
                        })
                    {
                        size += message.data.len();
                        group.push(message);
                    }
                    self.messages(key, number, group, size);
                    told.insert(key);
                }
            }
        }
        self.judge_space();
        if ends && let Err(error) = self.log.sync() {
            return self.fail(&error);
        }
        for key in told {
            self.attempts.get_mut(&key).into_iter().for_each(Attempt::tell);
        }
    }

    /// True if its methods wait for a disk.
    pub fn blocks(&self) -> bool {
        self.log.blocks()
    }

    /// Why results cannot be kept safely, if so.
    pub fn trouble(&self) -> Option<&str> {
        let full = self.full.then_some("the spool is full");
        self.failure.as_deref().or(full)
    }

    /// Tries whether the trouble is over.
    pub fn probe(&mut self) {
        if self.failure.is_some() {
            // No record: a daemon that finds it after a crash passes over it.
            match self.log.append(&[0; ROOM]) {
                Ok(place) => {
                    self.log.release(place);
                    self.failure = None;
                    tracing::info!("the spool can be written again");
                }
                Err(error) => self.fail(&error),
            }
        }
        self.judge_space();
    }

    /// True if nothing waits for a verdict.
    pub fn is_empty(&self) -> bool {
        self.attempts.values().all(|attempt| attempt.messages.is_empty() && attempt.end.is_none())
    }

    /// When the next deferred item can be reported.
    pub fn next_due(&self) -> Option<Instant> {
        self.attempts.values().filter(|attempt| !attempt.parked).filter_map(|attempt| attempt.deferred).min()
    }

    /// The daemon is going: nobody acts on verdicts any more.
    pub fn disown(&mut self) {
        for attempt in self.attempts.values_mut() {
            attempt.orphan = true;
        }
        let parked: Vec<Key> =
            self.attempts.iter().filter(|(_, attempt)| attempt.parked).map(|(&key, _)| key).collect();
        parked.into_iter().for_each(|key| self.forget(key));
        self.sweep();
    }

    fn messages(&mut self, key: Key, number: Option<u64>, mut group: Vec<Message>, size: usize) {
        // After the end nothing counts: a handler may have left a task behind.
        let Some(attempt) =
            self.attempts.get_mut(&key).filter(|attempt| attempt.end.is_none() && !attempt.orphan)
        else {
            return;
        };
        let known = attempt.next.saturating_sub(number.unwrap_or(attempt.next));
        group.drain(..group.len().min(usize::try_from(known).unwrap_or(usize::MAX)));
        if group.is_empty() {
            return;
        }
        let first = attempt.next.max(number.unwrap_or(0));
        // What is between was lost with a daemon that died.
        attempt.lossy |= first > attempt.next;
        attempt.next = first + group.len() as u64;
        let lease = attempt.lease.0.clone();
        if self.records >= RECORDS {
            return self.leave_out(key);
        }
        for message in &mut group {
            message.data.truncate(wire::LARGEST_MESSAGE);
        }
        let batch = MessageBatch { lease: Bytes::new(), first, messages: group };
        let body = Record { key: key.0, lease, body: Some(Body::Messages(batch)) }.encode_to_vec();
        let within = self.log.bytes() + body.len() as u64 <= self.quota;
        let pending = match within.then(|| self.log.append(&body)) {
            Some(Ok(place)) => Pending::Disk(place),
            refused => {
                if let Some(Err(error)) = refused {
                    self.fail(&error);
                }
                if self.memory + size > MEMORY {
                    return self.leave_out(key);
                }
                self.memory += body.len();
                Pending::Memory(body.into())
            }
        };
        let attempt = self.attempts.get_mut(&key).expect("it was just found");
        match pending {
            Pending::Disk(_) => attempt.on_disk = true,
            Pending::Memory(_) => attempt.in_memory = attempt.in_memory.or(Some(first)),
        }
        attempt.messages.push_back(pending);
        self.records += 1;
    }

    fn leave_out(&mut self, key: Key) {
        if let Some(attempt) = self.attempts.get_mut(&key) {
            attempt.lossy = true;
        }
    }

    fn end(&mut self, key: Key, mut end: AttemptEnd) {
        let Some(attempt) = self.attempts.get(&key) else { return };
        end.truncated |= attempt.lossy;
        let body = Body::End(End { run: attempt.run.clone(), end: Some(end) });
        let body = Record { key: key.0, lease: attempt.lease.0.clone(), body: Some(body) }.encode_to_vec();
        let within = self.log.bytes() + body.len() as u64 <= self.quota.saturating_add(RESERVE);
        let written = if within { self.log.append(&body) } else { Err(io::ErrorKind::StorageFull.into()) };
        // Ends in memory are as many as were accepted before the trouble: slots and prefetch bound them.
        let pending = written.map_or_else(
            |error| {
                self.fail(&error);
                Pending::Memory(body.into())
            },
            Pending::Disk,
        );
        let attempt = self.attempts.get_mut(&key).expect("it was just found");
        attempt.on_disk |= matches!(pending, Pending::Disk(_));
        let before = attempt.end.replace(pending);
        self.records += 1;
        if let Some(before) = before {
            self.drop_pending(&before);
        }
    }

    fn relet(&mut self, key: Key, lease: Lease) {
        let Some(attempt) = self.attempts.get_mut(&key) else { return };
        attempt.lease = lease.clone();
        attempt.parked = false;
        attempt.deferred = None;
        if attempt.on_disk {
            let place = self.note(Record { key: key.0, lease: lease.0, body: Some(Body::Relet(true)) });
            self.attempts.get_mut(&key).expect("it was just found").relets.extend(place);
        }
    }

    pub(super) fn forget(&mut self, key: Key) {
        let Some(attempt) = self.attempts.remove(&key) else { return };
        // Nobody wants any more of it.
        if let Some(taken) = &attempt.taken {
            taken.send_replace(u64::MAX);
        }
        attempt.messages.iter().for_each(|pending| self.drop_message(pending));
        attempt.end.iter().for_each(|pending| self.drop_pending(pending));
        attempt.relets.iter().for_each(|&place| self.log.release(place));
        if attempt.on_disk
            && let Some(place) =
                self.note(Record { key: key.0, lease: Bytes::new(), body: Some(Body::Forgotten(true)) })
        {
            self.log.release(place);
        }
    }

    /// Forgets what neither waits for a verdict nor will get anything more.
    pub(super) fn sweep(&mut self) {
        let idle = |attempt: &Attempt| attempt.orphan && attempt.messages.is_empty() && attempt.end.is_none();
        let keys: Vec<Key> =
            self.attempts.iter().filter(|(_, attempt)| idle(attempt)).map(|(&key, _)| key).collect();
        keys.into_iter().for_each(|key| self.forget(key));
    }

    pub(super) fn drop_message(&mut self, pending: &Pending) {
        if let Pending::Memory(body) = pending {
            self.memory = self.memory.saturating_sub(body.len());
        }
        self.drop_pending(pending);
    }

    pub(super) fn drop_pending(&mut self, pending: &Pending) {
        self.records = self.records.saturating_sub(1);
        if let Pending::Disk(place) = pending {
            self.log.release(*place);
        }
    }

    /// Writes what only spares work after a restart.
    fn note(&mut self, record: Record) -> Option<Location> {
        match self.log.append(&record.encode_to_vec()) {
            Ok(place) => Some(place),
            Err(error) => {
                self.fail(&error);
                None
            }
        }
    }

    fn fail(&mut self, error: &io::Error) {
        if self.failure.is_none() {
            tracing::error!(%error, "the spool cannot be written: no new work is taken, results are kept in memory");
        }
        self.failure = Some(error.to_string());
    }

    /// Full at the quota, and no longer full a tenth below it.
    pub(super) fn judge_space(&mut self) {
        let limit = if self.full { self.quota / 10 * 9 } else { self.quota };
        let full = self.log.bytes() >= limit || self.records >= RECORDS;
        if full && !self.full {
            tracing::error!(
                quota = self.quota,
                "the spool is full: no new work is taken until a server has its results"
            );
        }
        self.full = full;
    }
}

impl Attempt {
    /// Tells how many of its words, from the first on, do not depend on this process: they are on disk or with the server, or left out.
    pub(super) fn tell(&mut self) {
        let Some(taken) = &self.taken else { return };
        if self.in_memory.is_some() {
            self.in_memory = self.messages.iter().find_map(Pending::first_in_memory);
        }
        let on_disk = |pending: &Pending| matches!(pending, Pending::Disk(_));
        let end = self.end.as_ref().is_some_and(on_disk);
        taken.send_replace(self.in_memory.unwrap_or(self.next + u64::from(end)));
    }
}

impl Pending {
    fn first_in_memory(&self) -> Option<u64> {
        let Self::Memory(body) = self else { return None };
        match Record::decode(body.clone()).ok()?.body {
            Some(Body::Messages(batch)) => Some(batch.first),
            _ => None,
        }
    }
}

/// Takes over a record of an earlier life.
fn replay(attempts: &mut BTreeMap<Key, Attempt>, dead: &mut Vec<Location>, place: Location, record: Record) {
    let attempt = attempts.entry(Key(record.key)).or_default();
    attempt.on_disk = true;
    attempt.lease = Lease(record.lease);
    match record.body {
        Some(Body::Messages(batch)) => {
            attempt.next = batch.first + batch.messages.len() as u64;
            attempt.messages.push_back(Pending::Disk(place));
        }
        Some(Body::End(end)) => {
            attempt.run = end.run;
            attempt.end = Some(Pending::Disk(place));
        }
        Some(Body::Relet(_)) => attempt.relets.push(place),
        Some(Body::Forgotten(_)) | None => {
            dead.push(place);
            let attempt = attempts.remove(&Key(record.key)).unwrap_or_default();
            dead.extend(attempt.relets);
            dead.extend(attempt.messages.into_iter().chain(attempt.end).filter_map(
                |pending| match pending {
                    Pending::Disk(place) => Some(place),
                    Pending::Memory(_) => None,
                },
            ));
        }
    }
}

#[cfg(test)]
mod tests;
