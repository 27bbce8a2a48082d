//! Tasks as they are printed.

use std::{collections::BTreeMap, fmt};

use marabunta_proto::v1::{CatchUp, Exec, Overlap, Priority, Task, TaskSpec, task_spec::What};
use serde::Serialize;
use serde_json::Value;

use super::{
    policy::PolicyView,
    run::{state, what},
    word::{json, some, word},
};
use crate::cli::{
    moment::{rfc3339, short, wire_span},
    table::{Sheet, Table},
    text::command_line,
};

/// A task in JSON and in detail.
#[derive(Serialize)]
pub struct TaskView {
    id: String,
    name: String,
    description: String,
    target: String,
    when: String,
    timezone: String,
    exec: Option<ExecView>,
    handler: Option<String>,
    payload: Option<Value>,
    policy: PolicyView,
    priority: Option<String>,
    catch_up: Option<String>,
    catch_up_max: u32,
    overlap: Option<String>,
    splay: Option<String>,
    start_deadline: Option<String>,
    paused: bool,
    created: Option<String>,
    modified: Option<String>,
    problem: Option<String>,
    next: Vec<String>,
    last_run: Option<String>,
    last_state: Option<String>,
    last_started: Option<String>,
}

#[derive(Serialize)]
struct ExecView {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    cwd: Option<String>,
    stdin_bytes: usize,
}

impl From<&Exec> for ExecView {
    fn from(exec: &Exec) -> Self {
        let env = exec.env.clone().into_iter().collect();
        Self { argv: exec.argv.clone(), env, cwd: some(&exec.cwd), stdin_bytes: exec.stdin.len() }
    }
}

impl From<&Task> for TaskView {
    fn from(task: &Task) -> Self {
        let spec = task.spec.clone().unwrap_or_default();
        let (exec, handler) = match &spec.what {
            Some(What::Exec(exec)) => (Some(ExecView::from(exec)), None),
            Some(What::Handler(handler)) => (None, Some(handler.clone())),
            None => (None, None),
        };
        Self {
            id: task.id.clone(),
            payload: json(&spec.payload),
            policy: PolicyView::of(spec.policy.as_ref()),
            priority: word!(Priority, spec.priority, "PRIORITY_"),
            catch_up: word!(CatchUp, spec.catch_up, "CATCH_UP_"),
            catch_up_max: spec.catch_up_max,
            overlap: word!(Overlap, spec.overlap, "OVERLAP_"),
            splay: wire_span(spec.splay.as_ref()),
            start_deadline: wire_span(spec.start_deadline.as_ref()),
            name: spec.name,
            description: spec.description,
            target: spec.target,
            when: spec.when,
            timezone: if spec.timezone.is_empty() { "UTC".to_owned() } else { spec.timezone },
            exec,
            handler,
            paused: task.paused,
            created: rfc3339(task.created.as_ref()),
            modified: rfc3339(task.modified.as_ref()),
            problem: some(&task.problem),
            next: task.next.iter().map(ToString::to_string).collect(),
            last_run: some(&task.last_run),
            last_state: state(task.last_state),
            last_started: rfc3339(task.last_started.as_ref()),
        }
    }
}

impl fmt::Display for TaskView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let optional = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut sheet = Sheet::default();
        sheet.line("task", &self.name);
        sheet.line("id", &self.id);
        sheet.line("description", &self.description);
        sheet.line("problem", optional(&self.problem));
        sheet.line("paused", if self.paused { "yes" } else { "" });
        sheet.line("target", &self.target);
        sheet.line("when", &self.when);
        sheet.line("timezone", &self.timezone);
        sheet.line("runs", self.what());
        if let Some(exec) = &self.exec {
            let variables: Vec<String> =
                exec.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
            sheet.line("environment", command_line(variables.iter().map(String::as_str)));
            sheet.line("directory", optional(&exec.cwd));
        }
        sheet.line("policy", self.policy.words());
        sheet.line("priority", optional(&self.priority));
        sheet.line("catch-up", optional(&self.catch_up));
        sheet.line("overlap", optional(&self.overlap));
        sheet.line("splay", optional(&self.splay));
        sheet.line("start deadline", optional(&self.start_deadline));
        sheet.line("created", optional(&self.created));
        sheet.line("modified", optional(&self.modified));
        sheet.line("last run", optional(&self.last_run));
        sheet.line("last state", optional(&self.last_state));
        sheet.line("last started", optional(&self.last_started));
        for next in &self.next {
            sheet.line("next", next);
        }
        write!(f, "{sheet}")
    }
}

impl TaskView {
    fn what(&self) -> String {
        match (&self.exec, &self.handler) {
            (Some(exec), _) => command_line(exec.argv.iter().map(String::as_str)),
            (None, Some(handler)) => what(handler, self.payload.as_ref()),
            (None, None) => String::new(),
        }
    }
}

/// Tasks by name.
#[derive(Serialize)]
pub struct TaskList {
    tasks: Vec<TaskView>,
    #[serde(skip)]
    table: String,
}

impl TaskList {
    /// A list of tasks in their order.
    pub fn new(tasks: &[Task]) -> Self {
        let mut table = Table::new(["TASK", "WHEN", "TIMEZONE", "TARGET", "NEXT", "LAST", "STATE", "RUNS"]);
        for task in tasks {
            let spec = task.spec.clone().unwrap_or_default();
            table.row([
                &spec.name,
                &spec.when,
                &spec.timezone,
                &spec.target,
                &short(task.next.first()),
                &short(task.last_started.as_ref()),
                &standing(task),
                &TaskView::from(task).what(),
            ]);
        }
        Self { tasks: tasks.iter().map(TaskView::from).collect(), table: table.to_string() }
    }
}

impl fmt::Display for TaskList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table)
    }
}

/// What one should know first about a task.
fn standing(task: &Task) -> String {
    if !task.problem.is_empty() {
        return format!("problem: {}", task.problem);
    }
    if task.paused {
        return "paused".to_owned();
    }
    state(task.last_state).unwrap_or_default()
}

/// The name of a task as the server answered it.
pub fn name(task: &Task) -> &str {
    task.spec.as_ref().map_or("", |TaskSpec { name, .. }| name)
}
