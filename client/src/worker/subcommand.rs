//! `marabunta worker`: the daemon.

use std::{io, process::ExitCode};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use super::{
    config::{self, ConfigError, WorkerArgs},
    daemon::{RunError, Shutdown},
    health,
    setup::StartError,
};
use crate::connect;

/// Exit code when another worker took over the name: whoever restarts daemons should leave this one alone
/// (systemd: `RestartPreventExitStatus=4`).
pub const SUPERSEDED: u8 = 4;

/// Why the daemon ended other than by being told to.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("listen for signals: {0}")]
    Signal(#[source] io::Error),
    #[error("answer health checks: {0}")]
    Health(#[source] io::Error),
}

impl DaemonError {
    /// The exit code that stands for it.
    pub fn code(&self) -> ExitCode {
        match self {
            Self::Run(RunError::Superseded { .. }) => ExitCode::from(SUPERSEDED),
            _ => ExitCode::FAILURE,
        }
    }
}

/// Runs the daemon until SIGTERM or SIGINT, after which it drains and leaves what takes long to the next; a second signal kills what still runs. `connection` is what the
/// flags say of the server.
pub async fn run(args: WorkerArgs, connection: connect::Config) -> Result<(), DaemonError> {
    let (builder, health) = config::settle(args, connection)?;
    let worker = builder.build()?;
    let signs = worker.signs();
    let (ask, asked) = watch::channel(Shutdown::No);
    let signals = signals(ask);
    let checks = async {
        match health {
            Some(address) => health::serve(address, signs).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        result = Box::pin(worker.run(asked)) => Ok(result?),
        result = signals => Err(DaemonError::Signal(result)),
        Err(error) = checks => Err(DaemonError::Health(error)),
    }
}

/// Passes signals on as what they ask for. Returns only if it cannot.
async fn signals(ask: watch::Sender<Shutdown>) -> io::Error {
    let listen = || Ok((signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?));
    let (mut terminate, mut interrupt) = match listen() {
        Ok(both) => both,
        Err(error) => return error,
    };
    for phase in [Shutdown::Drain, Shutdown::Kill] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        ask.send_replace(phase);
    }
    std::future::pending().await
}
