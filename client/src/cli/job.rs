//! The arguments that describe work: what to run and under which policy. `run` and `task` share them.

use std::{
    fs::File,
    io::{self, Read as _},
    time::Duration,
};

use clap::{Args, ValueEnum};
use marabunta_proto::v1::{self, Exec, Policy};

use super::{
    failure::Failure,
    moment::{self, Limit, parse_span},
};

/// The largest standard input and payload that the API takes.
const LARGEST: u64 = 1 << 20;

/// What to run: a command after `--`, or a handler.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "What to run")]
pub struct WhatArgs {
    /// Program and arguments, given to the worker as they are and never to a shell
    #[arg(last = true, value_name = "PROGRAM ARGS", conflicts_with = "handler")]
    argv: Vec<String>,
    /// Run the handler of this name instead of a command
    #[arg(long, value_name = "NAME")]
    handler: Option<String>,
    /// JSON for the handler: the text itself, `@file`, or `-` for standard input
    #[arg(long, value_name = "JSON|@FILE|-", conflicts_with = "argv", allow_hyphen_values = true)]
    payload: Option<String>,
    /// Set a variable in the command's environment; may be repeated
    #[arg(long, value_name = "NAME=VALUE", requires = "argv", conflicts_with = "handler", value_parser = parse_variable)]
    env: Vec<(String, String)>,
    /// Run the command in this directory of the worker's host
    #[arg(long, value_name = "DIR", requires = "argv", conflicts_with = "handler")]
    cwd: Option<String>,
    /// Give the command this file as its standard input; `-` is that of marabunta
    #[arg(long, value_name = "FILE|-", requires = "argv", conflicts_with = "handler")]
    stdin: Option<String>,
}

/// A command or a handler.
pub enum What {
    /// A free command.
    Exec(Exec),
    /// A handler's name.
    Handler(String),
}

impl WhatArgs {
    /// What the arguments say to run; `None` when they say nothing of it.
    pub fn what(&self) -> Result<Option<What>, Failure> {
        if let Some(handler) = &self.handler {
            return Ok(Some(What::Handler(handler.clone())));
        }
        if self.argv.is_empty() {
            return Ok(None);
        }
        let stdin =
            self.stdin.as_deref().map(|source| read("--stdin", source.strip_prefix('@').unwrap_or(source)));
        Ok(Some(What::Exec(Exec {
            argv: self.argv.clone(),
            env: self.env.iter().cloned().collect(),
            cwd: self.cwd.clone().unwrap_or_default(),
            stdin: stdin.transpose()?.unwrap_or_default().into(),
        })))
    }

    /// As `what`, where there must be something to run.
    pub fn required(&self) -> Result<What, Failure> {
        self.what()?.ok_or_else(|| {
            Failure::Usage("nothing to run: give a command after `--`, or --handler NAME".to_owned())
        })
    }

    /// The payload, which is known to be JSON.
    pub fn payload(&self) -> Result<Option<String>, Failure> {
        let Some(text) = &self.payload else { return Ok(None) };
        let bytes = match text.strip_prefix('@') {
            Some(path) => read("--payload", path)?,
            None if text == "-" => read("--payload", "-")?,
            None => text.clone().into_bytes(),
        };
        let json =
            String::from_utf8(bytes).map_err(|_| Failure::Usage("--payload is not UTF-8".to_owned()))?;
        if let Err(error) = serde_json::from_str::<&serde_json::value::RawValue>(&json) {
            return Err(Failure::Usage(format!("--payload is not JSON: {error}")));
        }
        Ok(Some(json))
    }
}

/// What becomes of a run that fails, hangs or loses its worker.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Policy")]
pub struct PolicyArgs {
    /// Kill an attempt with all its processes after this time; `none` for no limit
    #[arg(long, value_name = "TIME")]
    timeout: Option<Limit>,
    /// Try a failed attempt again up to so many times [default: 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=1000))]
    retries: Option<u32>,
    /// Wait so long before the first retry, twice as long before each next one [default: 1s]
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    backoff: Option<Duration>,
    /// Survive the loss of so many workers; with 0 it is started at most once [default: 3]
    #[arg(long, value_name = "N")]
    max_lost: Option<u32>,
    /// Give up unless it starts within this time; `none` for no limit
    #[arg(long, value_name = "TIME")]
    expires: Option<Limit>,
    /// Before what waits for the same worker, or after
    #[arg(long, value_enum)]
    priority: Option<Priority>,
}

/// See `Priority` of the API.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Priority {
    Low,
    Normal,
    High,
    Urgent,
}

impl PolicyArgs {
    /// The policy for the wire.
    pub fn policy(&self) -> Policy {
        Policy {
            retries: self.retries.unwrap_or_default(),
            backoff: self.backoff.map(moment::to_wire),
            max_lost: self.max_lost,
            timeout: self.timeout.and_then(Limit::to_wire),
            expires: self.expires.and_then(Limit::to_wire),
        }
    }

    /// The priority for the wire.
    pub fn priority(&self) -> v1::Priority {
        match self.priority {
            None => v1::Priority::Unspecified,
            Some(Priority::Low) => v1::Priority::Low,
            Some(Priority::Normal) => v1::Priority::Normal,
            Some(Priority::High) => v1::Priority::High,
            Some(Priority::Urgent) => v1::Priority::Urgent,
        }
    }

    /// The fields that were given, by the names that an update knows.
    pub fn given(&self) -> Vec<&'static str> {
        let fields = [
            ("policy.timeout", self.timeout.is_some()),
            ("policy.retries", self.retries.is_some()),
            ("policy.backoff", self.backoff.is_some()),
            ("policy.max_lost", self.max_lost.is_some()),
            ("policy.expires", self.expires.is_some()),
            ("priority", self.priority.is_some()),
        ];
        fields.into_iter().filter_map(|(name, given)| given.then_some(name)).collect()
    }
}

fn parse_variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it like NAME=VALUE".to_owned()),
    }
}

/// A file, or standard input for `-`, up to what the API takes.
fn read(option: &str, source: &str) -> Result<Vec<u8>, Failure> {
    let failed = |error: io::Error| Failure::Input(format!("{option} {source}: {error}"));
    let reader: Box<dyn io::Read> =
        if source == "-" { Box::new(io::stdin()) } else { Box::new(File::open(source).map_err(failed)?) };
    let mut bytes = Vec::new();
    reader.take(LARGEST + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > LARGEST {
        return Err(Failure::Input(format!(
            "{option} {source}: it is larger than 1 MiB, the most that is taken"
        )));
    }
    Ok(bytes)
}
