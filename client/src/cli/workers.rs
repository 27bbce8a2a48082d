//! `marabunta workers`: the daemons on the hosts.

use clap::{Args, Subcommand};
use marabunta_proto::v1::{
    DrainWorkerRequest, GetWorkerRequest, ListWorkersRequest, ResumeWorkerRequest, Worker,
};

use super::{
    caller::Caller,
    failure::Failure,
    output::OutputArgs,
    page,
    view::worker::{WorkerList, WorkerView},
};

/// Subcommands of `workers`.
#[derive(Subcommand, Debug)]
pub enum WorkersCommand {
    /// List workers by name
    #[command(after_help = "Examples:\n  marabunta workers list --selector 'role=web,dc!=eu'")]
    List(ListArgs),
    /// Show a worker
    #[command(after_help = "Examples:\n  marabunta workers show web-1 -o json")]
    Show(ShowArgs),
    /// Give workers nothing new until they are resumed; what they run goes on
    #[command(
        after_help = "Examples:\n  marabunta workers drain web-1 web-2\n  marabunta workers drain --selector dc=eu"
    )]
    Drain(ChangeArgs),
    /// Let drained workers take runs again
    #[command(after_help = "Examples:\n  marabunta workers resume web-1")]
    Resume(ChangeArgs),
}

/// Arguments of `workers list`.
#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only those whose labels match
    #[arg(long, short = 'l', value_name = "SELECTOR")]
    selector: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `workers show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// The worker's name
    name: String,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `workers drain` and `workers resume`.
#[derive(Args, Debug)]
pub struct ChangeArgs {
    /// Names of workers
    #[arg(value_name = "NAME", required_unless_present = "selector")]
    names: Vec<String>,
    /// All whose labels match
    #[arg(long, short = 'l', value_name = "SELECTOR", conflicts_with = "names")]
    selector: Option<String>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Clone, Copy)]
enum Change {
    Drain,
    Resume,
}

/// Carries the subcommand out.
pub async fn run(caller: &Caller, command: WorkersCommand) -> Result<(), Failure> {
    match command {
        WorkersCommand::List(args) => {
            let workers = list(caller, args.selector.unwrap_or_default()).await?;
            args.output.print(&WorkerList::new(&workers))
        }
        WorkersCommand::Show(args) => {
            let answer = caller.workers().get(GetWorkerRequest { name: args.name.clone() }).await;
            let worker =
                answer.map_err(|status| caller.failed(format!("get worker {}", args.name), &status))?;
            args.output.print(&WorkerView::from(worker.get_ref()))
        }
        WorkersCommand::Drain(args) => change(caller, args, Change::Drain).await,
        WorkersCommand::Resume(args) => change(caller, args, Change::Resume).await,
    }
}

async fn list(caller: &Caller, selector: String) -> Result<Vec<Worker>, Failure> {
    let (workers, _) = page::collect(page::EVERYTHING, async |page_size, page| {
        let request = ListWorkersRequest { selector: selector.clone(), page_size, page };
        let answer =
            caller.workers().list(request).await.map_err(|status| caller.failed("list workers", &status))?;
        let answer = answer.into_inner();
        Ok((answer.workers, answer.next_page))
    })
    .await?;
    Ok(workers)
}

async fn change(caller: &Caller, args: ChangeArgs, change: Change) -> Result<(), Failure> {
    let names = match args.selector {
        Some(selector) => list(caller, selector).await?.into_iter().map(|worker| worker.name).collect(),
        None => args.names,
    };
    let mut workers = Vec::new();
    for name in names {
        let mut client = caller.workers();
        let (verb, answer) = match change {
            Change::Drain => ("drain", client.drain(DrainWorkerRequest { name: name.clone() }).await),
            Change::Resume => ("resume", client.resume(ResumeWorkerRequest { name: name.clone() }).await),
        };
        let worker = answer.map_err(|status| caller.failed(format!("{verb} worker {name}"), &status))?;
        workers.push(worker.into_inner());
    }
    args.output.print(&WorkerList::new(&workers))
}
