//! What a proxy does to all of its connections, and what it has counted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::framer::Frame;
use super::trap::Trap;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    Requests,
    /// From the server to the client.
    Replies,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// In order, as by a peer that exits.
    Fin,
    /// Reset, as by a peer that knows nothing of the connection.
    Rst,
}

/// What becomes of the bytes of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Flow {
    #[default]
    Pass,
    /// They are not read, so that the sender's window fills.
    Stall,
    /// They are read and thrown away.
    Vanish,
}

/// The rules of the moment. Their change is seen by every connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Rules {
    /// Added to each direction.
    pub latency: Duration,
    pub requests: Flow,
    pub replies: Flow,
    /// New connections find nobody listening.
    pub refuse: bool,
    /// How often all connections were cut, and how last.
    pub cuts: u64,
    pub cut: Option<Cut>,
}

impl Rules {
    pub fn flow(&self, direction: Direction) -> Flow {
        match direction {
            Direction::Requests => self.requests,
            Direction::Replies => self.replies,
        }
    }

    pub fn set(&mut self, direction: Direction, flow: Flow) {
        match direction {
            Direction::Requests => self.requests = flow,
            Direction::Replies => self.replies = flow,
        }
    }
}

/// What connections share and may use up.
#[derive(Default)]
pub(super) struct Shared {
    traps: Mutex<Vec<Trap>>,
    allowance: Mutex<Option<Allowance>>,
    accepted: AtomicU64,
    open: AtomicU64,
    requests: AtomicU64,
    replies: AtomicU64,
}

/// How many bytes may still pass before the connection that carries the next one is cut.
pub(super) struct Allowance {
    pub direction: Direction,
    pub bytes: u64,
    pub cut: Cut,
}

impl Shared {
    pub fn set(&self, trap: Trap) {
        lock(&self.traps).push(trap);
    }

    pub fn allow(&self, allowance: Allowance) {
        *lock(&self.allowance) = Some(allowance);
    }

    pub fn forgive(&self) {
        *lock(&self.allowance) = None;
        lock(&self.traps).clear();
    }

    /// The trap that this frame steps on, if any: each springs once.
    pub fn step(&self, direction: Direction, frame: &Frame) -> Option<Trap> {
        let mut traps = lock(&self.traps);
        let stepped = traps.iter().position(|trap| trap.catches(direction, frame))?;
        Some(traps.remove(stepped))
    }

    /// How many of these bytes may pass, and the cut that comes then.
    pub fn spend(&self, direction: Direction, bytes: usize) -> (usize, Option<Cut>) {
        let mut allowance = lock(&self.allowance);
        let Some(allowed) = allowance.as_mut().filter(|allowed| allowed.direction == direction) else {
            return (bytes, None);
        };
        let wanted = bytes as u64;
        if wanted < allowed.bytes {
            allowed.bytes -= wanted;
            return (bytes, None);
        }
        let (left, cut) = (allowed.bytes, allowed.cut);
        *allowance = None;
        (usize::try_from(left).expect("it is not more than was wanted"), Some(cut))
    }

    pub fn opened(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    pub fn closed(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn passed(&self, direction: Direction, bytes: usize) {
        self.counter(direction).fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }

    pub fn bytes(&self, direction: Direction) -> u64 {
        self.counter(direction).load(Ordering::Relaxed)
    }

    fn counter(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::Requests => &self.requests,
            Direction::Replies => &self.replies,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
