//! `fleet`: thousands of workers in one process, against an installation of its own.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use marabunta_tests::fleet::scenario::{
    Churn, Disaster, Herd, Idle, SlowReaders, churn, herd, idle, slow_readers,
};
use marabunta_tests::fleet::{Outcome, Plan, named};
use marabunta_tests::support::Backend;
use serde_json::json;

const EXAMPLES: &str = "\
Examples:
  fleet --workers 10000 --scenario herd
      one server, killed and started again three times
  fleet --workers 10000 --scenario herd --disaster balancers --backend services --servers 3 --balancers 2
      balancers before three servers die and come back
  fleet --workers 10000 --scenario churn --backend services --rate 500
      workers come and go at random while runs flow

Progress goes to standard error, the outcome as JSON to standard output. The exit code is 1 when a verdict falls short.";

/// Plays a fleet of workers, breaks something, and judges what came of it.
#[derive(Debug, Parser)]
#[command(name = "fleet", after_help = EXAMPLES, max_term_width = 120)]
struct Cli {
    /// What happens
    #[arg(long)]
    scenario: Scenario,
    /// How many workers there are, each with a connection of its own
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(20..))]
    workers: u32,
    /// What keeps tasks and queue
    #[arg(long, default_value = "embedded")]
    backend: Kept,
    /// How many servers; embedded has one
    #[arg(long, default_value_t = 1)]
    servers: usize,
    /// How many balancers stand before them; each can hold about 9,000 workers
    #[arg(long, default_value_t = 0)]
    balancers: usize,
    /// TLS on all doors
    #[arg(long)]
    tls: bool,
    /// Runs a second
    #[arg(long, default_value_t = 100)]
    rate: u32,
    /// How long it goes on, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// herd: what dies
    #[arg(long, default_value = "servers")]
    disaster: Dies,
    /// herd: how often
    #[arg(long, default_value_t = 3)]
    herds: usize,
    /// slow-readers: how many stop reading [default: one in a hundred]
    #[arg(long)]
    slow: Option<usize>,
    /// slow-readers: how many runs wait for them
    #[arg(long, default_value_t = 10_000)]
    queued: usize,
    /// churn: how many workers come or go each second
    #[arg(long, default_value_t = 500)]
    changes: u32,
    /// churn: what the choice begins with
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Scenario {
    /// All lose their servers at once and come back
    Herd,
    /// Some stop reading their sockets with much queued for them
    SlowReaders,
    /// They come and go at random while runs flow
    Churn,
    /// They are connected, and do a little
    Idle,
    /// Far too much is queued for one that never comes
    OfflineHost,
    /// Two have one name
    SameName,
    /// Bursts, and queues of those who come later
    LostWakeup,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kept {
    /// SQLite in the one server
    Embedded,
    /// MariaDB and Redis
    Services,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Dies {
    /// All servers, and are started again
    Servers,
    /// All balancers, and are started again
    Balancers,
    /// One server, each time the next; its workers go to the others
    OneServer,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime can be built");
    match runtime.block_on(play(&cli)) {
        Ok(outcome) => {
            let scenario = format!("{:?}", cli.scenario);
            println!(
                "{:#}",
                json!({ "scenario": scenario, "asked": format!("{cli:?}"), "outcome": outcome.json() })
            );
            if outcome.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("fleet: failed to {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn play(cli: &Cli) -> anyhow::Result<Outcome> {
    let backend = match cli.backend {
        Kept::Embedded => Backend::Embedded,
        Kept::Services => Backend::MariaDbRedis,
    };
    let plan =
        Plan { backend, servers: cli.servers, balancers: cli.balancers, tls: cli.tls, arguments: Vec::new() };
    let (members, rate, time) = (cli.workers as usize, cli.rate, Duration::from_secs(cli.seconds));
    match cli.scenario {
        Scenario::Herd => {
            let disaster = match cli.disaster {
                Dies::Servers => Disaster::Servers,
                Dies::Balancers => Disaster::Balancers,
                Dies::OneServer => Disaster::OneServer,
            };
            herd(&Herd { plan, members, disaster, herds: cli.herds, rate }).await
        }
        Scenario::SlowReaders => {
            let slow = cli.slow.unwrap_or(members / 100).max(1);
            slow_readers(&SlowReaders { plan, members, slow, queued: cli.queued, rate, time }).await
        }
        Scenario::Churn => {
            churn(&Churn { plan, members, changes: cli.changes, rate, time, seed: cli.seed }).await
        }
        Scenario::OfflineHost => named::offline_host(backend).await,
        Scenario::SameName => named::same_name(backend).await,
        Scenario::LostWakeup => named::lost_wakeup(backend).await,
        Scenario::Idle => idle(&Idle { plan, members, rate, time }).await,
    }
}
