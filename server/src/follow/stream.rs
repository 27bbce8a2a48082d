//! A run's transitions and output as a stream that can be resumed anywhere.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use futures_util::{Stream, stream};
use thiserror::Error;
use tokio::time::timeout;
use tracing::debug;

use super::handle::{Follow, FollowError};
use super::watch::Watching;
use super::{Transition, View};
use crate::run::{Fence, RunId};
use crate::store::StoredMessage;

/// How many messages are read at once.
const PAGE: u32 = 256;
/// How long a follower waits for a hint before it looks by itself: at first, and at most.
const FIRST_LOOK: Duration = Duration::from_millis(500);
const SLOW_LOOK: Duration = Duration::from_secs(5);

/// Right after the event that carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Cursor {
    transitions: usize,
    message: Option<(Fence, u64)>,
}

/// A text that is no cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the cursor is not one that an event carried")]
pub struct CursorError;

/// What a follower sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Transition(Transition),
    /// `attempt`: the number of the attempt that wrote it; 0 while the history of a fast run does not tell yet.
    Output {
        attempt: u32,
        message: StoredMessage,
    },
    /// The run has ended; nothing follows.
    End(Box<View>),
}

struct Reader {
    follow: Follow,
    watching: Watching,
    run: RunId,
    quiet: bool,
    wait: bool,
    cursor: Cursor,
    /// Of the attempts seen so far.
    numbers: BTreeMap<Fence, u32>,
    pending: VecDeque<(Cursor, Event)>,
    patience: Duration,
    over: bool,
}

impl Follow {
    /// Streams a run from the cursor on: with its output unless `quiet`, and until it has ended if `wait`. Nothing is read ahead of the
    /// reader. [`FollowError::NotFound`] comes at once.
    pub async fn stream(
        &self,
        run: RunId,
        cursor: Cursor,
        quiet: bool,
        wait: bool,
    ) -> Result<impl Stream<Item = Result<(Cursor, Event), FollowError>> + use<>, FollowError> {
        self.view(run).await?;
        let reader = Reader {
            follow: self.clone(),
            watching: self.watch.follow(run),
            run,
            quiet,
            wait,
            cursor,
            numbers: BTreeMap::new(),
            pending: VecDeque::new(),
            patience: Duration::ZERO,
            over: false,
        };
        Ok(stream::unfold(
            reader,
            |mut reader| async move { reader.next().await.map(|event| (event, reader)) },
        ))
    }
}

impl Reader {
    async fn next(&mut self) -> Option<Result<(Cursor, Event), FollowError>> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(Ok(event));
            }
            if self.over {
                return None;
            }
            let changed = self.watching.changed.clone();
            let mut woken = std::pin::pin!(changed.notified());
            woken.as_mut().enable();
            if let Err(error) = self.look().await {
                self.over = true;
                return Some(Err(error));
            }
            if self.pending.is_empty() && !self.over {
                if !self.wait {
                    return None;
                }
                self.patience = (self.patience * 2).clamp(FIRST_LOOK, SLOW_LOOK);
                if timeout(self.patience, woken).await.is_ok() {
                    self.patience = Duration::ZERO;
                }
            }
        }
    }

    /// Reads what is new. The state is read before the messages: once it is final, all messages are there.
    async fn look(&mut self) -> Result<(), FollowError> {
        if self.wait
            && let Err(error) = self.follow.queue.follow(self.run).await
        {
            debug!(run = %self.run, %error, "failed to ask for hints: looking from time to time");
        }
        let view = self.follow.view(self.run).await?;
        let ended = view.run.state.is_final();
        let open = view.transitions.len() - usize::from(ended && !view.transitions.is_empty());
        self.transitions(&view, open);
        self.number(&view);
        let full = !self.quiet && self.messages().await?;
        if ended && !full {
            self.transitions(&view, view.transitions.len());
            self.pending.push_back((self.cursor, Event::End(Box::new(view))));
            self.over = true;
        }
        Ok(())
    }

    fn transitions(&mut self, view: &View, until: usize) {
        while self.cursor.transitions < until {
            let transition = view.transitions[self.cursor.transitions].clone();
            self.cursor.transitions += 1;
            self.pending.push_back((self.cursor, Event::Transition(transition)));
        }
    }

    fn number(&mut self, view: &View) {
        self.numbers.extend(view.run.attempts.iter().map(|attempt| (attempt.fence, attempt.number)));
        self.numbers.extend(view.latest);
    }

    /// Whether there may be more.
    async fn messages(&mut self) -> Result<bool, FollowError> {
        let messages = self.follow.store.messages(self.run, self.cursor.message, PAGE).await?;
        let full = messages.len() == PAGE as usize;
        if messages.iter().any(|message| !self.numbers.contains_key(&message.fence)) {
            // Of an attempt that was given out since the run was looked at.
            let view = self.follow.view(self.run).await?;
            self.number(&view);
        }
        for message in messages {
            let attempt = self.numbers.get(&message.fence).copied().unwrap_or(0);
            self.cursor.message = Some((message.fence, message.number));
            self.pending.push_back((self.cursor, Event::Output { attempt, message }));
        }
        Ok(full)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.transitions)?;
        self.message.map_or(Ok(()), |(fence, number)| write!(f, ".{}.{number}", fence.0))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    /// An empty text is the cursor before the first event.
    fn from_str(text: &str) -> Result<Self, CursorError> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let mut numbers = text.split('.').map(|number| number.parse::<u64>().map_err(|_| CursorError));
        let mut next = || numbers.next().transpose();
        let transitions = next()?.and_then(|n| usize::try_from(n).ok()).ok_or(CursorError)?;
        let message = match (next()?, next()?, next()?) {
            (None, None, None) => None,
            (Some(fence), Some(number), None) => Some((Fence(fence), number)),
            _ => return Err(CursorError),
        };
        Ok(Self { transitions, message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_way_to_a_reader_and_back() {
        for cursor in [
            Cursor::default(),
            Cursor { transitions: 3, message: None },
            Cursor { transitions: 2, message: Some((Fence(u64::MAX), 7)) },
        ] {
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
        }
    }

    #[test]
    fn what_no_event_carried_is_refused() {
        for text in [".", "1.", "1.2", "1.2.3.4", "-1", "x", "1.2.3 ", "99999999999999999999"] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }
}
