//! One attempt of a command, as the daemon sees it.

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::command::Command;
use super::containment::Containment;
use super::exit::{Ending, Exit};
use super::handle::{Handle, HandleError};
use super::output::Piece;
use super::start::StartError;
use super::supervisor::frame::{Ask, Word};

/// Runs the command and returns when nothing of it is left and its output is handed over.
///
/// A supervisor carries it out (see the module `supervisor`): one that is idle, or a new one. A full channel delays neither the command
/// nor time-out nor cancellation; only when all has ended `run` waits for the receiver, and no longer than there is one.
///
/// Never panics on what a command does, and returns no error: what went wrong is in [`Exit::ending`]. If the future is
/// dropped, the tree is killed at once, without SIGTERM.
pub async fn run(
    command: Command,
    containment: &Containment,
    output: mpsc::Sender<Piece>,
    cancel: CancellationToken,
) -> Exit {
    if cancel.is_cancelled() {
        return Exit::without_start(Ending::Cancelled);
    }
    if let Err(error) = command.check() {
        return Exit::without_start(StartError::from(error).into());
    }
    let start = Ask::Start(command.into());
    loop {
        let mut supervisor = match containment.supervisor() {
            Ok(supervisor) => supervisor,
            Err(error) => return Exit::without_start(StartError::Host(error).into()),
        };
        match attempt(&mut supervisor, start.clone(), &output, &cancel).await {
            Ok(exit) => {
                // With somebody left behind in its group it cannot serve another.
                if exit.survivors == 0 {
                    containment.release(supervisor);
                }
                return exit;
            }
            Err(HandleError::Retired) => {}
            Err(HandleError::Lost(error)) => {
                tracing::error!(%error, supervisor = supervisor.number(), "a supervisor ended before its attempt");
                containment.clear(supervisor).await;
                return Exit::without_start(Ending::Lost);
            }
        }
    }
}

async fn attempt(
    supervisor: &mut Handle,
    start: Ask,
    output: &mpsc::Sender<Piece>,
    cancel: &CancellationToken,
) -> Result<Exit, HandleError> {
    supervisor.ask(start).await?;
    let mut cancelled = false;
    let mut waiting = None;
    loop {
        // Of the output one piece waits here; the rest waits with the supervisor, which goes on all the same.
        tokio::select! {
            biased;
            () = cancel.cancelled(), if !cancelled => {
                cancelled = true;
                supervisor.ask(Ask::Cancel(true)).await?;
            }
            permit = output.reserve(), if waiting.is_some() => {
                if let (Ok(permit), Some(piece)) = (permit, waiting.take()) {
                    permit.send(piece);
                }
            }
            word = supervisor.hear(), if waiting.is_none() => match word? {
                Word::Stdout(data) => waiting = Some(Piece::Stdout(data)),
                Word::Stderr(data) => waiting = Some(Piece::Stderr(data)),
                Word::Note(text) => waiting = Some(Piece::Note(text)),
                Word::End(end) => return Ok(end.into()),
                Word::Retired(_) => return Err(HandleError::Retired),
            },
        }
    }
}
