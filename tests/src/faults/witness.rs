//! Workers that testify: an SDK worker, cheap enough to have fifty of them, and the command by which the real daemon does the same.

use std::env;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use clap::{Args, Parser, Subcommand};
use marabunta::connect;
use marabunta::worker::subcommand::SUPERSEDED;
use marabunta::worker::{
    Completion, Context, Failure, Handler, Handling, RunError, Shutdown, Stream, Worker,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use uuid::Uuid;

use super::deed::Deed;
use super::testimony::Witness;

/// The name of the handler, on both kinds of workers.
pub const HANDLER: &str = "witness";

/// A worker whose tasks testify, or one such task.
#[derive(Debug, Parser)]
#[command(name = "witness")]
pub struct Cli {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// An SDK worker, until SIGTERM
    Worker(WorkerArgs),
    /// One task of a daemon: the payload comes by standard input
    Task(TaskArgs),
}

#[derive(Debug, Args)]
struct WorkerArgs {
    /// URLs of servers, separated by commas
    #[arg(long, value_delimiter = ',')]
    server: Vec<String>,
    #[arg(long)]
    name: String,
    /// KEY=VALUE
    #[arg(long)]
    label: Vec<String>,
    #[arg(long, default_value_t = 4)]
    slots: u32,
    #[arg(long, default_value_t = 0)]
    prefetch: u32,
    #[arg(long)]
    spool: PathBuf,
    #[arg(long)]
    tls_ca: Option<PathBuf>,
    #[arg(long)]
    tls_cert: Option<PathBuf>,
    #[arg(long)]
    tls_key: Option<PathBuf>,
    /// Directory of the testimony
    #[arg(long)]
    testimony: PathBuf,
    /// The servers may be elsewhere, in plaintext
    #[arg(long)]
    insecure: bool,
}

#[derive(Debug, Args)]
struct TaskArgs {
    /// The worker's name
    #[arg(long)]
    worker: String,
    /// Directory of the testimony
    #[arg(long)]
    testimony: PathBuf,
}

/// The part of a daemon's configuration by which a handler, [`HANDLER`] as a rule, is this program.
pub fn daemon(handler: &str, program: &Path, worker: &str, testimony: &Path) -> String {
    format!(
        "[handlers.{handler}]\nstdin = 'payload'\nargv = ['{}', 'task', '--worker', '{worker}', '--testimony', '{}']\n",
        program.display(),
        testimony.display()
    )
}

impl Cli {
    /// Gives the exit code.
    pub async fn run(self) -> anyhow::Result<u8> {
        match self.role {
            Role::Worker(args) => work(args).await,
            Role::Task(args) => task(args).await,
        }
    }
}

async fn work(args: WorkerArgs) -> anyhow::Result<u8> {
    let handler = Testifying { worker: args.name.clone().into(), testimony: args.testimony.into() };
    let mut builder = Worker::builder(args.name, args.spool)
        .slots(args.slots)
        .prefetch(args.prefetch)
        .handler(HANDLER, handler);
    for server in args.server {
        let (tls_ca, tls_cert, tls_key) = (args.tls_ca.clone(), args.tls_cert.clone(), args.tls_key.clone());
        builder = builder.server(connect::Config {
            server,
            tls_ca,
            tls_cert,
            tls_key,
            insecure: args.insecure,
            ..connect::Config::default()
        });
    }
    for label in args.label {
        let (key, value) = label.split_once('=').with_context(|| format!("{label:?} is no KEY=VALUE"))?;
        builder = builder.label(key, value);
    }
    let worker = builder.build()?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (ask, asked) = watch::channel(Shutdown::No);
    let drain = async {
        terminate.recv().await;
        ask.send_replace(Shutdown::Drain);
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = Box::pin(worker.run(asked)) => match ended {
            Ok(()) => Ok(0),
            Err(RunError::Superseded { .. }) => Ok(SUPERSEDED),
            Err(error) => Err(error.into()),
        },
        () = drain => unreachable!("a drain is pending for ever"),
    }
}

struct Testifying {
    worker: Arc<str>,
    testimony: Arc<Path>,
}

impl Handler for Testifying {
    fn handle(&self, context: Context, payload: Bytes) -> Handling {
        let (worker, testimony) = (self.worker.clone(), self.testimony.clone());
        Box::pin(async move {
            let deed: Deed = serde_json::from_slice(&payload).map_err(Failure::rejected)?;
            let run: Uuid = context.run.parse().map_err(Failure::rejected)?;
            let witness = Witness::new(&testimony, &worker, run.as_u128(), context.attempt, deed.op);
            let print = |piece: Vec<u8>| {
                let context = context.clone();
                async move { context.output(Stream::Stdout, piece).await }
            };
            deed.perform(&witness, print, context.cancelled()).await?;
            Ok(Completion::default())
        })
    }
}

async fn task(args: TaskArgs) -> anyhow::Result<u8> {
    let deed: Deed = serde_json::from_reader(io::stdin().lock()).context("read the payload")?;
    let variable = |name| env::var(name).with_context(|| format!("{name} is not set"));
    let run: Uuid = variable("MARABUNTA_RUN")?.parse()?;
    let attempt = variable("MARABUNTA_ATTEMPT")?.parse()?;
    let witness = Witness::new(&args.testimony, &args.worker, run.as_u128(), attempt, deed.op);
    let print = |piece: Vec<u8>| {
        // Nobody reads when the worker is gone, and then the task goes too.
        if let Err(error) = io::Write::write_all(&mut io::stdout(), &piece) {
            eprintln!("failed to print: {error}");
        }
        std::future::ready(())
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let stopped = async {
        terminate.recv().await;
    };
    Ok(u8::from(deed.perform(&witness, print, stopped).await.is_err()))
}
