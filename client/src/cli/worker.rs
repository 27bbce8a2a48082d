//! `marabunta worker`: the daemon, seen from the command line. What it does is in [`crate::worker`].

use std::{io::IsTerminal as _, process::ExitCode};

use tracing_subscriber::EnvFilter;

use super::{caller::ServerArgs, console::say, failure::Failure};
use crate::{
    connect::chain,
    worker::{config::WorkerArgs, subcommand},
};

/// Examples for the help.
pub const EXAMPLES: &str = "\
Examples:
  marabunta worker --name web-1 --label role=web --label dc=eu --slots 4 --allow-exec
  marabunta worker --server https://marabunta.example.net --token-file /etc/marabunta/token \\
      --config /etc/marabunta/worker.toml

SIGTERM or Ctrl-C: it takes nothing new and lets what runs end. Commands that take longer than
--drain-timeout go on without it, as after a crash, and the next worker with this name and spool
adopts them. A second signal kills what runs.
MARABUNTA_LOG sets how much it logs: error, warn, info (default), debug or marabunta::worker=trace.";

/// Runs the daemon until it is told to stop.
pub fn main(server: &ServerArgs, args: WorkerArgs) -> ExitCode {
    let filter = EnvFilter::try_from_env("MARABUNTA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let colours =
        std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ExitCode::from(Failure::Host(error).report(super::exit::FAILED)),
    };
    match runtime.block_on(subcommand::run(args, server.config())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed to {}", chain(&error)));
            error.code()
        }
    }
}
