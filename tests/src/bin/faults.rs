//! Runs the named faults one by one and prints what was seen. Exits non-zero when one falls short.

use std::any::Any;
use std::io::Write as _;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use clap::{Parser, ValueEnum};
use marabunta_tests::faults::finding::Finding;
use marabunta_tests::faults::named::{self, Named};
use marabunta_tests::faults::previous::Previous;
use marabunta_tests::faults::table::{self, Row};
use marabunta_tests::support::Backend;

/// Breaks real installations in all the ways that have a name.
#[derive(Debug, Parser)]
#[command(name = "faults")]
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

fn main() -> ExitCode {
    let cli = Cli::parse();
    let chosen: Vec<(&Named, Backend)> = named::all()
        .iter()
        .filter(|named| cli.chooses(named))
        .flat_map(|named| named.backends.iter().map(move |backend| (named, *backend)))
        .filter(|(_, backend)| cli.backend.is_none_or(|on| on.backend() == *backend))
        .collect();
    if cli.list {
        for (named, backend) in &chosen {
            println!("{:>7}  {:<34} {}", named.number, named.name, table::label(*backend));
        }
        return ExitCode::SUCCESS;
    }
    if chosen.is_empty() {
        eprintln!("there is no such fault; --list tells what there is");
        return ExitCode::FAILURE;
    }
    if let Some(revision) = &cli.previous {
        Previous::choose(revision.clone());
    }
    let seed = cli.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    println!("{}", table::head());
    let mut rows = Vec::new();
    for (named, backend) in chosen {
        eprint!("{:>7}  {} ({}) ..\r", named.number, named.name, table::label(backend));
        let began = Instant::now();
        let row = Row::new(named, backend, attempt(named, backend, seed), began.elapsed());
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
    fn chooses(&self, named: &Named) -> bool {
        let is =
            |word: &String| named.number == word || word.parse::<u8>().is_err() && named.name.contains(word);
        self.faults.is_empty() || self.faults.iter().any(is)
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

/// In a thread and a runtime of its own: what one leaves behind is gone before the next begins, also when it breaks off.
fn attempt(named: &Named, backend: Backend, seed: u64) -> Result<Finding, String> {
    let run = named.run;
    let body = move || {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime can be built");
        runtime.block_on(run(backend, seed))
    };
    thread::spawn(body).join().map_err(|panic| format!("broke off: {}", words(&*panic)))
}

fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word")
}
