//! The tree of commands, and the way from arguments to an exit code.

use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};
use serde::Serialize;

use super::{
    caller::{Caller, ServerArgs},
    exit,
    failure::Failure,
    output::{Format, OutputArgs, print, print_json},
    run::{self, RunArgs},
    runs::{self, RunsCommand},
    task::command::{self as task, TaskCommand},
    when::{self, WhenArgs},
    worker,
    workers::{self, WorkersCommand},
};
use crate::worker::config::WorkerArgs;

/// Runs tasks on any number of hosts: at once, or on a schedule.
#[derive(Parser, Debug)]
#[command(
    name = "marabunta",
    version,
    max_term_width = 100,
    after_help = "\
Examples:
  marabunta run --target web-1 -- uname -a
  marabunta task create nightly --when '0 2 * * *' --target 'any(role=db)' -- /usr/local/bin/backup
  marabunta runs list --state error --since 24h"
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Subcommand, Debug)]
enum Command {
    #[command(flatten)]
    Remote(RemoteCommand),
    /// Take runs from a server and run them on this host
    #[command(after_help = worker::EXAMPLES)]
    Worker(Box<WorkerArgs>),
    /// Show when a schedule fires, without a server
    #[command(after_help = when::EXAMPLES)]
    When(WhenArgs),
    /// Print a completion script for a shell
    #[command(
        after_help = "Examples:\n  marabunta completions bash >~/.local/share/bash-completion/completions/marabunta"
    )]
    Completions(CompletionsArgs),
    /// Print the version
    #[command(after_help = "Examples:\n  marabunta version -o json")]
    Version(VersionArgs),
}

/// Commands that call a server.
#[derive(Subcommand, Debug)]
enum RemoteCommand {
    /// Run something now, show its output and end with its exit code
    #[command(after_help = run::EXAMPLES)]
    Run(Box<RunArgs>),
    /// Define what runs, where and when
    #[command(subcommand)]
    Task(Box<TaskCommand>),
    /// See what became of runs, cancel them, retry them
    #[command(subcommand)]
    Runs(RunsCommand),
    /// See the workers and drain them
    #[command(subcommand)]
    Workers(WorkersCommand),
}

#[derive(Args, Debug)]
struct CompletionsArgs {
    /// The shell
    shell: clap_complete::Shell,
}

#[derive(Args, Debug)]
struct VersionArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// Carries out the command that this process was started with.
pub fn main() -> ExitCode {
    let Cli { command, server } = Cli::parse();
    let (result, ours) = match command {
        Command::Worker(args) => return worker::main(&server, *args),
        Command::Remote(command) => {
            let ours = if matches!(command, RemoteCommand::Run(_)) { exit::OURS } else { exit::FAILED };
            (call(&server, command), ours)
        }
        Command::When(args) => (when::run(&args).map(|()| 0), exit::FAILED),
        Command::Completions(args) => (completions(args.shell).map(|()| 0), exit::FAILED),
        Command::Version(args) => (version(args.output).map(|()| 0), exit::FAILED),
    };
    ExitCode::from(result.unwrap_or_else(|failure| failure.report(ours)))
}

fn call(server: &ServerArgs, command: RemoteCommand) -> Result<u8, Failure> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Host)?;
    let result = runtime.block_on(async {
        let caller = Caller::open(server)?;
        match command {
            RemoteCommand::Run(args) => run::run(&caller, *args).await,
            RemoteCommand::Task(command) => task::run(&caller, *command).await,
            RemoteCommand::Runs(command) => runs::run(&caller, command).await,
            RemoteCommand::Workers(command) => workers::run(&caller, command).await.map(|()| 0),
        }
    });
    // A write to a pipe that nobody empties must not keep the process from ending.
    runtime.shutdown_background();
    result
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "marabunta", &mut script);
    print(&String::from_utf8_lossy(&script))
}

fn version(output: OutputArgs) -> Result<(), Failure> {
    #[derive(Serialize)]
    struct Version {
        version: &'static str,
    }
    let version = env!("CARGO_PKG_VERSION");
    match output.output {
        Format::Text => print(&format!("marabunta {version}\n")),
        Format::Json => print_json(&Version { version }),
    }
}
