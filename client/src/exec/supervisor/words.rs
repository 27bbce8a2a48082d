//! What an attempt has said, until somebody has it who will not lose it.
//!
//! ```text
//!          taken        sent again to who comes next            on disk
//! word 0 ..     | first ..                  sent ..          |  ..            | end
//!               [ in memory: up to WINDOW                    ][ only beyond it ]
//! ```
//!
//! All that is kept here is bounded by the output limit of the attempt. A daemon that is slow, or away, costs memory up to [`WINDOW`].

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};

use super::channel::Channel;
use super::frame::{self, Ask, Serving, Word};
use super::spill::Spill;
use crate::exec::exit::Exit;

/// Bytes in memory. A daemon says what it has taken long before they are full, so that a fast one never sees the disk.
const WINDOW: usize = 512 << 10;

/// How long an end is kept for a daemon to come: over a long weekend on which nobody mends the host.
const KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// The words of one attempt.
pub(super) struct Words {
    ticket: Bytes,
    /// The number of the first word in memory.
    first: u64,
    /// How many are taken, of those to come too.
    taken: u64,
    memory: BytesMut,
    /// Bytes of them that the present daemon has been sent.
    sent: usize,
    spill: Spill,
    /// Whether the disk is still worth a try.
    spills: bool,
    /// The last word, which is never left to the disk.
    end: Option<Bytes>,
    ended: bool,
}

impl Words {
    pub fn new(ticket: Bytes, directory: &Path) -> Self {
        let spill = Spill::new(directory.to_owned());
        Self {
            ticket,
            first: 0,
            taken: 0,
            memory: BytesMut::new(),
            sent: 0,
            spill,
            spills: true,
            end: None,
            ended: false,
        }
    }

    pub fn push(&mut self, word: Word) {
        let word = Bytes::from(word);
        let room = self.spill.len() == 0 && self.memory.len() + word.len() <= WINDOW;
        if room || !self.spills {
            return self.memory.extend_from_slice(&word);
        }
        if let Err(error) = self.spill.push(&word) {
            super::complain(format_args!("output waits in memory, as the disk does not take it: {error}"));
            self.spills = false;
            self.refill(usize::MAX);
            self.memory.extend_from_slice(&word);
        }
    }

    /// The last word.
    pub fn finish(&mut self, exit: Exit) {
        self.end = Some(Word::End(exit.into()).into());
        self.ended = true;
        self.refill(WINDOW);
    }

    /// Hears what the daemon says and says what it has not been told, as far as either is possible without waiting. Whether the attempt
    /// is to stop.
    pub fn exchange(&mut self, channel: &mut Channel) -> bool {
        let newcomer = channel.newcomer();
        let mut cancelled = false;
        while !self.is_over()
            && let Some(ask) = channel.hear()
        {
            match ask {
                Ask::Cancel(_) => cancelled = true,
                Ask::Taken(count) => {
                    self.taken = self.taken.max(count);
                    self.take();
                }
                Ask::Ticket(ticket) => self.ticket = ticket,
                Ask::Start(_) => super::complain(format_args!("it was asked for two attempts at once")),
            }
        }
        if let Some(newcomer) = newcomer.filter(|_| !self.is_over()) {
            channel.admit(newcomer);
            self.sent = 0;
            channel.say(Word::Serving(Serving { ticket: self.ticket.clone(), first: self.first }).into());
        }
        self.take();
        channel.flush();
        while channel.is_ready()
            && !channel.is_closed()
            && let Some(word) = self.next()
        {
            channel.say(word);
        }
        cancelled
    }

    /// Stays until all is taken, or nobody can come for it any more.
    pub fn until_taken(&mut self, channel: &mut Channel) {
        let deadline = Instant::now() + KEPT;
        loop {
            self.exchange(channel);
            let patience = deadline.saturating_duration_since(Instant::now());
            if self.is_over() || channel.is_deserted() || patience.is_zero() {
                return;
            }
            channel.wait_for(&mut Vec::new(), Some(patience));
        }
    }

    fn is_over(&self) -> bool {
        self.ended && self.end.is_none() && self.memory.is_empty() && self.spill.len() == 0
    }

    /// The next word to send.
    fn next(&mut self) -> Option<Bytes> {
        let unsent = &self.memory[self.sent..];
        let word = Bytes::copy_from_slice(unsent.get(..whole(unsent)?)?);
        self.sent += word.len();
        Some(word)
    }

    fn take(&mut self) {
        while self.first < self.taken {
            self.refill(WINDOW);
            let Some(length) = whole(&self.memory) else { return };
            self.memory.advance(length);
            self.sent = self.sent.saturating_sub(length);
            self.first += 1;
        }
        self.refill(WINDOW);
    }

    /// Takes from the disk what memory has room for, and the end when nothing is left there.
    fn refill(&mut self, room: usize) {
        while self.spill.len() > 0 && self.memory.len() < room / 2 {
            match self.spill.pop(room - self.memory.len()) {
                Ok(bytes) => self.memory.extend_from_slice(&bytes),
                Err(error) => {
                    let note = format!("output that waited on disk is lost: {error}");
                    self.memory.extend_from_slice(&Bytes::from(Word::Note(note)));
                }
            }
        }
        if self.spill.len() == 0
            && let Some(end) = self.end.take()
        {
            self.memory.extend_from_slice(&end);
        }
    }
}

/// The bytes of the word at the beginning, its header included; `None` if there is none.
fn whole(bytes: &[u8]) -> Option<usize> {
    let (length, header) = frame::length(bytes).expect("what was encoded here can be decoded")?;
    Some(header + length)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::frame::Reply;
    use super::*;

    /// As in a queue of words: what there is to send, all of it.
    fn sent(words: &mut Words) -> Vec<Word> {
        let frames = std::iter::from_fn(|| words.next());
        let mut bytes = BytesMut::from_iter(frames.flat_map(|frame| frame.to_vec()));
        let next = || frame::decode::<Reply>(&mut bytes).expect("words are whole")?.word;
        std::iter::from_fn(next).collect()
    }

    fn take(words: &mut Words, count: u64) {
        words.taken = count;
        words.take();
    }

    fn exit() -> Exit {
        let ending = crate::exec::Ending::Exited(3);
        Exit { elapsed: Duration::from_secs(1), ..Exit::without_start(ending) }
    }

    fn word(number: usize) -> Word {
        Word::Stdout(Bytes::from(vec![number as u8; 1 + number * 7919 % (16 << 10)]))
    }

    /// Whatever is taken when, and whether or not there is a disk: each word once, in order, and the end last.
    #[test]
    fn all_words_come_in_order_whether_they_wait_in_memory_or_on_disk() {
        let directory = tempfile::tempdir().unwrap();
        for (place, step) in [(directory.path(), 1), (directory.path(), 40), (Path::new("/nowhere"), 40)] {
            let mut words = Words::new(Bytes::new(), place);
            (0..400).for_each(|number| words.push(word(number)));
            let spilled = words.spill.len() > 0;
            assert_eq!(spilled, place == directory.path());
            assert!(!spilled || words.memory.len() <= WINDOW);
            words.finish(exit());
            let mut heard = Vec::new();
            while !words.is_over() {
                heard.extend(sent(&mut words));
                let first = words.first;
                take(&mut words, (first + step).min(heard.len() as u64));
                assert!(!spilled || words.memory.len() <= WINDOW + (16 << 10));
            }
            assert_eq!(heard.len(), 401);
            assert!(heard.iter().take(400).eq(&(0..400).map(word).collect::<Vec<_>>()));
            assert_eq!(heard[400], Word::End(exit().into()));
        }
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_was_sent_but_not_taken_is_sent_again_to_whoever_comes_next() {
        let mut words = Words::new(Bytes::new(), Path::new("/nowhere"));
        (0..5).for_each(|number| words.push(word(number)));
        assert_eq!(sent(&mut words).len(), 5);
        take(&mut words, 2);
        words.sent = 0;
        assert_eq!(sent(&mut words), (2..5).map(word).collect::<Vec<_>>());
        assert_eq!(words.first, 2);
        words.finish(exit());
        take(&mut words, 5);
        assert!(!words.is_over());
        take(&mut words, 6);
        assert!(words.is_over());
    }

    #[test]
    fn of_what_nobody_wants_nothing_is_kept() {
        let mut words = Words::new(Bytes::new(), Path::new("/nowhere"));
        take(&mut words, u64::MAX);
        words.push(word(1));
        words.finish(exit());
        words.take();
        assert!(words.is_over());
    }
}
