//! Runs as they are printed.

use std::fmt;

use marabunta_proto::v1::{Attempt, Durability, Outcome, Priority, Reason, Run, RunState, Transition};
use serde::Serialize;
use serde_json::Value;

use super::{
    policy::PolicyView,
    word::{json, some, word},
};
use crate::cli::{
    moment::{between, rfc3339, short},
    table::{Sheet, Table},
    text::command_line,
};

/// A run in JSON and in detail.
#[derive(Serialize)]
pub struct RunView {
    id: String,
    task_id: Option<String>,
    task_name: Option<String>,
    group: Option<String>,
    target: String,
    worker: Option<String>,
    state: Option<String>,
    reason: Option<String>,
    error: Option<String>,
    exit_code: Option<i32>,
    handler: String,
    payload: Option<Value>,
    result: Option<Value>,
    priority: Option<String>,
    durability: Option<String>,
    policy: PolicyView,
    created: Option<String>,
    due: Option<String>,
    started: Option<String>,
    ended: Option<String>,
    failed: u32,
    lost: u32,
    waiting: Option<String>,
    attempts: Vec<AttemptView>,
    transitions: Vec<TransitionView>,
    #[serde(skip)]
    took: Option<String>,
}

#[derive(Serialize)]
struct AttemptView {
    number: u32,
    worker: Option<String>,
    server: Option<String>,
    started: Option<String>,
    ended: Option<String>,
    outcome: Option<String>,
    exit_code: Option<i32>,
    error: Option<String>,
    output_bytes: u64,
    truncated: bool,
    fence: u64,
    #[serde(skip)]
    took: Option<String>,
}

#[derive(Serialize)]
struct TransitionView {
    time: Option<String>,
    state: Option<String>,
    server: Option<String>,
    worker: Option<String>,
    note: Option<String>,
}

impl From<&Run> for RunView {
    fn from(run: &Run) -> Self {
        Self {
            id: run.id.clone(),
            task_id: some(&run.task_id),
            task_name: some(&run.task_name),
            group: some(&run.group),
            target: run.target.clone(),
            worker: some(&run.worker),
            state: state(run.state),
            reason: reason(run),
            error: some(&run.error),
            exit_code: run.exit_code,
            handler: run.handler.clone(),
            payload: json(&run.payload),
            result: json(&run.result),
            priority: word!(Priority, run.priority, "PRIORITY_"),
            durability: word!(Durability, run.durability, "DURABILITY_"),
            policy: PolicyView::of(run.policy.as_ref()),
            created: rfc3339(run.created.as_ref()),
            due: rfc3339(run.due.as_ref()),
            started: rfc3339(run.started.as_ref()),
            ended: rfc3339(run.ended.as_ref()),
            failed: run.failed,
            lost: run.lost,
            waiting: some(&run.waiting),
            attempts: run.attempts.iter().map(AttemptView::from).collect(),
            transitions: run.transitions.iter().map(TransitionView::from).collect(),
            took: between(run.started.as_ref(), run.ended.as_ref()),
        }
    }
}

impl From<&Attempt> for AttemptView {
    fn from(attempt: &Attempt) -> Self {
        Self {
            number: attempt.number,
            worker: some(&attempt.worker),
            server: some(&attempt.server),
            started: rfc3339(attempt.started.as_ref()),
            ended: rfc3339(attempt.ended.as_ref()),
            outcome: word!(Outcome, attempt.outcome, "OUTCOME_"),
            exit_code: attempt.exit_code,
            error: some(&attempt.error),
            output_bytes: attempt.output_bytes,
            truncated: attempt.truncated,
            fence: attempt.fence,
            took: between(attempt.started.as_ref(), attempt.ended.as_ref()),
        }
    }
}

impl From<&Transition> for TransitionView {
    fn from(transition: &Transition) -> Self {
        Self {
            time: rfc3339(transition.time.as_ref()),
            state: state(transition.state),
            server: some(&transition.server),
            worker: some(&transition.worker),
            note: some(&transition.note),
        }
    }
}

impl fmt::Display for RunView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut sheet = Sheet::default();
        sheet.line("run", &self.id);
        sheet.line("state", outcome(&optional(&self.state), self.reason.as_deref(), self.exit_code));
        sheet.line("error", optional(&self.error));
        sheet.line("waiting", optional(&self.waiting));
        sheet.line("task", optional(&self.task_name));
        sheet.line("group", optional(&self.group));
        sheet.line("target", &self.target);
        sheet.line("worker", optional(&self.worker));
        sheet.line("runs", what(&self.handler, self.payload.as_ref()));
        sheet.line("result", self.result.as_ref().map(ToString::to_string).unwrap_or_default());
        sheet.line("policy", self.policy.words());
        sheet.line("priority", optional(&self.priority));
        sheet.line("durability", optional(&self.durability));
        sheet.line("created", optional(&self.created));
        sheet.line("due", optional(&self.due));
        sheet.line("started", optional(&self.started));
        sheet.line("ended", optional(&self.ended));
        sheet.line("took", optional(&self.took));
        write!(f, "{sheet}")?;
        self.write_attempts(f)?;
        self.write_transitions(f)
    }
}

impl RunView {
    fn write_attempts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.attempts.is_empty() {
            return Ok(());
        }
        let mut table =
            Table::new(["ATTEMPT", "WORKER", "SERVER", "STARTED", "TOOK", "END", "OUTPUT", "ERROR"]);
        for attempt in &self.attempts {
            let text = |value: &Option<String>| value.clone().unwrap_or_default();
            let end = attempt.outcome.clone().unwrap_or_else(|| "running".to_owned());
            let cut = if attempt.truncated { " (middle left out)" } else { "" };
            table.row([
                &attempt.number.to_string(),
                &text(&attempt.worker),
                &text(&attempt.server),
                &text(&attempt.started),
                &text(&attempt.took),
                &outcome(&end, None, attempt.exit_code),
                &format!("{} B{cut}", attempt.output_bytes),
                &text(&attempt.error),
            ]);
        }
        write!(f, "\n{table}")
    }

    fn write_transitions(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.transitions.is_empty() {
            return Ok(());
        }
        let mut table = Table::new(["TIME", "STATE", "SERVER", "WORKER", "NOTE"]);
        for transition in &self.transitions {
            let fields = [
                &transition.time,
                &transition.state,
                &transition.server,
                &transition.worker,
                &transition.note,
            ];
            table.row(fields.map(|field| field.as_deref().unwrap_or_default()));
        }
        write!(f, "\n{table}")
    }
}

/// A page of runs.
#[derive(Serialize)]
pub struct RunList {
    runs: Vec<RunView>,
    /// Whether there are runs after these.
    more: bool,
    #[serde(skip)]
    table: String,
}

impl RunList {
    /// A list of runs in their order.
    pub fn new(runs: &[Run], more: bool) -> Self {
        let mut table = Table::new(["RUN", "STATE", "TARGET", "WORKER", "TASK", "CREATED", "TOOK"]);
        for run in runs {
            let task = if run.task_name.is_empty() { &run.handler } else { &run.task_name };
            table.row([
                &run.id,
                &ended(run),
                &run.target,
                &run.worker,
                task,
                &short(run.created.as_ref()),
                &between(run.started.as_ref(), run.ended.as_ref()).unwrap_or_default(),
            ]);
        }
        Self { runs: runs.iter().map(RunView::from).collect(), more, table: table.to_string() }
    }
}

impl fmt::Display for RunList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table)
    }
}

/// How a run stands, in a few words: `running`, `done`, `error(failed), exit code 3`.
pub fn ended(run: &Run) -> String {
    outcome(&state(run.state).unwrap_or_default(), reason(run).as_deref(), run.exit_code)
}

/// The word for a state's number.
pub fn state(state: i32) -> Option<String> {
    word!(RunState, state, "RUN_STATE_")
}

fn reason(run: &Run) -> Option<String> {
    word!(Reason, run.reason, "REASON_")
}

fn outcome(state: &str, reason: Option<&str>, exit_code: Option<i32>) -> String {
    let state = reason.map_or_else(|| state.to_owned(), |reason| format!("{state}({reason})"));
    match exit_code {
        Some(code) if code != 0 => format!("{state}, exit code {code}"),
        _ => state,
    }
}

/// What a run or task does, in one line: the command itself, or the handler and its payload.
pub fn what(handler: &str, payload: Option<&Value>) -> String {
    let argv = payload.and_then(|payload| payload.get("argv")).and_then(Value::as_array);
    match (handler, argv, payload) {
        ("exec", Some(argv), _) => command_line(argv.iter().filter_map(Value::as_str)),
        (_, _, Some(payload)) => format!("{handler} {payload}"),
        (_, _, None) => handler.to_owned(),
    }
}
