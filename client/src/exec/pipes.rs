//! The pipes of a running command: both outputs read, its input fed, the output handed on, all at once.

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::output::{Output, PIECE, Piece, Stream};

/// Our ends of the pipes. Each is closed when it is `None`.
#[derive(Debug)]
pub(super) struct Pipes {
    stdin: Option<ChildStdin>,
    input: Bytes,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    stdout_buffer: Box<[u8]>,
    stderr_buffer: Box<[u8]>,
    output: Output,
    receiver: mpsc::Sender<Piece>,
    /// Whether there is a receiver still. If not, the output is read all the same, so that the command can end.
    is_heard: bool,
}

impl Pipes {
    pub fn new(child: &mut Child, input: Bytes, limit: u64, receiver: mpsc::Sender<Piece>) -> Self {
        Self {
            stdin: child.stdin.take(),
            input,
            stdout: child.stdout.take(),
            stderr: child.stderr.take(),
            stdout_buffer: vec![0; PIECE].into(),
            stderr_buffer: vec![0; PIECE].into(),
            output: Output::new(limit),
            receiver,
            is_heard: true,
        }
    }

    /// Serves the pipes until the command, and all that inherited them, have closed them and the head of the output
    /// is handed on. May be dropped and called again at any time: nothing is lost.
    pub async fn serve(&mut self) {
        while self.stdin.is_some() || self.is_open() || (self.output.is_waiting() && self.is_heard) {
            self.step().await;
        }
    }

    /// Reads until the command, and all that inherited its outputs, have closed them.
    pub async fn read_to_end(&mut self) {
        while self.is_open() {
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let now = Instant::now();
        let due = self.output.due(now).filter(|_| self.is_heard);
        tokio::select! {
            count = read(&mut self.stdout, &mut self.stdout_buffer) => match count {
                0 => self.stdout = None,
                _ => self.output.push(Stream::Stdout, &self.stdout_buffer[..count], now),
            },
            count = read(&mut self.stderr, &mut self.stderr_buffer) => match count {
                0 => self.stderr = None,
                _ => self.output.push(Stream::Stderr, &self.stderr_buffer[..count], now),
            },
            written = write(&mut self.stdin, &self.input) => {
                self.input.advance(written);
                if written == 0 || self.input.is_empty() {
                    self.stdin = None;
                }
            }
            permit = permit(&self.receiver, due) => match permit {
                Some(permit) => if let Some(piece) = self.output.next_piece(Instant::now()) {
                    permit.send(piece);
                },
                None => self.is_heard = false,
            },
        }
    }

    /// Nobody reads the input any more.
    pub fn close_input(&mut self) {
        self.stdin = None;
    }

    /// Whether somebody may still write to the pipes.
    pub fn is_open(&self) -> bool {
        self.stdout.is_some() || self.stderr.is_some()
    }

    pub fn total(&self) -> u64 {
        self.output.total()
    }

    pub fn is_truncated(&self) -> bool {
        self.output.is_truncated()
    }

    /// Closes the pipes and hands on the rest; waits for the receiver as long as there is one.
    pub async fn finish(self, notes: Vec<String>) {
        drop((self.stdin, self.stdout, self.stderr));
        for piece in self.output.into_rest().chain(notes.into_iter().map(Piece::Note)) {
            if self.receiver.send(piece).await.is_err() {
                return;
            }
        }
    }
}

/// 0 at the end; an error of a pipe is its end too.
async fn read(pipe: &mut Option<impl AsyncRead + Unpin>, buffer: &mut [u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.read(buffer).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// 0 when the other end is closed (`EPIPE`): a command need not read all of its input.
async fn write(pipe: &mut Option<ChildStdin>, input: &[u8]) -> usize {
    match pipe {
        Some(pipe) => pipe.write(input).await.unwrap_or(0),
        None => std::future::pending().await,
    }
}

/// Room in the channel, once a piece is due; `None` if the receiver is gone.
async fn permit(receiver: &mpsc::Sender<Piece>, due: Option<Instant>) -> Option<mpsc::Permit<'_, Piece>> {
    let Some(due) = due else { return std::future::pending().await };
    sleep_until(due).await;
    receiver.reserve().await.ok()
}
