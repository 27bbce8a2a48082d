//! One direction of one connection.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::framer::{Frame, Framer, Protocol};
use super::rules::{Cut, Direction, Flow, Rules, Shared};
use super::trap::{At, Then, Trap};

/// As much as is read in one go.
const CHUNK: usize = 64 * 1024;
/// Chunks that are on their way under latency. When there are more, nothing is read: the sender waits.
const ON_THE_WAY: usize = 16;

/// Why a connection ends before its peers end it.
#[derive(Debug)]
pub(super) enum End {
    Silence,
    Cut(Cut),
    Broken,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Broken
    }
}

/// The trap that waits for the answer of an exchange of this connection: its requests set it, its replies spring it.
pub(super) type Awaited = Mutex<Option<(u64, Trap)>>;

pub(super) struct Pump<'a> {
    direction: Direction,
    framer: Framer,
    rules: watch::Receiver<Rules>,
    shared: &'a Shared,
    awaited: &'a Awaited,
    /// Something is missing from what has passed on: it cannot go on.
    torn: bool,
}

impl<'a> Pump<'a> {
    pub fn new(
        direction: Direction,
        protocol: Protocol,
        rules: watch::Receiver<Rules>,
        shared: &'a Shared,
        awaited: &'a Awaited,
    ) -> Self {
        Self { direction, framer: Framer::new(protocol, direction), rules, shared, awaited, torn: false }
    }

    /// Passes on what comes, as the rules say, until the sender closes its side; then it closes the other.
    pub async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), End> {
        let mut chunk = vec![0; CHUNK];
        let mut on_the_way = VecDeque::new();
        let mut ended = false;
        loop {
            let rules = self.rules.borrow_and_update().clone();
            let flow = rules.flow(self.direction);
            if self.torn && flow == Flow::Pass {
                return Err(End::Cut(Cut::Rst));
            }
            if ended && on_the_way.is_empty() {
                return Ok(to.shutdown().await?);
            }
            let flows = flow != Flow::Stall;
            let due = on_the_way.front().map(|(due, _)| *due);
            tokio::select! {
                changed = self.rules.changed() => if changed.is_err() { return Err(End::Broken) },
                read = from.read(&mut chunk), if flows && !ended && on_the_way.len() < ON_THE_WAY => {
                    let read = read?;
                    ended = read == 0;
                    if !ended {
                        on_the_way.push_back((Instant::now() + rules.latency, chunk[..read].to_vec()));
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)), if flows && due.is_some() => {
                    let (_, bytes) = on_the_way.pop_front().expect("it has a time");
                    for frame in self.framer.push(&bytes) {
                        self.pass(frame, flow, &mut to).await?;
                    }
                }
            }
        }
    }

    async fn pass(&mut self, frame: Frame, flow: Flow, to: &mut WriteHalf<'_>) -> Result<(), End> {
        let Some(trap) = self.stepped_on(&frame) else { return self.write(&frame.bytes, flow, to).await };
        let passed = match trap.at {
            At::Before | At::Answered => 0,
            At::Midway => frame.bytes.len() / 2,
            At::After => frame.bytes.len(),
        };
        let (first, rest) = frame.bytes.split_at(passed);
        self.write(first, flow, to).await?;
        match trap.spring() {
            Then::Silence => Err(End::Silence),
            Then::Cut(cut) => Err(End::Cut(cut)),
            Then::GoOn => self.write(rest, flow, to).await,
        }
    }

    /// The trap that springs with this frame; one that waits for the answer is put aside.
    fn stepped_on(&self, frame: &Frame) -> Option<Trap> {
        let mut awaited = self.awaited.lock().unwrap_or_else(PoisonError::into_inner);
        if self.direction == Direction::Replies
            && let Some((_, trap)) = awaited.take_if(|(exchange, _)| Some(*exchange) == frame.exchange)
        {
            return Some(trap);
        }
        let trap = self.shared.step(self.direction, frame)?;
        if trap.at != At::Answered {
            return Some(trap);
        }
        let exchange = frame.exchange.expect("what a trap looks for is in something that is answered");
        *awaited = Some((exchange, trap));
        None
    }

    async fn write(&mut self, bytes: &[u8], flow: Flow, to: &mut WriteHalf<'_>) -> Result<(), End> {
        if flow == Flow::Vanish {
            self.torn = true;
            return Ok(());
        }
        let (allowed, cut) = self.shared.spend(self.direction, bytes.len());
        self.shared.passed(self.direction, allowed);
        to.write_all(&bytes[..allowed]).await?;
        cut.map_or(Ok(()), |cut| Err(End::Cut(cut)))
    }
}
