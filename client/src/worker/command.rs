//! Commands as handlers: a template of the configuration, and the free command `exec`. A supervisor runs them, so they outlive this process.

use std::sync::Arc;

use bytes::Bytes;
use marabunta_proto::v1::{Message, MessageKind};
use tokio::sync::{mpsc, watch};

use super::{
    attempts::{Assignment, Key, Stop},
    execution::Orders,
    handler::{Completion, Failure, FailureKind, Printed},
    spool::Entry,
    ticket::Ticket,
    wire,
};
use crate::exec::{Command, Containment, Ending, Exit, FreeCommand, HandlerConfig, Piece, Said, Supervised};

/// Words after which a supervisor is told what of them is in the spool: a quarter of what it keeps in memory.
const TAKEN: u64 = 8;

/// Where the command of an attempt comes from.
pub enum Source {
    Template(Box<HandlerConfig>),
    /// Whoever submits chooses it. Only for workers whose own configuration allows it.
    Free,
}

impl Source {
    /// The command for this attempt.
    pub fn command(&self, assignment: &Assignment, payload: &[u8]) -> Result<Command, Failure> {
        let mut command = match self {
            Self::Template(config) => config.command(payload).map_err(Failure::rejected)?,
            Self::Free => FreeCommand::parse(payload).map_err(Failure::rejected)?,
        };
        let attempt = assignment.attempt.to_string();
        for (name, value) in [("RUN", &assignment.run), ("TASK", &assignment.task), ("ATTEMPT", &attempt)] {
            command.env.insert(format!("MARABUNTA_{name}"), value.clone());
        }
        Ok(command)
    }
}

/// An attempt that is carried out by a supervisor, in the charge of this daemon.
pub struct Led {
    supervised: Supervised,
    ticket: Ticket,
    /// How many of its words are in the spool.
    taken: watch::Receiver<u64>,
}

/// What became of it.
pub enum Outcome {
    Ended(Exit),
    /// It goes on without this daemon.
    Left,
}

impl Led {
    /// # Errors
    /// How it ended without a supervisor.
    pub async fn start(
        command: Command,
        ticket: Ticket,
        containment: &Arc<Containment>,
        entries: &mpsc::Sender<Entry>,
    ) -> Result<Self, Exit> {
        let supervised = Supervised::start(command, ticket.bytes(), containment)?;
        Ok(Self::adopt(ticket, supervised, entries).await)
    }

    pub async fn adopt(ticket: Ticket, supervised: Supervised, entries: &mpsc::Sender<Entry>) -> Self {
        let (taken, told) = watch::channel(0);
        tell(entries, Entry::Follow { key: ticket.key(), taken }).await;
        Self { supervised, ticket, taken: told }
    }

    pub fn ticket(&self) -> &Ticket {
        &self.ticket
    }

    /// Brings its words to the spool and its orders to the supervisor, until it ends or is left.
    pub async fn lead(
        &mut self,
        orders: &mut watch::Receiver<Orders>,
        entries: &mpsc::Sender<Entry>,
    ) -> Outcome {
        let key = self.ticket.key();
        let (mut waiting, mut told, mut stopped) = (None, 0, false);
        orders.mark_changed();
        loop {
            // One word waits here for the spool; the rest waits with the supervisor, which goes on all the same.
            tokio::select! {
                biased;
                Ok(()) = orders.changed() => {
                    let Orders { lease, stop } = orders.borrow_and_update().clone();
                    if stop == Some(Stop::Leave) {
                        return Outcome::Left;
                    }
                    if self.ticket.update(&lease, stop) {
                        self.supervised.relabel(self.ticket.bytes());
                    }
                    // Also if an earlier daemon has said it: it may have died before it was heard.
                    if stop.is_some() && !std::mem::replace(&mut stopped, true) {
                        self.supervised.cancel();
                    }
                }
                Ok(()) = self.taken.changed() => {
                    let taken = *self.taken.borrow_and_update();
                    if taken >= told + TAKEN {
                        self.supervised.taken(taken);
                        told = taken;
                    }
                }
                permit = entries.reserve(), if waiting.is_some() => {
                    if let (Ok(permit), Some(entry)) = (permit, waiting.take()) {
                        permit.send(entry);
                    }
                }
                said = self.supervised.hear(), if waiting.is_none() => match said {
                    Said::Piece { number, piece } => waiting = Some(entry(key, number, piece)),
                    Said::End(exit) => return Outcome::Ended(exit),
                },
            }
        }
    }

    /// Lets the supervisor go: nobody wants the end.
    pub fn discard(self) {
        self.supervised.release();
    }

    /// Lets the supervisor go once the end, too, is in the spool, or nobody wants it. Until then the supervisor keeps it.
    pub async fn release(mut self, key: Key) {
        let words = self.supervised.words();
        match self.taken.wait_for(|taken| *taken >= words).await {
            Ok(_) => {}
            Err(_) => return tracing::debug!(key = key.0, "the end of an attempt stays with its supervisor"),
        }
        self.supervised.release();
    }
}

fn entry(key: Key, number: u64, piece: Piece) -> Entry {
    let (kind, data) = match piece {
        Piece::Stdout(data) => (MessageKind::Stdout, data),
        Piece::Stderr(data) => (MessageKind::Stderr, data),
        Piece::Note(text) => (MessageKind::Note, Bytes::from(text)),
    };
    let message = Message { kind: kind.into(), data, time: Some(wire::now()) };
    Entry::Message { key, number: Some(number), message }
}

async fn tell(entries: &mpsc::Sender<Entry>, entry: Entry) {
    // Closed only while the daemon ends, when nobody is left to tell.
    if entries.send(entry).await.is_err() {
        tracing::debug!("an attempt was started after the end of the worker");
    }
}

/// The result of a command that ended like this.
pub fn result(exit: &Exit) -> Result<Completion, Failure> {
    let code = exit.ending.code();
    let printed = Some(Printed { bytes: exit.output_bytes, truncated: exit.truncated });
    let failure = |kind, error: String| Failure { kind, error, exit_code: Some(code), printed };
    Err(match &exit.ending {
        Ending::Exited(0) => {
            return Ok(Completion { result: None, exit_code: Some(0), printed });
        }
        Ending::Exited(code) => failure(FailureKind::Failed, format!("exit code {code}")),
        Ending::Signalled(9) if exit.out_of_memory => {
            failure(FailureKind::Failed, "killed for using more memory than its limit".to_owned())
        }
        Ending::Signalled(signal) => failure(FailureKind::Failed, format!("ended by signal {signal}")),
        Ending::TimedOut => failure(FailureKind::TimedOut, "took longer than its handler allows".to_owned()),
        Ending::Cancelled => failure(FailureKind::Cancelled, String::new()),
        // 125: the host failed, which may pass. All else would fail again.
        Ending::NotStarted { code: 125, error } => failure(FailureKind::Failed, error.clone()),
        Ending::NotStarted { error, .. } => failure(FailureKind::Rejected, error.clone()),
        Ending::Lost => failure(FailureKind::Lost, "something killed its supervisor".to_owned()),
    })
}
