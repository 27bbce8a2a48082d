//! One open run, and the stage it is in.

use std::time::Duration;

use tokio::time::Instant;

use crate::queue::{EndingCause, Entry, SessionId};
use crate::run::{Counters, Fence, Overlap};
use marabunta_proto::name::Name;

/// An open run.
#[derive(Debug)]
pub(super) struct Open {
    pub entry: Entry,
    /// Its turn among those in its place and of its urgency: given when it is first released, kept for good.
    pub turn: u64,
    pub fence: Option<Fence>,
    pub attempt: u32,
    pub counters: Counters,
    pub cancelled: bool,
    pub followed: bool,
    /// It was missed, unless somebody turns out to have claimed it.
    pub missed: bool,
    /// It came from the store: that it has ended is remembered like a result.
    pub restored: bool,
    /// When it is given up; `None` once it was accepted.
    pub expires: Option<Instant>,
    /// To whom the latest attempt was given.
    pub holder: Option<(Name, SessionId)>,
    pub stage: Stage,
}

/// Where an open run is: in exactly one of these, and in the index that goes with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Due(Instant),
    Behind,
    Ready,
    InFlight { accepted: bool },
    Ending { cause: EndingCause, offer: Instant },
    Missed { offer: Instant },
}

/// The overlap key that runs share.
pub(super) type Slot = String;

impl Stage {
    /// It waits for something, and may expire meanwhile.
    pub fn is_waiting(self) -> bool {
        matches!(self, Self::Due(_) | Self::Behind | Self::Ready)
    }
}

impl Open {
    /// A run that has nothing behind it and is in no index yet.
    pub fn new(entry: Entry, now: Instant) -> Self {
        let due = now + entry.delay;
        Self {
            turn: 0,
            fence: None,
            attempt: 0,
            counters: Counters::default(),
            cancelled: false,
            followed: false,
            missed: false,
            restored: false,
            expires: entry.expires.map(|after| due + after),
            holder: None,
            stage: Stage::Due(due),
            entry,
        }
    }

    /// The slot it needs before it is released; `None` for one that may overlap with any.
    pub fn slot(&self) -> Option<(Overlap, Slot)> {
        match &self.entry.overlap {
            None | Some((Overlap::Allow, _)) => None,
            Some((policy, key)) => Some((*policy, key.clone())),
        }
    }

    /// Whether it was missed, if nothing that was due was let go for too long (`dark`).
    pub fn is_missed(&self, dark: bool) -> bool {
        self.attempt == 0 && (dark || self.missed)
    }

    /// How long ago it was due, while it waits for that.
    pub fn late(&self, now: Instant) -> Duration {
        match self.stage {
            Stage::Due(at) => now.saturating_duration_since(at),
            _ => Duration::ZERO,
        }
    }

    /// It was never accepted and its time is over.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}
