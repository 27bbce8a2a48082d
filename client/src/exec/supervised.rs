//! One attempt of a command, as the daemon sees it.

use std::sync::Arc;

use bytes::Bytes;

use super::command::Command;
use super::containment::Containment;
use super::exit::{Ending, Exit};
use super::handle::Handle;
use super::orphan::Orphan;
use super::output::Piece;
use super::start::StartError;
use super::supervisor::frame::{Ask, Start, Word};

/// An attempt that a supervisor carries out (see the module `supervisor`).
///
/// Whoever holds it need not listen: the command, its time-out and its cancellation go on all the same. When it is dropped they go on too,
/// and the next process with this owner finds the attempt as an [`Orphan`].
#[derive(Debug)]
pub struct Supervised {
    supervisor: Handle,
    containment: Arc<Containment>,
    /// For another supervisor, as long as this one has not said a word.
    start: Option<Start>,
    /// The number of the word that comes next.
    next: u64,
    cancelled: bool,
    /// Whether the supervisor can serve another attempt.
    reusable: bool,
}

/// A word of an attempt. Words are numbered from 0, and a word keeps its number whoever hears it; the end has the last.
#[derive(Debug)]
pub enum Said {
    Piece {
        number: u64,
        piece: Piece,
    },
    /// Nothing of it is left.
    End(Exit),
}

impl Supervised {
    /// Starts the command with a supervisor: one that is idle, or a new one. `ticket` is for whoever has to adopt the attempt.
    ///
    /// # Errors
    /// How the attempt ended without one.
    pub fn start(command: Command, ticket: Bytes, containment: &Arc<Containment>) -> Result<Self, Exit> {
        command.check().map_err(|error| Exit::without_start(StartError::from(error).into()))?;
        let mut start = Start::from(command);
        start.ticket = ticket;
        let supervisor = started(&start, containment)?;
        Ok(Self {
            supervisor,
            containment: containment.clone(),
            start: Some(start),
            next: 0,
            cancelled: false,
            reusable: true,
        })
    }

    /// Takes over what an earlier daemon has started.
    pub fn adopt(orphan: Orphan, containment: &Arc<Containment>) -> Self {
        let Orphan { supervisor, first, ticket: _ } = orphan;
        // It may be of another version: it serves what it has, and no other.
        Self {
            supervisor,
            containment: containment.clone(),
            start: None,
            next: first,
            cancelled: false,
            reusable: false,
        }
    }

    /// What is said next. Can be dropped and called again: nothing is lost. Not to be called after the end.
    pub async fn hear(&mut self) -> Said {
        loop {
            let piece = match self.supervisor.hear().await {
                Ok(Word::Stdout(data)) => Piece::Stdout(data),
                Ok(Word::Stderr(data)) => Piece::Stderr(data),
                Ok(Word::Note(text)) => Piece::Note(text),
                Ok(Word::End(end)) => {
                    let exit = Exit::from(end);
                    // With somebody left behind in its group it cannot serve another.
                    self.reusable &= exit.survivors == 0;
                    return Said::End(exit);
                }
                Ok(Word::Serving(_)) => continue,
                Ok(Word::Retired(_)) => match self.start_again() {
                    Ok(()) => continue,
                    Err(exit) => return Said::End(exit),
                },
                // What was not read to the end was not begun.
                Err(_) if self.start.is_some() && !self.supervisor.was_told() => match self.start_again() {
                    Ok(()) => continue,
                    Err(exit) => return Said::End(exit),
                },
                Err(error) => {
                    let number = self.supervisor.number();
                    tracing::error!(%error, supervisor = number, "a supervisor ended before its attempt");
                    self.containment.clear(&self.supervisor).await;
                    self.reusable = false;
                    return Said::End(Exit::without_start(Ending::Lost));
                }
            };
            self.start = None;
            let number = self.next;
            self.next += 1;
            return Said::Piece { number, piece };
        }
    }

    /// Stops it: SIGTERM, and after the grace SIGKILL. The end comes as always.
    pub fn cancel(&mut self) {
        self.cancelled = true;
        self.supervisor.ask(Ask::Cancel(true));
    }

    /// Replaces the ticket.
    pub fn relabel(&mut self, ticket: Bytes) {
        if let Some(start) = &mut self.start {
            start.ticket = ticket.clone();
        }
        self.supervisor.ask(Ask::Ticket(ticket));
    }

    /// So many words, from the first on, are where they outlive this process.
    pub fn taken(&mut self, words: u64) {
        self.supervisor.ask(Ask::Taken(words));
    }

    /// How many words there were, once the end was heard.
    pub fn words(&self) -> u64 {
        self.next + 1
    }

    /// All that was said, the end too, is where it outlives this process.
    pub fn release(mut self) {
        self.taken(u64::MAX);
        if self.reusable {
            self.containment.release(self.supervisor);
        }
    }

    fn start_again(&mut self) -> Result<(), Exit> {
        let start = self.start.as_ref().expect("a supervisor retires only before it serves");
        self.supervisor = started(start, &self.containment)?;
        if self.cancelled {
            self.cancel();
        }
        Ok(())
    }
}

fn started(start: &Start, containment: &Containment) -> Result<Handle, Exit> {
    let supervisor = containment.supervisor();
    let mut supervisor = supervisor.map_err(|error| Exit::without_start(StartError::Host(error).into()))?;
    supervisor.ask(Ask::Start(start.clone()));
    Ok(supervisor)
}
