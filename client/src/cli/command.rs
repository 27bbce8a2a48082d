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
    workers::{self, WorkersCommand},
};

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
    let cli = Cli::parse();
    let ours = if matches!(cli.command, Command::Run(_)) { exit::OURS } else { exit::FAILED };
    ExitCode::from(execute(cli).unwrap_or_else(|failure| failure.report(ours)))
}

fn execute(cli: Cli) -> Result<u8, Failure> {
    match cli.command {
        Command::Completions(args) => completions(args.shell).map(|()| 0),
        Command::Version(args) => version(args.output).map(|()| 0),
        Command::When(args) => when::run(&args).map(|()| 0),
        command => {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::Host)?;
            let result = runtime.block_on(remote(&cli.server, command));
            // A write to a pipe that nobody empties must not keep the process from ending.
            runtime.shutdown_background();
            result
        }
    }
}

async fn remote(server: &ServerArgs, command: Command) -> Result<u8, Failure> {
    let caller = Caller::open(server)?;
    match command {
        Command::Run(args) => run::run(&caller, *args).await,
        Command::Task(command) => task::run(&caller, *command).await,
        Command::Runs(command) => runs::run(&caller, command).await,
        Command::Workers(command) => workers::run(&caller, command).await.map(|()| 0),
        Command::When(_) | Command::Completions(_) | Command::Version(_) => {
            unreachable!("carried out without a server")
        }
    }
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
