//! The person at the terminal: what a task writes reaches standard output and error byte for byte; what marabunta itself has to say goes
//! to standard error, on lines that begin with `marabunta: `.

use std::{
    cell::{Cell, RefCell},
    io::{IsTerminal as _, Write as _},
};

use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use super::{failure::Failure, table::Table, text::safe};

/// Standard output and error of this process, and the line of progress below them.
pub struct Console {
    terminal: bool,
    quiet: bool,
    disconnected: Cell<bool>,
    progress: RefCell<String>,
}

/// Where a task wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sink {
    /// Standard output
    Out,
    /// Standard error
    Err,
}

/// Writes a line to standard error; if nobody takes it, there is nowhere left to complain.
pub fn say(line: &str) {
    writeln!(std::io::stderr().lock(), "marabunta: {}", safe(line)).ok();
}

impl Console {
    /// The console of this process. A quiet one makes no remarks.
    pub fn new(quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { terminal, quiet, disconnected: Cell::new(false), progress: RefCell::default() }
    }

    /// Whether a person sees standard error as it is written.
    pub fn is_terminal(&self) -> bool {
        self.terminal && !self.quiet
    }

    /// Says something that is not the end of the command.
    pub fn remark(&self, text: &str) {
        if !self.quiet {
            self.erase_progress();
            say(text);
            self.draw_progress();
        }
    }

    /// Says something in a table.
    pub fn remark_table(&self, table: &Table) {
        if !self.quiet {
            write!(std::io::stderr().lock(), "{table}").ok();
        }
    }

    /// Says once that the connection is lost, however many streams notice.
    pub fn disconnected(&self, text: &str) {
        if !self.disconnected.replace(true) {
            self.remark(text);
        }
    }

    /// Says that the connection is back, if it was said to be lost.
    pub fn connected(&self) {
        if self.disconnected.replace(false) {
            self.remark("connected again");
        }
    }

    /// Replaces the line of progress, which only a terminal shows; an empty one removes it.
    pub fn progress(&self, text: &str) {
        self.erase_progress();
        *self.progress.borrow_mut() = safe(text);
        self.draw_progress();
    }

    /// Writes bytes as they are and waits until they are taken. A reader of standard error that has gone is not missed.
    pub async fn write(&self, sink: Sink, bytes: &[u8]) -> Result<(), Failure> {
        self.erase_progress();
        match sink {
            Sink::Out => write_all(tokio::io::stdout(), bytes).await.map_err(Failure::from_output)?,
            Sink::Err => write_all(tokio::io::stderr(), bytes).await.unwrap_or_default(),
        }
        self.draw_progress();
        Ok(())
    }

    fn erase_progress(&self) {
        if self.is_terminal() && !self.progress.borrow().is_empty() {
            write!(std::io::stderr().lock(), "\r\x1b[K").ok();
        }
    }

    fn draw_progress(&self) {
        if self.is_terminal() && !self.progress.borrow().is_empty() {
            write!(std::io::stderr().lock(), "{}", self.progress.borrow()).ok();
        }
    }
}

async fn write_all(mut stream: impl AsyncWrite + Unpin, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}
