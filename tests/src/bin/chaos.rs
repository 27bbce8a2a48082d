//! Breaks an installation at random for as long as wanted, and says what came of it. The seed replays the faults.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use marabunta_tests::faults::chaos::Chaos;
use marabunta_tests::support::Backend;

/// Load, and a nemesis.
#[derive(Debug, Parser)]
#[command(name = "chaos")]
struct Cli {
    /// Replays the faults of another time; chosen unless given
    #[arg(long)]
    seed: Option<u64>,
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    #[arg(long, default_value_t = 3)]
    servers: usize,
    #[arg(long, default_value_t = 50)]
    workers: usize,
    /// Workers with a cable that is pulled and loses packets; needs root, on Linux
    #[arg(long, default_value_t = 2)]
    cables: usize,
    /// Runs asked for in a second
    #[arg(long, default_value_t = 600.0)]
    rate: f64,
    /// Faults in a minute
    #[arg(long, default_value_t = 12.0)]
    faults: f64,
    /// On one server with its own store, instead of MariaDB and Redis
    #[arg(long)]
    embedded: bool,
    /// Keeps what the servers logged and all violations in this directory
    #[arg(long)]
    keep: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let cli = Cli::parse();
    let seed = cli.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let chaos = Chaos {
        backend: if cli.embedded { Backend::Embedded } else { Backend::MariaDbRedis },
        seed,
        span: Duration::from_secs_f64(cli.minutes * 60.0),
        servers: cli.servers,
        workers: cli.workers,
        cables: cli.cables.min(cli.workers),
        rate: cli.rate,
        faults: cli.faults,
    };
    let outcome = chaos.run(|strike| println!("{strike}")).await;
    let (strikes, quiet) = (outcome.strikes, outcome.evidence.quiet.waited);
    let stories = outcome.stories();
    if let Some(directory) = &cli.keep
        && let Err(error) = outcome.keep(directory)
    {
        eprintln!("failed to keep what was seen in {}: {error}", directory.display());
    }
    let finding = outcome.finding();
    for complaint in finding.complaints() {
        println!("{complaint}");
    }
    stories.iter().for_each(|story| print!("{story}"));
    let verdict = &finding.verdict;
    println!(
        "seed {seed}: {strikes} faults; {} runs accepted, {} refused, {} unknown, {} firings; {} executions, {} of them again; \
         {} fast runs forgotten and told; quiet after {quiet:.1?}",
        verdict.accepted,
        verdict.refused,
        verdict.unknown,
        verdict.firings,
        verdict.executions,
        verdict.again,
        verdict.forgotten
    );
    for seen in &finding.seen {
        println!("{seen}");
    }
    if let Some(took) = finding.recovery.as_ref().and_then(|bar| bar.took) {
        println!("the first new run was done {took:.1?} after the last fault was healed");
    }
    println!(
        "lost {}, doubled {}, violations {}",
        verdict.lost(),
        verdict.doubled(),
        verdict.violations.len()
    );
    if finding.passes() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
