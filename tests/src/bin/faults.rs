//! Runs the named faults one by one and prints what was seen. Exits non-zero when one falls short.

use std::any::Any;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use marabunta_tests::faults::finding::Finding;
use marabunta_tests::faults::named::{self, Named};
use marabunta_tests::faults::previous::Previous;
use marabunta_tests::faults::table::{self, Row};
use marabunta_tests::support::Backend;

const EXAMPLES: &str = "\
Examples:
  faults --list
      what there is
  faults 14 39 --backend services
      all of number 14 and 39 that need MariaDB and Redis
  faults killed
      whatever has this word in its name
  faults --format markdown > faults.md
      all, and a table for a page at the end

The exit code is 1 when a fault falls short, 2 when no such fault is known.";

/// What is given to one that is past its limit to break off by itself.
const GRACE: Duration = Duration::from_secs(60);

/// Breaks real installations in all the ways that have a name.
#[derive(Debug, Parser)]
#[command(name = "faults", after_help = EXAMPLES, max_term_width = 120)]
struct Cli {
    /// Numbers or words of names; all unless one is given
    faults: Vec<String>,
    /// Only on this backend
    #[arg(long)]
    backend: Option<On>,
    /// The revision that mixed versions are tried with [default: the newest tag `v*`, else before the latest change of the wire]
    #[arg(long, value_name = "REV")]
    previous: Option<String>,
    /// Replays what another time left to chance; chosen unless given
    #[arg(long)]
    seed: Option<u64>,
    /// How many minutes one fault may take before it is broken off
    #[arg(long, value_name = "MINUTES", default_value_t = 8.0)]
    limit: f64,
    /// Only say what there is
    #[arg(long)]
    list: bool,
    /// How the table is printed at the end
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum On {
    Embedded,
    Services,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Markdown,
}

/// A fault and where it is tried.
type Chosen = (&'static Named, Backend);

fn main() -> ExitCode {
    let cli = Cli::parse();
    let chosen = match cli.chosen() {
        Ok(chosen) => chosen,
        Err(error) => {
            eprintln!("faults: {error}; there are:\n{}", list(&everywhere(named::all().iter())));
            return ExitCode::from(2);
        }
    };
    if cli.list {
        println!("{}", list(&chosen));
        return ExitCode::SUCCESS;
    }
    if let Some(revision) = &cli.previous {
        Previous::choose(revision.clone());
    }
    let seed = cli.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    if chosen.iter().any(|(named, _)| named.number.starts_with("39")) {
        // What they compare with may take longer to build than a fault may take.
        Previous::build();
    }
    let limit = Duration::from_secs_f64(cli.limit * 60.0);
    println!("{}", table::head());
    let mut rows = Vec::new();
    for (named, backend) in chosen {
        eprint!("{:>7}  {} ({}) ..\r", named.number, named.name, table::label(backend));
        let began = Instant::now();
        let row = Row::new(named, backend, attempt(named, backend, seed, limit), began.elapsed());
        println!("{}", row.line());
        std::io::stdout().flush().expect("somebody reads the table");
        rows.push(row);
    }
    match cli.format {
        Format::Text => {}
        Format::Json => println!("{}", serde_json::to_string_pretty(&rows).expect("rows are JSON")),
        Format::Markdown => print!("{}", table::markdown(&rows)),
    }
    let failed = rows.iter().filter(|row| !row.passes).count();
    println!("{} of {} hold", rows.len() - failed, rows.len());
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Cli {
    fn chosen(&self) -> Result<Vec<Chosen>, String> {
        let faults = named::choose(named::all(), &self.faults).map_err(|unknown| unknown.to_string())?;
        let mut chosen = everywhere(faults.into_iter());
        chosen.retain(|(_, backend)| self.backend.is_none_or(|on| on.backend() == *backend));
        if chosen.is_empty() { Err("none of these exists on that backend".to_owned()) } else { Ok(chosen) }
    }
}

impl On {
    fn backend(self) -> Backend {
        match self {
            Self::Embedded => Backend::Embedded,
            Self::Services => Backend::MariaDbRedis,
        }
    }
}

fn everywhere(faults: impl Iterator<Item = &'static Named>) -> Vec<Chosen> {
    faults.flat_map(|named| named.backends.iter().map(move |backend| (named, *backend))).collect()
}

/// A line for each fault, with the backends where it exists.
fn list(chosen: &[Chosen]) -> String {
    let lines = chosen.chunk_by(|(one, _), (other, _)| one.number == other.number).map(|same| {
        let (named, _) = same[0];
        let backends: Vec<&str> = same.iter().map(|(_, backend)| table::label(*backend)).collect();
        format!("{:>7}  {:<44} {}", named.number, named.name, backends.join(", "))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// In a thread and a runtime of its own: what one leaves behind is gone before the next begins, also when it breaks off. One that does not even end when it is
/// broken off is left behind.
fn attempt(named: &Named, backend: Backend, seed: u64, limit: Duration) -> Result<Finding, String> {
    let run = named.run;
    // Room for the one word that is said.
    let (say, said) = sync_channel(1);
    let body = move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
        let trial = async { tokio::time::timeout(limit, run(backend, seed)).await };
        let finding = runtime.block_on(trial);
        drop(runtime);
        // Nobody hears it if it comes too late.
        say.send(finding).ok();
    };
    let thread = thread::spawn(body);
    match said.recv_timeout(limit + GRACE) {
        Ok(Ok(finding)) => Ok(finding),
        Ok(Err(_elapsed)) => Err(format!("broke off: not over after {limit:?}")),
        Err(RecvTimeoutError::Disconnected) => {
            let panic = thread.join().expect_err("it says what it found unless it panics");
            Err(format!("broke off: {}", words(&*panic)))
        }
        Err(RecvTimeoutError::Timeout) => {
            Err(format!("hangs, and was left behind after {:?}", limit + GRACE))
        }
    }
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}
