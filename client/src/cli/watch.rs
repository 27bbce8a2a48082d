//! Watching runs until all have ended: their output as it comes, what they wait for, how many are done.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use marabunta_proto::v1::{
    FollowEvent, GetRunRequest, Run, RunState, SubmitResponse, SubmittedRun, Transition, follow_event::Event,
};
use tokio::time::{Instant, timeout_at};

use super::{
    caller::Caller, console::Console, display::Display, exit, failure::Failure, follow::Follower,
    interrupt::Interrupts, output::Format, table::Table, view::run::ended,
};
use crate::cli::moment::between;

/// Runs followed over one connection; servers commonly allow 100 to 200 streams on each.
const STREAMS_PER_CONNECTION: usize = 100;
/// After this time a person is told why the run does not start, and then whenever the reason changes.
const FIRST_LOOK: Duration = Duration::from_secs(2);
const NEXT_LOOK: Duration = Duration::from_secs(3);

/// How to watch.
pub struct Manner {
    /// Show output as it comes, or keep it for the document at the end.
    pub format: Format,
    /// Put each host's name before its lines.
    pub prefix: bool,
    /// Give up when no server could be reached for this long.
    pub patience: Option<Duration>,
}

/// A run being watched, and in the end how it ended.
pub struct Watched {
    /// Its id and target.
    pub submitted: SubmittedRun,
    /// Its output, if it was kept.
    pub display: Display,
    /// How it ended, or why that could not be found out.
    pub end: Option<Result<Run, Failure>>,
    state: RunState,
}

/// Watches runs to their end. The first Ctrl-C cancels them, the second one leaves them; when nobody reads the output any more, they are
/// cancelled too, as a local command would be.
pub async fn to_the_end(
    caller: &Caller,
    console: &Console,
    interrupts: &mut Interrupts,
    submitted: &SubmitResponse,
    manner: &Manner,
) -> Result<Vec<Watched>, Failure> {
    let result = tokio::select! {
        watched = watch(caller, console, &submitted.runs, manner) => watched,
        left = interrupts.cancel_then_detach(caller, console, &submitted.runs) => Err(left),
    };
    if matches!(result, Err(Failure::BrokenPipe)) {
        super::interrupt::cancel(caller, console, &submitted.runs).await;
    }
    result
}

/// Says how the runs ended, as far as their output does not, and gives the exit code for all of them.
pub fn conclude(console: &Console, group: bool, watched: Vec<Watched>) -> Result<u8, Failure> {
    if group {
        console.remark_table(&table(&watched));
        let codes: Vec<u8> = watched.iter().map(Watched::exit_code).collect();
        let any = |wanted: u8| codes.contains(&wanted);
        return Ok(match codes.iter().all(|code| *code == 0) {
            true => 0,
            false if codes.iter().all(|code| [0, exit::CANCELLED].contains(code)) && any(exit::CANCELLED) => {
                exit::CANCELLED
            }
            false => exit::FAILED,
        });
    }
    let mut code = 0;
    for run in watched.into_iter().filter_map(|watched| watched.end) {
        let run = run?;
        code = exit::of(&run);
        if let Some(words) = exit::explain(&run) {
            console.remark(&words);
        }
    }
    Ok(code)
}

async fn watch(
    caller: &Caller,
    console: &Console,
    submitted: &[SubmittedRun],
    manner: &Manner,
) -> Result<Vec<Watched>, Failure> {
    let mut watched = watched(submitted, manner);
    let mut events = events(caller, console, submitted, manner.patience)?;
    let mut look = Look::new(caller, console, submitted);
    loop {
        let (index, event) = match timeout_at(look.at, events.next()).await {
            Ok(None) => break,
            Ok(Some(event)) => event,
            Err(_) => {
                look.say_why_it_waits().await;
                continue;
            }
        };
        let run = &mut watched[index];
        match event {
            Ok(FollowEvent { event: Some(event), .. }) => run.take(console, event).await?,
            Ok(FollowEvent { event: None, .. }) => {}
            Err(failure) => run.end = Some(Err(failure)),
        }
        look.waits = matches!(run.state, RunState::Todo | RunState::Queued);
        console.progress(&progress(&watched));
    }
    console.progress("");
    Ok(watched)
}

fn watched(submitted: &[SubmittedRun], manner: &Manner) -> Vec<Watched> {
    let width = submitted.iter().map(|run| run.target.chars().count()).max().unwrap_or(0);
    let display = |run: &SubmittedRun| match manner {
        Manner { format: Format::Json, .. } => Display::gathered(),
        Manner { prefix: true, .. } => {
            Display::prefixed(format!("{:<width$}", super::text::safe(&run.target)))
        }
        Manner { prefix: false, .. } => Display::Plain,
    };
    let watch = |run: &SubmittedRun| Watched {
        submitted: run.clone(),
        display: display(run),
        end: None,
        state: RunState::Queued,
    };
    submitted.iter().map(watch).collect()
}

/// The events of all runs as they come, each with the index of its run.
fn events<'a>(
    caller: &'a Caller,
    console: &'a Console,
    submitted: &[SubmittedRun],
    patience: Option<Duration>,
) -> Result<impl Stream<Item = (usize, Result<FollowEvent, Failure>)> + Unpin + use<'a>, Failure> {
    let mut all = stream::SelectAll::new();
    for (chunk, runs) in submitted.chunks(STREAMS_PER_CONNECTION).enumerate() {
        let connection = if chunk == 0 { (**caller).clone() } else { caller.another()? };
        for (index, run) in runs.iter().enumerate() {
            let index = chunk * STREAMS_PER_CONNECTION + index;
            let events = Follower::new(caller, &connection, console, &run.id, patience).events();
            all.push(events.map(move |event| (index, event)).boxed_local());
        }
    }
    Ok(all)
}

impl Watched {
    /// The exit code for how it ended.
    pub fn exit_code(&self) -> u8 {
        match &self.end {
            Some(Ok(run)) => exit::of(run),
            Some(Err(_)) | None => exit::OURS,
        }
    }

    async fn take(&mut self, console: &Console, event: Event) -> Result<(), Failure> {
        match event {
            Event::Output(output) => self.display.show(console, &self.submitted.target, &output).await,
            Event::Transition(transition) => {
                self.remark_retry(console, &transition);
                self.state = transition.state();
                Ok(())
            }
            Event::End(run) => {
                self.state = run.state();
                self.end = Some(Ok(run));
                self.display.finish(console).await
            }
        }
    }

    /// A run that goes back from running has a reason that explains the output so far.
    fn remark_retry(&self, console: &Console, transition: &Transition) {
        let back = matches!(transition.state(), RunState::Todo | RunState::Queued);
        if back && self.state == RunState::Running && !transition.note.is_empty() {
            console.remark(&format!("{}: {}", self.submitted.target, transition.note));
        }
    }
}

/// `3/10 done, 1 failed`, for more than one run.
fn progress(watched: &[Watched]) -> String {
    if watched.len() < 2 {
        return String::new();
    }
    let ended = watched.iter().filter(|run| run.end.is_some()).count();
    let failed = watched.iter().filter(|run| run.end.is_some() && run.exit_code() != 0).count();
    let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    format!("{ended}/{} done{failed}", watched.len())
}

/// When and how to look why a single run does not start.
struct Look<'a> {
    caller: &'a Caller,
    console: &'a Console,
    /// The run, if there is but one and somebody to tell.
    run: Option<&'a str>,
    waits: bool,
    at: Instant,
    said: String,
}

impl<'a> Look<'a> {
    fn new(caller: &'a Caller, console: &'a Console, submitted: &'a [SubmittedRun]) -> Self {
        let run = match submitted {
            [run] if console.is_terminal() => Some(run.id.as_str()),
            _ => None,
        };
        Self { caller, console, run, waits: true, at: Instant::now() + FIRST_LOOK, said: String::new() }
    }

    /// An answer that does not come says nothing: the stream notices a lost connection by itself.
    async fn say_why_it_waits(&mut self) {
        self.at = Instant::now() + NEXT_LOOK;
        let Some(id) = self.run.filter(|_| self.waits) else { return };
        let answer = self.caller.runs().get(GetRunRequest { id: id.to_owned() }).await;
        let waiting = answer.map(|run| run.into_inner().waiting).unwrap_or_default();
        if !waiting.is_empty() && waiting != self.said {
            self.console.remark(&format!("waiting: {waiting}"));
            self.said = waiting;
        }
    }
}

fn table(watched: &[Watched]) -> Table {
    let mut table = Table::new(["HOST", "END", "TOOK", "RUN", "ERROR"]);
    for watched in watched {
        let (end, took, error) = match &watched.end {
            Some(Ok(run)) => {
                let took = between(run.started.as_ref(), run.ended.as_ref()).unwrap_or_default();
                (ended(run), took, run.error.clone())
            }
            Some(Err(failure)) => ("unknown".to_owned(), String::new(), failure.to_string()),
            None => ("unknown".to_owned(), String::new(), String::new()),
        };
        table.row([&watched.submitted.target, &end, &took, &watched.submitted.id, &error]);
    }
    table
}
