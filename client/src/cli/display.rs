//! How a run's output is shown while it comes.

use std::mem;

use marabunta_proto::v1::{MessageKind, Output};

use super::{
    console::{Console, Sink},
    failure::Failure,
};

/// A line longer than this is shown in pieces.
const LONGEST_LINE: usize = 64 << 10;

/// What becomes of the bytes of one run.
pub enum Display {
    /// They pass as they are.
    Plain,
    /// Whole lines, each behind the name of its host.
    Prefixed { name: String, out: Vec<u8>, err: Vec<u8> },
    /// They are kept for the JSON document at the end.
    Gathered { out: Vec<u8>, err: Vec<u8> },
}

impl Display {
    /// Lines behind `name`, which is already as wide as its column.
    pub fn prefixed(name: String) -> Self {
        Self::Prefixed { name, out: Vec::new(), err: Vec::new() }
    }

    /// Nothing is shown until the end.
    pub fn gathered() -> Self {
        Self::Gathered { out: Vec::new(), err: Vec::new() }
    }

    /// Shows one message of the run on `target`.
    pub async fn show(&mut self, console: &Console, target: &str, output: &Output) -> Result<(), Failure> {
        let text = || String::from_utf8_lossy(&output.data);
        match output.kind() {
            MessageKind::Stdout => self.bytes(console, Sink::Out, &output.data).await,
            MessageKind::Stderr => self.bytes(console, Sink::Err, &output.data).await,
            MessageKind::Note => {
                console.remark(&format!("{target}: {}", text()));
                Ok(())
            }
            MessageKind::Progress => {
                console.progress(&format!("{target}: {}", percent(&text())));
                Ok(())
            }
            // A kind that this version does not know.
            MessageKind::Unspecified => Ok(()),
        }
    }

    /// Shows the last lines even if they do not end.
    pub async fn finish(&mut self, console: &Console) -> Result<(), Failure> {
        let Self::Prefixed { name, out, err } = self else { return Ok(()) };
        for (sink, rest) in [(Sink::Out, mem::take(out)), (Sink::Err, mem::take(err))] {
            if !rest.is_empty() {
                console.write(sink, &prefixed(name, &rest)).await?;
            }
        }
        Ok(())
    }

    async fn bytes(&mut self, console: &Console, sink: Sink, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Plain => console.write(sink, bytes).await,
            Self::Gathered { out, err } => {
                if sink == Sink::Out { out } else { err }.extend_from_slice(bytes);
                Ok(())
            }
            Self::Prefixed { name, out, err } => {
                let lines = whole_lines(name, if sink == Sink::Out { out } else { err }, bytes);
                if lines.is_empty() { Ok(()) } else { console.write(sink, &lines).await }
            }
        }
    }
}

/// Takes the lines that `bytes` complete out of `rest`, each behind the name.
fn whole_lines(name: &str, rest: &mut Vec<u8>, bytes: &[u8]) -> Vec<u8> {
    let mut lines = Vec::new();
    for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
        rest.extend_from_slice(piece);
        if piece.ends_with(b"\n") || rest.len() >= LONGEST_LINE {
            lines.extend(prefixed(name, rest));
            rest.clear();
        }
    }
    lines
}

fn prefixed(name: &str, line: &[u8]) -> Vec<u8> {
    let end: &[u8] = if line.ends_with(b"\n") { b"" } else { b"\n" };
    [name.as_bytes(), b" | ", line, end].concat()
}

/// `40 copying` as `40% copying`
fn percent(progress: &str) -> String {
    let (number, words) = progress.split_once(' ').unwrap_or((progress, ""));
    format!("{number}% {words}").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stay_whole_however_they_are_cut() {
        let mut rest = Vec::new();
        let mut shown = Vec::new();
        for piece in ["on", "e\ntw", "o\n\nth", "ree"] {
            shown.extend(whole_lines("web-1", &mut rest, piece.as_bytes()));
        }
        shown.extend(prefixed("web-1", &rest));
        let lines = "web-1 | one\nweb-1 | two\nweb-1 | \nweb-1 | three\n";
        assert_eq!(String::from_utf8(shown).unwrap(), lines);
    }

    #[test]
    fn a_line_without_end_is_shown_in_pieces() {
        let mut rest = Vec::new();
        let shown = whole_lines("a", &mut rest, &vec![b'x'; LONGEST_LINE + 1]);
        assert_eq!((shown.len(), rest.len()), ("a | \n".len() + LONGEST_LINE + 1, 0));
    }
}
