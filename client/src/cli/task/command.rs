//! The subcommands of `marabunta task`.

use clap::{Args, Subcommand};
use marabunta_proto::v1::{
    CreateTaskRequest, DeleteTaskRequest, FireTaskRequest, GetTaskRequest, ListTasksRequest,
    PauseTaskRequest, ResumeTaskRequest, Task, UpdateTaskRequest,
};
use serde::Serialize;
use tonic::{Response, Status};

use super::spec::SpecArgs;
use crate::cli::{
    caller::Caller,
    console::say,
    failure::Failure,
    interrupt::Interrupts,
    output::{Format, OutputArgs, print, print_json},
    page,
    run::{WatchArgs, new_key, print_ids},
    text::safe,
    view::task::{TaskList, TaskView, name},
};

/// Subcommands of `task`.
#[derive(Subcommand, Debug)]
pub enum TaskCommand {
    /// Create a task
    #[command(after_help = "\
Examples:
  marabunta task create nightly --when '0 2 * * *' --timezone Europe/Berlin \\
      --target 'any(role=db)' --overlap skip --retries 3 -- /usr/local/bin/backup
  marabunta task create sweep --when '@every 10m' --target 'all(role=web)' --splay 1m \\
      --handler sweep --payload @sweep.json
  marabunta task create restart --target web-1 -- systemctl restart nginx   # only by `task fire`")]
    Create(CreateArgs),
    /// List tasks by name
    #[command(after_help = "Examples:\n  marabunta task list --prefix backup-")]
    List(ListArgs),
    /// Show a task and its next firings
    #[command(after_help = "Examples:\n  marabunta task show nightly")]
    Show(NameArgs),
    /// Change what is given, and leave the rest as it is
    #[command(after_help = "\
Examples:
  marabunta task edit nightly --when '30 2 * * *'
  marabunta task edit nightly --timeout none --rename backup")]
    Edit(EditArgs),
    /// Fire no more until resumed; what runs goes on
    #[command(after_help = "Examples:\n  marabunta task pause nightly")]
    Pause(NameArgs),
    /// Fire again from now on; what was missed is not caught up
    #[command(after_help = "Examples:\n  marabunta task resume nightly")]
    Resume(NameArgs),
    /// Run a task now, besides its schedule, and print the ids of its runs
    #[command(
        after_help = "Examples:\n  marabunta task fire nightly\n  marabunta task fire nightly --follow"
    )]
    Fire(FireArgs),
    /// Remove tasks; their runs stay in the history
    #[command(after_help = "Examples:\n  marabunta task delete nightly")]
    Delete(DeleteArgs),
}

/// Arguments of `task create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// Its name: 1 to 128 characters of `a-z 0-9 . _ -`
    name: String,
    /// Do not fire until resumed
    #[arg(long)]
    paused: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    spec: SpecArgs,
}

/// Arguments of `task list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only names that start with this
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of the commands that need a task's name alone.
#[derive(Args, Debug)]
pub struct NameArgs {
    /// The task's name or id
    task: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `task edit`.
#[derive(Args, Debug)]
pub struct EditArgs {
    /// The task's name or id
    task: String,
    /// Give it another name
    #[arg(long, value_name = "NAME")]
    rename: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    spec: SpecArgs,
}

/// Arguments of `task fire`.
#[derive(Args, Debug)]
pub struct FireArgs {
    /// The task's name or id
    task: String,
    /// Watch the runs and end as they end, like `marabunta run`
    #[arg(long, short)]
    follow: bool,
    /// A second firing with the same key within a day is the first one, not another
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    #[command(flatten)]
    watch: WatchArgs,
}

/// Arguments of `task delete`.
#[derive(Args, Debug)]
pub struct DeleteArgs {
    /// Names or ids of tasks
    #[arg(value_name = "TASK", required = true)]
    tasks: Vec<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Carries the subcommand out.
pub async fn run(caller: &Caller, command: TaskCommand) -> Result<u8, Failure> {
    match command {
        TaskCommand::Create(args) => create(caller, args).await,
        TaskCommand::List(args) => list(caller, args).await,
        TaskCommand::Show(args) => {
            let answer = caller.tasks().get(GetTaskRequest { task: args.task.clone() }).await;
            args.output.print(&TaskView::from(&task(caller, &format!("get task {}", args.task), answer)?))
        }
        TaskCommand::Edit(args) => edit(caller, args).await,
        TaskCommand::Pause(args) => {
            let answer = caller.tasks().pause(PauseTaskRequest { task: args.task.clone() }).await;
            changed(args.output, "paused", &task(caller, &format!("pause task {}", args.task), answer)?)
        }
        TaskCommand::Resume(args) => {
            let answer = caller.tasks().resume(ResumeTaskRequest { task: args.task.clone() }).await;
            changed(args.output, "resumed", &task(caller, &format!("resume task {}", args.task), answer)?)
        }
        TaskCommand::Fire(args) => return fire(caller, args).await,
        TaskCommand::Delete(args) => delete(caller, args).await,
    }
    .map(|()| 0)
}

async fn create(caller: &Caller, args: CreateArgs) -> Result<(), Failure> {
    let spec = args.spec.create(args.name.clone())?;
    let answer = caller.tasks().create(CreateTaskRequest { task: Some(spec), paused: args.paused }).await;
    changed(args.output, "created", &task(caller, &format!("create task {}", args.name), answer)?)
}

async fn edit(caller: &Caller, args: EditArgs) -> Result<(), Failure> {
    let (spec, fields) = args.spec.edit(args.rename)?;
    let request = UpdateTaskRequest { task: args.task.clone(), spec: Some(spec), fields };
    let answer = caller.tasks().update(request).await;
    changed(args.output, "changed", &task(caller, &format!("edit task {}", args.task), answer)?)
}

async fn list(caller: &Caller, args: ListArgs) -> Result<(), Failure> {
    let prefix = args.prefix.unwrap_or_default();
    let (tasks, _) = page::collect(page::EVERYTHING, async |page_size, page| {
        let request = ListTasksRequest { prefix: prefix.clone(), page_size, page };
        let answer =
            caller.tasks().list(request).await.map_err(|status| caller.failed("list tasks", &status))?;
        let answer = answer.into_inner();
        Ok((answer.tasks, answer.next_page))
    })
    .await?;
    args.output.print(&TaskList::new(&tasks))
}

async fn fire(caller: &Caller, args: FireArgs) -> Result<u8, Failure> {
    let mut interrupts = args.follow.then(Interrupts::listen).transpose()?;
    let request = FireTaskRequest {
        task: args.task.clone(),
        idempotency_key: args.idempotency_key.clone().unwrap_or_else(new_key),
    };
    let fire = async || caller.tasks().fire(request.clone()).await;
    let submitted = caller.until_answered(&format!("fire task {}", args.task), fire).await?;
    for warning in &submitted.warnings {
        say(warning);
    }
    match &mut interrupts {
        Some(interrupts) => args.watch.watch(caller, &args.watch.console(), interrupts, &submitted).await,
        None => print_ids(args.watch.output(), &submitted).map(|()| 0),
    }
}

async fn delete(caller: &Caller, args: DeleteArgs) -> Result<(), Failure> {
    for task in &args.tasks {
        let answer = caller.tasks().delete(DeleteTaskRequest { task: task.clone() }).await;
        answer.map_err(|status| caller.failed(format!("delete task {task}"), &status))?;
        if args.output.output == Format::Text {
            print(&format!("{} deleted\n", safe(task)))?;
        }
    }
    match args.output.output {
        Format::Text => Ok(()),
        Format::Json => print_json(&Deleted { deleted: args.tasks }),
    }
}

#[derive(Serialize)]
struct Deleted {
    deleted: Vec<String>,
}

fn task(caller: &Caller, doing: &str, answer: Result<Response<Task>, Status>) -> Result<Task, Failure> {
    Ok(answer.map_err(|status| caller.failed(doing, &status))?.into_inner())
}

/// Says what happened to a task and when it fires next.
fn changed(output: OutputArgs, verb: &str, task: &Task) -> Result<(), Failure> {
    if output.output == Format::Json {
        return print_json(&TaskView::from(task));
    }
    let next = task.next.first().map(|next| format!(", fires next at {next}")).unwrap_or_default();
    print(&format!("{} {verb}{next}\n", safe(name(task))))
}
