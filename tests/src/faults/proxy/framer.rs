//! Bytes of one direction into frames, so that a request can be told from the next and its answer found.

use std::collections::HashMap;

use super::resp;
use super::rules::Direction;

/// The longest that a trap can look for: as much is kept of what went before, for bytes that are split.
pub(super) const SEAM: usize = 256;

/// What a client of HTTP/2 says first (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEAD: usize = 9;
const DATA: u8 = 0;
const END_STREAM: u8 = 1;

/// What is spoken on a connection, which says what answers what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Anything where one request waits for the answer to the one before, as on a connection to MySQL: what comes next is the answer.
    Turns,
    /// Redis: answers come in the order of the requests, any number of which may be under way.
    Redis,
    /// HTTP/2, and so gRPC: answers come on the stream of the request. Headers are compressed; what a trap looks for must be in the data.
    Http2,
}

/// A piece that is passed on as a whole.
#[derive(Debug)]
pub(super) struct Frame {
    pub bytes: Vec<u8>,
    /// What its request and its answer have in common; none for what answers nothing.
    pub exchange: Option<u64>,
    /// The part to be searched, after what came before it in the same exchange.
    before: Vec<u8>,
    from: usize,
}

impl Frame {
    pub fn holds(&self, needle: &[u8]) -> bool {
        let here = &self.bytes[self.from..];
        let seam = needle.len() - 1;
        let before = &self.before[self.before.len().saturating_sub(seam)..];
        let seam = [before, &here[..here.len().min(seam)]].concat();
        let found = |text: &[u8]| text.windows(needle.len()).any(|window| window == needle);
        found(&seam) || found(here)
    }
}

/// Splits the bytes of one direction of one connection.
pub(super) struct Framer {
    protocol: Protocol,
    direction: Direction,
    rest: Vec<u8>,
    /// Values of Redis so far.
    count: u64,
    prefaced: bool,
    /// The last bytes of each exchange that may go on.
    before: HashMap<u64, Vec<u8>>,
}

impl Framer {
    pub fn new(protocol: Protocol, direction: Direction) -> Self {
        let prefaced = direction == Direction::Replies;
        Self { protocol, direction, rest: Vec::new(), count: 0, prefaced, before: HashMap::new() }
    }

    /// The frames that are whole with these bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Frame> {
        self.rest.extend_from_slice(bytes);
        let (mut frames, mut from) = (Vec::new(), 0);
        while from < self.rest.len() {
            let Some(length) = self.length(&self.rest[from..]) else { break };
            let bytes = self.rest[from..from + length].to_vec();
            from += length;
            frames.push(self.frame(bytes));
        }
        self.rest.drain(..from);
        frames
    }

    fn length(&self, rest: &[u8]) -> Option<usize> {
        let length = match self.protocol {
            Protocol::Turns => rest.len(),
            Protocol::Redis => resp::value(rest)?,
            Protocol::Http2 if !self.prefaced => PREFACE.len(),
            Protocol::Http2 if rest.len() < HEAD => return None,
            Protocol::Http2 => HEAD + u32::from_be_bytes([0, rest[0], rest[1], rest[2]]) as usize,
        };
        (rest.len() >= length).then_some(length)
    }

    fn frame(&mut self, bytes: Vec<u8>) -> Frame {
        match self.protocol {
            Protocol::Turns => self.piece(bytes, 0, 0, true),
            Protocol::Redis => {
                if self.direction == Direction::Replies && bytes[0] == resp::PUSH {
                    return whole(bytes, None);
                }
                self.count += 1;
                whole(bytes, Some(self.count))
            }
            Protocol::Http2 if !self.prefaced => {
                self.prefaced = true;
                whole(bytes, None)
            }
            Protocol::Http2 => {
                let stream = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]) & 0x7fff_ffff;
                let (kind, flags) = (bytes[3], bytes[4]);
                let exchange = u64::from(stream);
                if kind == DATA {
                    return self.piece(bytes, HEAD, exchange, flags & END_STREAM == 0);
                }
                // Headers, and the reset of a stream, answer it as well.
                let answers = stream > 0 && matches!(kind, 1 | 3);
                whole(bytes, answers.then_some(exchange))
            }
        }
    }

    /// A frame whose text, from `from` on, goes on from the frame before it, and perhaps in the next.
    fn piece(&mut self, bytes: Vec<u8>, from: usize, exchange: u64, goes_on: bool) -> Frame {
        let before = self.before.remove(&exchange).unwrap_or_default();
        if goes_on {
            let text = [&before, &bytes[from..]].concat();
            self.before.insert(exchange, text[text.len().saturating_sub(SEAM)..].to_vec());
        }
        Frame { bytes, exchange: Some(exchange), before, from }
    }
}

fn whole(bytes: Vec<u8>, exchange: Option<u64>) -> Frame {
    Frame { bytes, exchange, before: Vec::new(), from: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http2(kind: u8, flags: u8, stream: u8, text: &[u8]) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream], text].concat()
    }

    /// However the stream is torn, the frames are the same.
    fn in_pieces(protocol: Protocol, direction: Direction, stream: &[u8]) -> Vec<Frame> {
        let whole = Framer::new(protocol, direction).push(stream);
        for size in 1..stream.len() {
            let mut framer = Framer::new(protocol, direction);
            let torn: Vec<Frame> = stream.chunks(size).flat_map(|piece| framer.push(piece)).collect();
            let told = |frames: &[Frame]| -> Vec<_> {
                frames.iter().map(|frame| (frame.bytes.clone(), frame.exchange)).collect()
            };
            assert_eq!(told(&torn), told(&whole), "in pieces of {size}");
        }
        whole
    }

    #[test]
    fn the_second_of_two_pipelined_commands_has_the_second_answer() {
        let ask = in_pieces(
            Protocol::Redis,
            Direction::Requests,
            b"*1\r\n$4\r\nPING\r\n*2\r\n$4\r\nECHO\r\n$4\r\nlook\r\n",
        );
        let answer =
            in_pieces(Protocol::Redis, Direction::Replies, b"+PONG\r\n>1\r\n+hint\r\n$4\r\nlook\r\n");
        let asked: Vec<_> = ask.iter().map(|frame| (frame.exchange, frame.holds(b"look"))).collect();
        assert_eq!(asked, [(Some(1), false), (Some(2), true)]);
        let answered: Vec<_> = answer.iter().map(|frame| frame.exchange).collect();
        assert_eq!(answered, [Some(1), None, Some(2)]);
    }

    #[test]
    fn bytes_are_found_across_the_frames_of_one_stream_and_not_of_two() {
        let stream =
            [PREFACE.to_vec(), http2(4, 0, 0, b""), http2(1, 4, 1, b"head"), http2(0, 0, 1, b"a need")];
        let other = [http2(0, 0, 3, b"le"), http2(0, 1, 1, b"le is here")];
        let frames =
            in_pieces(Protocol::Http2, Direction::Requests, &[stream.concat(), other.concat()].concat());
        let found: Vec<_> = frames.iter().map(|frame| (frame.exchange, frame.holds(b"needle"))).collect();
        assert_eq!(
            found,
            [
                (None, false),
                (None, false),
                (Some(1), false),
                (Some(1), false),
                (Some(3), false),
                (Some(1), true)
            ]
        );
    }

    #[test]
    fn bytes_are_found_wherever_a_stream_of_turns_is_torn() {
        let text = b"select; COMMIT";
        for at in 0..=text.len() {
            let mut framer = Framer::new(Protocol::Turns, Direction::Requests);
            let frames: Vec<Frame> =
                [&text[..at], &text[at..]].into_iter().flat_map(|piece| framer.push(piece)).collect();
            let found = frames.iter().filter(|frame| frame.holds(b"COMMIT")).count();
            assert_eq!(found, 1, "torn at {at}");
        }
    }
}
