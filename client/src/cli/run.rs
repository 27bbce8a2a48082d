//! `marabunta run`: submits a run, watches it, and ends as it ended.

use std::time::Duration;

use clap::Args;
use marabunta_proto::v1::{Durability, Run, SubmitRequest, SubmitResponse, submit_request};
use serde::Serialize;

use super::{
    caller::Caller,
    console::Console,
    display::Display,
    failure::Failure,
    interrupt::Interrupts,
    job::{PolicyArgs, What, WhatArgs},
    moment::parse_span,
    output::{Format, OutputArgs, print, print_json},
    view::{run::RunView, word::some},
    watch::{self, Manner, Watched},
};

/// Examples for the help.
pub const EXAMPLES: &str = "\
Examples:
  marabunta run --target web-1 -- uname -a
  marabunta run --target 'any(role=web)' --timeout 10s --retries 2 -- ./check --deep
  marabunta run --target 'all(role=web,dc!=eu)' -- uptime
  marabunta run --target db-1 --handler backup --payload '{\"full\":true}'
  marabunta run --target web-1 --stdin - -- tar xz -C /srv <site.tar.gz
  id=$(marabunta run --target web-1 --detach -- ./long); marabunta runs logs -f $id

Exit code: that of the task; 124 timed out, 125 no server, lost or never started,
126 refused by the worker, 127 program not found, 128+n ended by signal n,
130 cancelled. For all(..): 0 if every run ended well, else 1.

Ctrl-C cancels the run and waits for its end; a second one leaves at once.";

/// Arguments of `run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// Where: `web-1`, `any(role=web)` for one that matches and has the handler, `all(role=web)` for each that matches
    #[arg(long, short, value_name = "TARGET")]
    target: String,
    /// Have the run in the database before it counts as accepted
    #[arg(long)]
    durable: bool,
    /// Refuse unless a worker that can take it is connected now
    #[arg(long)]
    online: bool,
    /// A second run with the same key within a day is the first one, not another
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    watch: WatchArgs,
    /// Print the run's id and do not wait
    #[arg(long, short, conflicts_with = "reconnect_timeout")]
    detach: bool,
    #[command(flatten)]
    what: WhatArgs,
    #[command(flatten)]
    policy: PolicyArgs,
}

/// The arguments of every command that watches runs.
#[derive(Args, Clone, Copy, Debug)]
pub struct WatchArgs {
    /// Give up when no server could be reached for this long; never unless set
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    reconnect_timeout: Option<Duration>,
    /// Leave out marabunta's own remarks on standard error
    #[arg(long, short)]
    quiet: bool,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs it. The exit code is the task's.
pub async fn run(caller: &Caller, args: RunArgs) -> Result<u8, Failure> {
    let console = Console::new(args.watch.quiet);
    let request = request(&args)?;
    let mut interrupts = Interrupts::listen()?;
    let submit = async || caller.runs().submit(request.clone()).await;
    let submitted = tokio::select! {
        submitted = caller.until_answered("submit the run", submit) => submitted?,
        () = interrupts.next() => {
            let key = &request.idempotency_key;
            let words = format!("interrupted before the server answered; whether it accepted the run tells --idempotency-key {key}");
            return Err(Failure::Interrupted(words));
        }
    };
    for warning in &submitted.warnings {
        console.remark(warning);
    }
    if args.detach {
        return print_ids(args.watch.output, &submitted).map(|()| 0);
    }
    args.watch.watch(caller, &console, &mut interrupts, &submitted).await
}

impl WatchArgs {
    /// The output format that was asked for.
    pub fn output(self) -> OutputArgs {
        self.output
    }

    /// A console that says as much as was asked for.
    pub fn console(self) -> Console {
        Console::new(self.quiet)
    }

    /// Watches what was submitted to its end and gives the exit code.
    pub async fn watch(
        self,
        caller: &Caller,
        console: &Console,
        interrupts: &mut Interrupts,
        submitted: &SubmitResponse,
    ) -> Result<u8, Failure> {
        let group = !submitted.group.is_empty();
        let format = self.output.output;
        let manner = Manner { format, prefix: group, patience: self.reconnect_timeout };
        let watched = watch::to_the_end(caller, console, interrupts, submitted, &manner).await?;
        if format == Format::Json {
            print_json(&Document::ended(submitted, &watched))?;
        }
        watch::conclude(console, group, watched)
    }
}

/// Prints the ids alone, a line each.
pub fn print_ids(output: OutputArgs, submitted: &SubmitResponse) -> Result<(), Failure> {
    match output.output {
        Format::Text => print(&submitted.runs.iter().map(|run| format!("{}\n", run.id)).collect::<String>()),
        Format::Json => print_json(&Document::accepted(submitted)),
    }
}

fn request(args: &RunArgs) -> Result<SubmitRequest, Failure> {
    let what = match args.what.required()? {
        What::Exec(exec) => submit_request::What::Exec(exec),
        What::Handler(handler) => submit_request::What::Handler(handler),
    };
    Ok(SubmitRequest {
        target: args.target.clone(),
        what: Some(what),
        payload: args.what.payload()?.unwrap_or_default(),
        policy: Some(args.policy.policy()),
        priority: args.policy.priority().into(),
        durability: if args.durable { Durability::Durable } else { Durability::Unspecified }.into(),
        idempotency_key: args.idempotency_key.clone().unwrap_or_else(new_key),
        online: args.online,
    })
}

/// A key that nobody else uses, so that a request may be sent again when its answer was lost.
pub fn new_key() -> String {
    format!("cli-{}", uuid::Uuid::new_v4())
}

/// What `-o json` prints of submitted runs.
#[derive(Serialize)]
struct Document<T> {
    group: Option<String>,
    warnings: Vec<String>,
    /// The idempotency key was known: these are the runs of the first request.
    repeated: bool,
    runs: Vec<T>,
}

#[derive(Serialize)]
struct Accepted {
    id: String,
    target: String,
}

#[derive(Serialize)]
struct Ended {
    #[serde(flatten)]
    run: RunView,
    /// Why the end is not known.
    failure: Option<String>,
    #[serde(flatten)]
    output: Captured,
}

/// What a run wrote in all its attempts: as text if it is UTF-8, else in base64 (RFC 4648); the other field is null.
#[derive(Default, Serialize)]
struct Captured {
    stdout: Option<String>,
    stdout_base64: Option<String>,
    stderr: Option<String>,
    stderr_base64: Option<String>,
}

impl<T> Document<T> {
    fn new(submitted: &SubmitResponse, runs: Vec<T>) -> Self {
        let (group, warnings) = (some(&submitted.group), submitted.warnings.clone());
        Self { group, warnings, repeated: submitted.repeated, runs }
    }
}

impl Document<Accepted> {
    fn accepted(submitted: &SubmitResponse) -> Self {
        let runs =
            submitted.runs.iter().map(|run| Accepted { id: run.id.clone(), target: run.target.clone() });
        Self::new(submitted, runs.collect())
    }
}

impl Document<Ended> {
    fn ended(submitted: &SubmitResponse, watched: &[Watched]) -> Self {
        Self::new(submitted, watched.iter().map(Ended::from).collect())
    }
}

impl From<&Watched> for Ended {
    fn from(watched: &Watched) -> Self {
        let unknown = || Run {
            id: watched.submitted.id.clone(),
            target: watched.submitted.target.clone(),
            ..Run::default()
        };
        let (run, failure) = match &watched.end {
            Some(Ok(run)) => (RunView::from(run), None),
            Some(Err(failure)) => (RunView::from(&unknown()), Some(failure.to_string())),
            None => (RunView::from(&unknown()), None),
        };
        Self { run, failure, output: Captured::of(&watched.display) }
    }
}

impl Captured {
    fn of(display: &Display) -> Self {
        let Display::Gathered { out, err } = display else { return Self::default() };
        let (stdout, stdout_base64) = super::output::text_or_base64(out);
        let (stderr, stderr_base64) = super::output::text_or_base64(err);
        Self { stdout, stdout_base64, stderr, stderr_base64 }
    }
}
