//! `marabunta runs`: what became of runs.

use clap::{Args, Subcommand, ValueEnum};
use futures_util::StreamExt as _;
use marabunta_proto::v1::{
    CancelRunRequest, GetRunRequest, ListRunsRequest, MessageKind, Output, RetryRunRequest, Run, RunState,
    follow_event::Event,
};
use prost_types::Timestamp;
use serde::Serialize;

use super::{
    caller::Caller,
    console::Console,
    display::Display,
    failure::Failure,
    follow::Follower,
    interrupt::Interrupts,
    moment::{parse_moment, rfc3339},
    output::{self, Format, OutputArgs, print, print_json},
    page::{self, PageArgs},
    run::{WatchArgs, print_ids},
    view::{
        run::{RunList, RunView, ended},
        word::word,
    },
};

/// Subcommands of `runs`.
#[derive(Subcommand, Debug)]
pub enum RunsCommand {
    /// List runs, newest first
    #[command(after_help = "\
Examples:
  marabunta runs list --state error --since 24h
  marabunta runs list --task nightly --all -o json | jq -r '.runs[].id'")]
    List(ListArgs),
    /// Show a run with its attempts and every change of its state
    #[command(after_help = "Examples:\n  marabunta runs show 01990f3e-7c2a-8000-8000-000000000001")]
    Show(ShowArgs),
    /// Write a run's output: standard output and error apart, byte for byte
    #[command(after_help = "\
Examples:
  marabunta runs logs $id >out.txt 2>err.txt
  marabunta runs logs -f $id")]
    Logs(LogsArgs),
    /// Cancel runs, wherever they are
    #[command(after_help = "Examples:\n  marabunta runs cancel $id")]
    Cancel(CancelArgs),
    /// Submit an ended run once more, as a new run
    #[command(after_help = "\
Examples:
  marabunta runs retry $id
  marabunta runs retry --follow $id")]
    Retry(RetryArgs),
}

/// Arguments of `runs list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only in these states; may be repeated or separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STATE")]
    state: Vec<State>,
    /// Only of this task, by name or id
    #[arg(long, value_name = "TASK")]
    task: Option<String>,
    /// Only on this target
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Only those whose latest attempt was on this worker
    #[arg(long, value_name = "NAME")]
    worker: Option<String>,
    /// Only of this group: the runs of one `all(..)`
    #[arg(long, value_name = "ID")]
    group: Option<String>,
    /// Only those created at or after this time: RFC 3339, or `2h` for two hours ago
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    since: Option<Timestamp>,
    /// Only those created before this time
    #[arg(long, value_name = "TIME", value_parser = parse_moment)]
    until: Option<Timestamp>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// See `RunState` of the API.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum State {
    Todo,
    Queued,
    Running,
    Done,
    Error,
    Cancelled,
    Expired,
    Skipped,
}

/// Arguments of `runs show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The run's id
    #[arg(value_name = "RUN")]
    id: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `runs logs`.
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// The run's id
    #[arg(value_name = "RUN")]
    id: String,
    /// Go on until the run has ended
    #[arg(long, short)]
    follow: bool,
    /// Only the output of this attempt, counted from 1
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `runs cancel`.
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// Ids of runs
    #[arg(value_name = "RUN", required = true)]
    ids: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `runs retry`.
#[derive(Args, Debug)]
pub struct RetryArgs {
    /// The run's id
    #[arg(value_name = "RUN")]
    id: String,
    /// Watch the new run and end as it ends
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    watch: WatchArgs,
}

/// Carries the subcommand out.
pub async fn run(caller: &Caller, command: RunsCommand) -> Result<u8, Failure> {
    match command {
        RunsCommand::List(args) => list(caller, args).await.map(|()| 0),
        RunsCommand::Show(args) => {
            args.output.print(&RunView::from(&get(caller, &args.id).await?)).map(|()| 0)
        }
        RunsCommand::Logs(args) => logs(caller, args).await.map(|()| 0),
        RunsCommand::Cancel(args) => cancel(caller, args).await.map(|()| 0),
        RunsCommand::Retry(args) => retry(caller, args).await,
    }
}

async fn list(caller: &Caller, args: ListArgs) -> Result<(), Failure> {
    let request = ListRunsRequest {
        states: args.state.iter().map(|state| RunState::from(*state).into()).collect(),
        task: args.task.unwrap_or_default(),
        target: args.target.unwrap_or_default(),
        worker: args.worker.unwrap_or_default(),
        group: args.group.unwrap_or_default(),
        since: args.since,
        until: args.until,
        ..ListRunsRequest::default()
    };
    let (runs, more) = page::collect(args.page, async |page_size, page| {
        let request = ListRunsRequest { page_size, page, ..request.clone() };
        let answer =
            caller.runs().list(request).await.map_err(|status| caller.failed("list runs", &status))?;
        let answer = answer.into_inner();
        Ok((answer.runs, answer.next_page))
    })
    .await?;
    args.output.print(&RunList::new(&runs, more))?;
    page::say_more(args.output, more);
    Ok(())
}

async fn get(caller: &Caller, id: &str) -> Result<Run, Failure> {
    let answer = caller.runs().get(GetRunRequest { id: id.to_owned() }).await;
    Ok(answer.map_err(|status| caller.failed(format!("get run {id}"), &status))?.into_inner())
}

async fn logs(caller: &Caller, args: LogsArgs) -> Result<(), Failure> {
    if args.follow && args.output.output == Format::Json {
        return Err(Failure::Usage(
            "-f writes output as it comes, -o json one document at the end: use one of them".into(),
        ));
    }
    // Says at once what a patient follower would wait out: no such run, no server.
    let target = get(caller, &args.id).await?.target;
    let console = Console::new(false);
    let follower = Follower::new(caller, caller, &console, &args.id, None);
    let events = if args.follow { follower } else { follower.without_waiting() }.events();
    let mut events = std::pin::pin!(events);
    let mut messages = Vec::new();
    while let Some(event) = events.next().await {
        let Some(Event::Output(output)) = event?.event else { continue };
        if args.attempt.is_some_and(|attempt| attempt != output.attempt) {
            continue;
        }
        match args.output.output {
            Format::Text => Display::Plain.show(&console, &target, &output).await?,
            Format::Json => messages.push(MessageView::from(&output)),
        }
    }
    match args.output.output {
        Format::Text => Ok(()),
        Format::Json => print_json(&Messages { run: args.id, messages }),
    }
}

async fn cancel(caller: &Caller, args: CancelArgs) -> Result<(), Failure> {
    let mut runs = Vec::new();
    for id in args.ids {
        let answer = caller.runs().cancel(CancelRunRequest { id: id.clone() }).await;
        let run = answer.map_err(|status| caller.failed(format!("cancel run {id}"), &status))?.into_inner();
        if args.output.output == Format::Text {
            print(&format!("{id} {}\n", super::text::safe(&cancelled(&run))))?;
        }
        runs.push(run);
    }
    match args.output.output {
        Format::Text => Ok(()),
        Format::Json => print_json(&RunList::new(&runs, false)),
    }
}

/// What became of a cancellation: a run that is running ends when its worker has killed it.
fn cancelled(run: &Run) -> String {
    match run.state() {
        RunState::Running => format!("running, being cancelled on {}", run.worker),
        _ => ended(run),
    }
}

async fn retry(caller: &Caller, args: RetryArgs) -> Result<u8, Failure> {
    let mut interrupts = args.follow.then(Interrupts::listen).transpose()?;
    let answer = caller.runs().retry(RetryRunRequest { id: args.id.clone() }).await;
    let submitted =
        answer.map_err(|status| caller.failed(format!("retry run {}", args.id), &status))?.into_inner();
    match &mut interrupts {
        Some(interrupts) => args.watch.watch(caller, &args.watch.console(), interrupts, &submitted).await,
        None => print_ids(args.watch.output(), &submitted).map(|()| 0),
    }
}

impl From<State> for RunState {
    fn from(state: State) -> Self {
        match state {
            State::Todo => Self::Todo,
            State::Queued => Self::Queued,
            State::Running => Self::Running,
            State::Done => Self::Done,
            State::Error => Self::Error,
            State::Cancelled => Self::Cancelled,
            State::Expired => Self::Expired,
            State::Skipped => Self::Skipped,
        }
    }
}

#[derive(Serialize)]
struct Messages {
    run: String,
    messages: Vec<MessageView>,
}

/// A message in JSON: `text` if it is UTF-8, else `base64`.
#[derive(Serialize)]
struct MessageView {
    /// Null while the history does not tell yet.
    attempt: Option<u32>,
    kind: Option<String>,
    time: Option<String>,
    text: Option<String>,
    base64: Option<String>,
}

impl From<&Output> for MessageView {
    fn from(output: &Output) -> Self {
        let (text, base64) = output::text_or_base64(&output.data);
        let kind = word!(MessageKind, output.kind, "MESSAGE_KIND_");
        let attempt = (output.attempt > 0).then_some(output.attempt);
        Self { attempt, kind, time: rfc3339(output.time.as_ref()), text, base64 }
    }
}
