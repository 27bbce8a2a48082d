//! What a reading command prints: a table for people, or one JSON document for programs.

use std::{fmt::Display, io::Write as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;

use super::failure::Failure;

/// The choice that every reading command offers.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct OutputArgs {
    /// Print text for people, or one JSON document whose fields stay
    #[arg(short, long, value_enum, default_value_t = Format::Text, value_name = "FORMAT")]
    pub output: Format,
}

/// Text for people or JSON for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    // Tables and lines, which may change from version to version. (A doc comment here would double the length of each help.)
    Text,
    // One JSON document, whose fields stay.
    Json,
}

impl OutputArgs {
    /// Prints `view` as JSON or as its text.
    pub fn print(self, view: &(impl Serialize + Display)) -> Result<(), Failure> {
        match self.output {
            Format::Text => print(&view.to_string()),
            Format::Json => print_json(view),
        }
    }
}

/// Prints one JSON document.
pub fn print_json(view: &impl Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(view).expect("a view has string keys and serialises infallibly");
    print(&(json + "\n"))
}

/// Prints text as it is.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(Failure::from_output)
}

/// Bytes as text if they are UTF-8, else in base64; the other one is `None`.
pub fn text_or_base64(bytes: &[u8]) -> (Option<String>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(BASE64_STANDARD.encode(bytes))),
    }
}
