//! What a command prints: in order, in pieces, and never more of it in memory than the limit.
//!
//! ```text
//!              first half of the limit            last half of the limit
//! pipes --> [ head: sent while it runs ] ... [ tail: a ring, sent at the end ]
//!                                         ^ a note of how many bytes were left out
//! ```
//!
//! The pipes are always read, so a command never waits for whoever receives its output: when the channel is full,
//! the head waits here, and the head is bounded like the tail. Under a slow receiver memory stays below the
//! limit (and eight bytes per change between standard output and error); under a fast one it is that of the tail.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

/// Bytes in a piece at most.
pub(super) const PIECE: usize = 16 * 1024;

/// How long bytes wait for more of them before they are sent as a piece.
const BATCH: Duration = Duration::from_millis(50);

/// A part of the output, or a remark on it, in the order in which they came. Bytes are passed on as they are: they
/// may hold NUL, escapes, or half a character at either end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    Stdout(Bytes),
    Stderr(Bytes),
    Note(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// The output of one attempt on its way from the pipes to the channel.
#[derive(Debug)]
pub(super) struct Output {
    head: Runs,
    /// What the head may still take.
    head_room: u64,
    /// When the oldest byte of the head is sent, however few they are.
    due: Option<Instant>,
    tail: Runs,
    tail_limit: usize,
    left_out: u64,
    total: u64,
    limit: u64,
}

impl Output {
    pub fn new(limit: u64) -> Self {
        let head_room = limit.div_ceil(2);
        Self {
            head: Runs::default(),
            head_room,
            due: None,
            tail: Runs::default(),
            tail_limit: usize::try_from(limit - head_room).unwrap_or(usize::MAX),
            left_out: 0,
            total: 0,
            limit,
        }
    }

    pub fn push(&mut self, stream: Stream, bytes: &[u8], now: Instant) {
        self.total += bytes.len() as u64;
        let room = usize::try_from(self.head_room).unwrap_or(usize::MAX).min(bytes.len());
        let (head, tail) = bytes.split_at(room);
        if !head.is_empty() {
            self.head.push(stream, head);
            self.head_room -= head.len() as u64;
            self.due.get_or_insert(now + BATCH);
        }
        // Of a part that is longer than the ring only its end stays.
        let (passed, tail) = tail.split_at(tail.len().saturating_sub(self.tail_limit));
        let pushed_out = (self.tail.len() + tail.len()).saturating_sub(self.tail_limit);
        self.tail.drop_front(pushed_out);
        self.tail.push(stream, tail);
        self.left_out += (passed.len() + pushed_out) as u64;
    }

    /// When a piece is to be sent next; `None` while nothing waits.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        let full = self.head.front_len() >= PIECE || self.head.changes();
        if full { Some(now) } else { self.due }
    }

    /// The next piece of the head, as long as it can be.
    pub fn next_piece(&mut self, now: Instant) -> Option<Piece> {
        let piece = self.head.pop();
        self.due = (!self.head.is_empty()).then(|| now + BATCH);
        piece
    }

    pub fn total(&self) -> u64 {
        self.total
    }

    pub fn is_truncated(&self) -> bool {
        self.left_out > 0
    }

    /// What is left when all has been printed: the rest of the head, the note, the tail.
    pub fn into_rest(mut self) -> impl Iterator<Item = Piece> {
        let note = self.is_truncated().then(|| {
            Piece::Note(format!(
                "{} bytes of output are left out here; {} are kept",
                self.left_out, self.limit
            ))
        });
        let head = std::iter::from_fn(move || self.head.pop());
        head.chain(note).chain(std::iter::from_fn(move || self.tail.pop()))
    }
}

/// Bytes of both streams, in order.
#[derive(Debug, Default)]
struct Runs {
    bytes: VecDeque<u8>,
    /// Which stream the bytes are of: so many of the one, then so many of the other.
    runs: VecDeque<(Stream, u32)>,
}

impl Runs {
    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes.extend(bytes);
        let added = u32::try_from(bytes.len()).expect("no read is longer than a piece");
        match self.runs.back_mut() {
            Some((last, length)) if *last == stream && length.checked_add(added).is_some() => {
                *length += added
            }
            _ => self.runs.push_back((stream, added)),
        }
    }

    fn pop(&mut self) -> Option<Piece> {
        let (stream, length) = *self.runs.front()?;
        let length = (length as usize).min(PIECE);
        let mut bytes = Vec::with_capacity(length);
        let (first, second) = self.bytes.as_slices();
        bytes.extend_from_slice(&first[..length.min(first.len())]);
        bytes.extend_from_slice(&second[..length - bytes.len()]);
        self.drop_front(length);
        Some(match stream {
            Stream::Stdout => Piece::Stdout(bytes.into()),
            Stream::Stderr => Piece::Stderr(bytes.into()),
        })
    }

    fn drop_front(&mut self, count: usize) {
        self.bytes.drain(..count);
        let mut left = count;
        while left > 0 {
            let run = self.runs.front_mut().expect("the runs add up to the bytes");
            let taken = left.min(run.1 as usize);
            run.1 -= taken as u32;
            left -= taken;
            if run.1 == 0 {
                self.runs.pop_front();
            }
        }
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn front_len(&self) -> usize {
        self.runs.front().map_or(0, |run| run.1 as usize)
    }

    /// Whether the first run is complete, because another follows it.
    fn changes(&self) -> bool {
        self.runs.len() > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(limit: u64, parts: &[(Stream, &str)]) -> Vec<Piece> {
        let mut output = Output::new(limit);
        let now = Instant::now();
        parts.iter().for_each(|(stream, text)| output.push(*stream, text.as_bytes(), now));
        output.into_rest().collect()
    }

    fn out(text: &str) -> Piece {
        Piece::Stdout(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn err(text: &str) -> Piece {
        Piece::Stderr(Bytes::copy_from_slice(text.as_bytes()))
    }

    fn note(left_out: u64, kept: u64) -> Piece {
        Piece::Note(format!("{left_out} bytes of output are left out here; {kept} are kept"))
    }

    #[test]
    fn head_and_tail_are_kept_in_order_with_a_note_between() {
        use Stream::{Stderr, Stdout};
        type Row<'a> = (u64, &'a [(Stream, &'a str)], &'a [Piece]);
        let rows: &[Row<'_>] = &[
            (10, &[], &[]),
            (10, &[(Stdout, "")], &[]),
            (10, &[(Stdout, "ab"), (Stdout, "cd")], &[out("abcd")]),
            (10, &[(Stdout, "ab"), (Stderr, "x"), (Stdout, "c")], &[out("ab"), err("x"), out("c")]),
            (10, &[(Stdout, "0123456789")], &[out("01234"), out("56789")]),
            (10, &[(Stdout, "0123456789a")], &[out("01234"), note(1, 10), out("6789a")]),
            (
                10,
                &[(Stdout, "01234"), (Stderr, "567"), (Stdout, "89ab")],
                &[out("01234"), note(2, 10), err("7"), out("89ab")],
            ),
            (
                10,
                &[(Stdout, "01234"), (Stdout, "x"), (Stderr, "0123456789")],
                &[out("01234"), note(6, 10), err("56789")],
            ),
            (5, &[(Stdout, "0123456789")], &[out("012"), note(5, 5), out("89")]),
            (1, &[(Stdout, "01")], &[out("0"), note(1, 1)]),
            (0, &[(Stdout, "01")], &[note(2, 0)]),
        ];
        for (limit, parts, expected) in rows {
            assert_eq!(printed(*limit, parts), *expected, "{limit} {parts:?}");
        }
    }

    #[test]
    fn the_ring_agrees_with_a_plain_list_of_bytes() {
        for limit in 0..40_u64 {
            let mut output = Output::new(limit);
            let mut all = Vec::new();
            for step in 0..30_usize {
                let stream = if step % 3 == 0 { Stream::Stderr } else { Stream::Stdout };
                let part: Vec<u8> = (0..(step * 7 % 13)).map(|offset| (step * 16 + offset) as u8).collect();
                output.push(stream, &part, Instant::now());
                all.extend(part.into_iter().map(|byte| (stream == Stream::Stderr, byte)));
            }
            let (head, tail) = (limit.div_ceil(2) as usize, (limit / 2) as usize);
            let expected: Vec<(bool, u8)> = [&all[..head], &all[all.len() - tail..]].concat();
            let kept: Vec<(bool, u8)> = output
                .into_rest()
                .flat_map(|piece| match piece {
                    Piece::Stdout(bytes) => bytes.iter().map(|byte| (false, *byte)).collect::<Vec<_>>(),
                    Piece::Stderr(bytes) => bytes.iter().map(|byte| (true, *byte)).collect(),
                    Piece::Note(_) => Vec::new(),
                })
                .collect();
            assert_eq!(kept, expected, "limit {limit}");
        }
    }

    #[test]
    fn a_piece_is_due_at_once_when_full_or_complete_and_else_after_a_while() {
        let now = Instant::now();
        let mut output = Output::new(1 << 20);
        assert_eq!(output.due(now), None);
        output.push(Stream::Stdout, b"a", now);
        assert_eq!(output.due(now), Some(now + BATCH));
        output.push(Stream::Stderr, b"b", now);
        assert_eq!(output.due(now), Some(now));
        assert_eq!(output.next_piece(now), Some(out("a")));
        assert_eq!(output.due(now), Some(now + BATCH));
        for _ in 0..3 {
            output.push(Stream::Stderr, &[b'c'; PIECE / 2], now);
        }
        assert_eq!(output.due(now), Some(now));
        assert!(matches!(output.next_piece(now), Some(Piece::Stderr(bytes)) if bytes.len() == PIECE));
    }
}
