//! Why a command did not do what it was asked to: one line for the person, one exit code for the program.

use std::{error::Error, io};

use clap::{CommandFactory as _, error::ErrorKind};
use tonic::{Code, Status};

use super::{command::Cli, console::say, exit};
use crate::connect::{ConnectError, chain};

/// Everything that can end a command early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments make no sense together.
    #[error("{0}")]
    Usage(String),
    /// A file that the arguments name cannot be used.
    #[error("read {0}")]
    Input(String),
    /// This host does not give what every process needs.
    #[error("start: {0}")]
    Host(io::Error),
    /// The way to the server is described wrongly.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The server did not do it, or was not there.
    #[error("{doing}: {reason}")]
    Call { doing: String, reason: String },
    /// Standard output takes no more.
    #[error("write to standard output: {0}")]
    Output(io::Error),
    /// Whoever read standard output has gone, which is no reason to complain.
    #[error("write to standard output: nobody reads it any more")]
    BrokenPipe,
    /// A second Ctrl-C, or the first before there was anything to cancel.
    #[error("finish: {0}")]
    Interrupted(String),
}

impl Failure {
    /// A call that failed while `doing` something, such as `submit the run`.
    pub fn call(doing: impl Into<String>, server: &str, status: &Status) -> Self {
        Self::Call { doing: doing.into(), reason: reason(status, server) }
    }

    /// From an error of writing standard output.
    pub fn from_output(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::BrokenPipe } else { Self::Output(error) }
    }

    /// Says it on standard error and gives the exit code; `ours` is the code for what is neither the usage nor the task.
    pub fn report(&self, ours: u8) -> u8 {
        match self {
            Self::Usage(problem) => {
                let error = Cli::command().error(ErrorKind::ValueValidation, problem);
                // Standard error is gone: there is nowhere left to say so.
                error.print().ok();
                exit::USAGE
            }
            Self::BrokenPipe => exit::BROKEN_PIPE,
            Self::Interrupted(words) => {
                say(words);
                exit::CANCELLED
            }
            Self::Input(_) | Self::Host(_) | Self::Connect(_) | Self::Call { .. } | Self::Output(_) => {
                say(&format!("failed to {self}"));
                ours
            }
        }
    }
}

/// What a status means for the person at the terminal, and what to do about it.
pub fn reason(status: &Status, server: &str) -> String {
    if let Some(error) = io_error(status) {
        let hint = "is the server running? start one with `marabunta-server`, or name another by --server or MARABUNTA_SERVER";
        return match error.kind() {
            io::ErrorKind::ConnectionRefused => format!("no server at {server} (connection refused); {hint}"),
            _ => format!("cannot reach {server}: {error}"),
        };
    }
    let message = match (status.message(), status.source()) {
        (message, Some(source)) => {
            let cause = chain(source);
            if message.is_empty() || cause.contains(message) { cause } else { format!("{message}: {cause}") }
        }
        ("", None) => status.code().description().to_lowercase(),
        (message, None) => message.to_owned(),
    };
    match status.code() {
        Code::Unauthenticated => format!("{message}; give a token by --token-file or MARABUNTA_TOKEN"),
        Code::Unimplemented => {
            format!("{server} does not know this call ({message}); is it a marabunta server, and not older?")
        }
        Code::Unavailable | Code::Unknown => format!("{server}: {message}"),
        _ => message,
    }
}

/// Whether the same call may do better later: the server was not there, or broke off, and did not refuse.
pub fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable
        | Code::Unknown
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Aborted => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}

/// Whether the call never left this host, because there was no connection to send it on.
pub fn never_sent(status: &Status) -> bool {
    std::iter::successors(status.source(), |error| (*error).source())
        .any(|error| error.is::<tonic::ConnectError>())
}

fn io_error(status: &Status) -> Option<&io::Error> {
    std::iter::successors(status.source(), |error| (*error).source()).find_map(|error| error.downcast_ref())
}
