//! The handlers that run commands: a template of the configuration, and the free command `exec`.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::handler::{Completion, Context, Failure, FailureKind, Handler, Handling, Printed, Stream};
use crate::exec::{self, Command, Containment, Ending, Exit, FreeCommand, HandlerConfig, Piece};

/// Pieces of output between a command and the spool. When it is full the command's output waits in the memory that its limit allows.
const PIECES: usize = 16;

/// The handler of a command template.
pub struct Template {
    pub config: HandlerConfig,
    pub containment: Arc<Containment>,
}

impl Handler for Template {
    fn handle(&self, context: Context, payload: Bytes) -> Handling {
        let command = self.config.command(&payload).map_err(Failure::rejected);
        Box::pin(run(command, self.containment.clone(), context))
    }
}

/// The handler `exec`: a command of the caller's choice. Only for workers whose own configuration allows it.
pub struct Free {
    pub containment: Arc<Containment>,
}

impl Handler for Free {
    fn handle(&self, context: Context, payload: Bytes) -> Handling {
        let command = FreeCommand::parse(&payload).map_err(Failure::rejected);
        Box::pin(run(command, self.containment.clone(), context))
    }
}

async fn run(
    command: Result<Command, Failure>,
    containment: Arc<Containment>,
    context: Context,
) -> Result<Completion, Failure> {
    let mut command = command?;
    let attempt = context.attempt.to_string();
    for (name, value) in [("RUN", &*context.run), ("TASK", &*context.task), ("ATTEMPT", &attempt)] {
        command.env.insert(format!("MARABUNTA_{name}"), value.to_owned());
    }
    let (pieces, mut printed) = mpsc::channel(PIECES);
    let forward = async {
        while let Some(piece) = printed.recv().await {
            match piece {
                Piece::Stdout(data) => context.output(Stream::Stdout, data).await,
                Piece::Stderr(data) => context.output(Stream::Stderr, data).await,
                Piece::Note(text) => context.note(&text).await,
            }
        }
    };
    let (exit, ()) = tokio::join!(exec::run(command, &containment, pieces, context.cancellation()), forward);
    end(exit)
}

fn end(exit: Exit) -> Result<Completion, Failure> {
    let code = exit.ending.code();
    let printed = Some(Printed { bytes: exit.output_bytes, truncated: exit.truncated });
    let failure = |kind, error: String| Failure { kind, error, exit_code: Some(code), printed };
    Err(match exit.ending {
        Ending::Exited(0) => {
            return Ok(Completion { result: None, exit_code: Some(0), printed });
        }
        Ending::Exited(code) => failure(FailureKind::Failed, format!("exit code {code}")),
        Ending::Signalled(9) if exit.out_of_memory => {
            failure(FailureKind::Failed, "killed for using more memory than its limit".to_owned())
        }
        Ending::Signalled(signal) => failure(FailureKind::Failed, format!("ended by signal {signal}")),
        Ending::TimedOut => failure(FailureKind::TimedOut, "took longer than its handler allows".to_owned()),
        Ending::Cancelled => failure(FailureKind::Cancelled, String::new()),
        // 125: the host failed, which may pass. All else would fail again.
        Ending::NotStarted { code: 125, error } => failure(FailureKind::Failed, error),
        Ending::NotStarted { error, .. } => failure(FailureKind::Rejected, error),
        Ending::Lost => failure(FailureKind::Lost, "something killed its supervisor".to_owned()),
    })
}
