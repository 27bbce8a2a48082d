//! From settings to a running worker.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use marabunta_proto::{
    label::{self, LabelError},
    name::{Name, NameError},
};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    attempts::{Attempts, Key},
    command::Source,
    daemon::{Daemon, Identity, RunError, Shutdown},
    execution::Work,
    handler::Handler,
    health::{Pulse, Signs},
    link::Link,
    payloads::Payloads,
    reporter::{Ends, Reporter},
    spool::{Ledger, LogError, Restored},
    ticket::Ticket,
};
use crate::{
    connect::{self, ConnectError, Connection},
    exec::{Containment, ContainmentError, HandlerConfig, Orphan, Supervised},
};

/// The directory of the spool in which supervisors are found.
const SUPERVISORS: &str = "supervisors";

/// Entries on their way to the spool. When it is full, output waits; messages of 64 KiB make it 4 MiB.
const ENTRIES: usize = 64;
/// Events of sessions on their way to the daemon. When it is full, sessions do not read.
const EVENTS: usize = 64;
/// Verdicts on their way to the daemon. When it is full, no report is made.
const JUDGED: usize = 64;

/// Why a worker cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("use the name of the worker: {0}")]
    Name(NameError),
    #[error("use the name of a handler: {0}")]
    Handler(NameError),
    #[error("use the labels: {0}")]
    Labels(#[from] LabelError),
    #[error("use {0} slots: a worker has 1 to 10000")]
    Slots(u32),
    #[error("use a prefetch of {0}: at most 10000")]
    Prefetch(u32),
    #[error("define the handler `{0}`: `exec` is the free command, which allow_exec enables")]
    ReservedHandler(String),
    #[error("define the handler `{0}` twice")]
    DuplicateHandler(String),
    #[error("run commands without a spool directory: what they leave running is found again by it")]
    NoSpool,
    #[error("connect: no server is named")]
    NoServer,
    #[error(transparent)]
    Server(#[from] ConnectError),
    #[error(transparent)]
    Spool(#[from] LogError),
    #[error(transparent)]
    Containment(#[from] ContainmentError),
}

/// What a worker is made of. See [`Worker::builder`].
pub struct Builder {
    name: String,
    servers: Vec<connect::Config>,
    labels: BTreeMap<String, String>,
    slots: u32,
    prefetch: u32,
    spool: Option<PathBuf>,
    spool_limit: u64,
    drain_timeout: Duration,
    handlers: Vec<(String, Arc<dyn Handler>)>,
    commands: Vec<(String, HandlerConfig)>,
    allow_exec: bool,
    supervisor: PathBuf,
}

/// A worker that is ready to run. Its spool is locked from here on.
pub struct Worker {
    builder: Builder,
    handlers: BTreeMap<String, Work>,
    ledger: Ledger,
    restored: Vec<Restored>,
    adopted: Vec<(Ticket, Supervised)>,
    next: Key,
    pulse: watch::Sender<Option<Pulse>>,
    trouble: watch::Sender<bool>,
}

impl Worker {
    /// A worker of this name, unique in the installation, that keeps what is not yet reported in the directory `spool`.
    ///
    /// ```no_run
    /// # async fn start() -> Result<(), Box<dyn std::error::Error>> {
    /// use marabunta::{connect, worker::{Context, Failure, Worker, function}};
    ///
    /// async fn resize(context: Context, url: String) -> Result<Option<serde_json::Value>, Failure> {
    ///     context.note(&format!("fetching {url}")).await;
    ///     Ok(Some(serde_json::json!({ "width": 100 })))
    /// }
    ///
    /// let (_shutdown, asked) = tokio::sync::watch::channel(Default::default());
    /// let server = connect::Config { server: "http://127.0.0.1:50051".into(), ..Default::default() };
    /// Worker::builder("images-1", "/var/lib/images/spool")
    ///     .server(server)
    ///     .handler("resize", function(resize))
    ///     .build()?
    ///     .run(asked)
    ///     .await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn builder(name: impl Into<String>, spool: impl Into<PathBuf>) -> Builder {
        Builder { spool: Some(spool.into()), ..Self::forgetful(name) }
    }

    /// A worker that keeps what is not yet reported in memory, for functions alone: what it was not able to report is lost when its
    /// process dies, and is executed again.
    pub fn forgetful(name: impl Into<String>) -> Builder {
        Builder {
            name: name.into(),
            servers: Vec::new(),
            labels: BTreeMap::new(),
            slots: cores(),
            prefetch: 0,
            spool: None,
            spool_limit: 256 << 20,
            drain_timeout: Duration::from_secs(30),
            handlers: Vec::new(),
            commands: Vec::new(),
            allow_exec: false,
            supervisor: "marabunta".into(),
        }
    }

    /// When the server was last heard; see [`health`](super::health).
    pub fn pulse(&self) -> watch::Receiver<Option<Pulse>> {
        self.pulse.subscribe()
    }

    /// What its health is judged by; see [`health`](super::health).
    pub fn signs(&self) -> Signs {
        Signs { pulse: self.pulse.subscribe(), trouble: self.trouble.subscribe() }
    }

    /// Runs until `shutdown` asks it to stop, or another worker takes over its name.
    pub async fn run(self, shutdown: watch::Receiver<Shutdown>) -> Result<(), RunError> {
        let Self { builder, handlers, ledger, restored, adopted, next, pulse, trouble: troubled } = self;
        let (events, heard) = mpsc::channel(EVENTS);
        let (entries, written) = mpsc::channel(ENTRIES);
        let (judge, judged) = mpsc::channel(JUDGED);
        let (connection, live) = watch::channel(None::<Connection>);
        let trouble = troubled.subscribe();
        let mut attempts = Attempts::new(builder.slots as usize, builder.prefetch as usize, next);
        for Restored { key, run, lease } in restored {
            tracing::info!(run, "ended before the restart; reporting it now");
            attempts.restore(key, run, lease);
        }
        for (ticket, _) in &adopted {
            tracing::info!(run = ticket.run, "has outlived the last daemon; going on with it");
            attempts.adopt(ticket.key(), ticket.run.clone(), ticket.lease(), ticket.stop());
        }
        let ends = Ends { entries: written, judged: judge, trouble: troubled };
        let reporter = Reporter::new(ledger, ends, live.clone(), builder.servers.clone());
        let mut reporting = JoinSet::new();
        reporting.spawn(reporter.run());
        let daemon = Daemon {
            identity: Identity {
                name: builder.name,
                instance: uuid::Uuid::new_v4().to_string(),
                boot_id: boot_id(),
                labels: builder.labels,
                slots: builder.slots,
            },
            handlers,
            attempts,
            adopted,
            link: Link::new(builder.servers, events, pulse, connection),
            payloads: Payloads::new(live),
            events: heard,
            entries,
            judged,
            trouble,
            reporter: reporting,
            drain_timeout: builder.drain_timeout,
            running: JoinSet::new(),
            orders: HashMap::new(),
            released: JoinSet::new(),
        };
        daemon.run(shutdown).await
    }
}

impl Builder {
    /// One more server, or balancer, to try. At least one is needed; they are tried in turn.
    pub fn server(mut self, server: connect::Config) -> Self {
        self.servers.push(server);
        self
    }

    /// A label that selectors can match.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// How many attempts run at once; the number of cores unless set.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// How many more are taken in advance, so that a slot is not idle for a round trip; none unless set.
    pub fn prefetch(mut self, prefetch: u32) -> Self {
        self.prefetch = prefetch;
        self
    }

    /// Bytes that the spool may take; 256 MiB unless set.
    pub fn spool_limit(mut self, bytes: u64) -> Self {
        self.spool_limit = bytes;
        self
    }

    /// How long what runs may go on when the worker is asked to drain; 30 s unless set. Then commands are left to their supervisors, and to the
    /// next worker with this name and spool; functions are stopped.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.drain_timeout = timeout;
        self
    }

    /// Runs attempts for the handler `name`.
    pub fn handler(mut self, name: impl Into<String>, handler: impl Handler) -> Self {
        self.handlers.push((name.into(), Arc::new(handler)));
        self
    }

    /// Runs a command for the handler `name`.
    pub fn command(mut self, name: impl Into<String>, config: HandlerConfig) -> Self {
        self.commands.push((name.into(), config));
        self
    }

    /// Runs whatever command callers choose, with this process's rights.
    pub fn allow_exec(mut self, allow: bool) -> Self {
        self.allow_exec = allow;
        self
    }

    /// The binary `marabunta` of this version, through which commands are started; the one in `PATH` unless set.
    pub fn supervisor(mut self, program: impl Into<PathBuf>) -> Self {
        self.supervisor = program.into();
        self
    }

    /// Checks everything, locks and reads the spool, takes over the commands that an earlier worker left running, and kills what no supervisor
    /// answers for. Blocks; needs a tokio runtime.
    pub fn build(mut self) -> Result<Worker, StartError> {
        self.check()?;
        let (mut ledger, restored, next) = Ledger::open(self.spool.as_deref(), self.spool_limit)?;
        let functions = std::mem::take(&mut self.handlers).into_iter();
        let mut all: Vec<(String, Work)> =
            functions.map(|(name, handler)| (name, Work::Function(handler))).collect();
        let templates = std::mem::take(&mut self.commands).into_iter();
        let mut commands: Vec<(String, Source)> =
            templates.map(|(name, config)| (name, Source::Template(config.into()))).collect();
        if self.allow_exec {
            commands.push(("exec".to_owned(), Source::Free));
        }
        let mut adopted = Vec::new();
        match self.spool.as_deref().map(|spool| (spool, spool.join(SUPERVISORS))) {
            None if commands.is_empty() => {}
            None => return Err(StartError::NoSpool),
            // Also one that runs no commands any more may have been one that did.
            Some((spool, doors)) if !commands.is_empty() || doors.exists() => {
                let owner = owner(&self.name, spool);
                let (containment, orphans) = Containment::detect(&owner, &self.supervisor, &doors)?;
                let containment = Arc::new(containment);
                let orphans = orphans.into_iter();
                adopted = orphans.filter_map(|orphan| adopt(orphan, &containment, &mut ledger)).collect();
                let command = |(name, source)| (name, Work::Command(Arc::new(source), containment.clone()));
                all.extend(commands.into_iter().map(command));
            }
            Some(_) => {}
        }
        let mut handlers = BTreeMap::new();
        for (name, work) in all {
            if handlers.insert(name.clone(), work).is_some() {
                return Err(StartError::DuplicateHandler(name));
            }
        }
        let (pulse, trouble) = (watch::Sender::new(None), watch::Sender::new(false));
        Ok(Worker { builder: self, handlers, ledger, restored, adopted, next, pulse, trouble })
    }

    #[cfg(test)]
    pub(super) fn summary(&self) -> (&str, usize, u32) {
        (&self.name, self.servers.len(), self.slots)
    }

    fn check(&self) -> Result<(), StartError> {
        Name::parse_worker(&self.name).map_err(StartError::Name)?;
        label::parse_all(self.labels.clone())?;
        if !(1..=10_000).contains(&self.slots) {
            return Err(StartError::Slots(self.slots));
        }
        if self.prefetch > 10_000 {
            return Err(StartError::Prefetch(self.prefetch));
        }
        let names =
            self.handlers.iter().map(|(name, _)| name).chain(self.commands.iter().map(|(name, _)| name));
        for name in names {
            Name::parse(name).map_err(StartError::Handler)?;
            if name == "exec" {
                return Err(StartError::ReservedHandler(name.clone()));
            }
        }
        if self.servers.is_empty() {
            return Err(StartError::NoServer);
        }
        for server in &self.servers {
            Connection::open(server)?;
        }
        Ok(())
    }
}

/// `None` if there is nothing more to do with it.
fn adopt(
    orphan: Orphan,
    containment: &Arc<Containment>,
    ledger: &mut Ledger,
) -> Option<(Ticket, Supervised)> {
    let (ticket, first) = (Ticket::read(&orphan.ticket), orphan.first);
    let mut supervised = Supervised::adopt(orphan, containment);
    let Some(ticket) = ticket else {
        tracing::error!("an attempt that an earlier worker left cannot be made out; it is stopped");
        supervised.cancel();
        supervised.release();
        return None;
    };
    if !ledger.adopt(ticket.key(), ticket.run.clone(), ticket.lease(), first) {
        // The last daemon died after it had brought the end to the spool, and before it could say so.
        supervised.release();
        return None;
    }
    Some((ticket, supervised))
}

/// How many attempts run at once unless set.
fn cores() -> u32 {
    std::thread::available_parallelism().map_or(1, |cores| cores.get() as u32)
}

/// Whoever has the lock on the spool owns what was started under this mark: the same across restarts, another for another spool.
fn owner(name: &str, spool: &Path) -> String {
    let path = fs::canonicalize(spool).unwrap_or_else(|_: io::Error| spool.to_owned());
    let digest = crc::Crc::<u64>::new(&crc::CRC_64_XZ).checksum(path.as_os_str().as_encoded_bytes());
    // Containment takes 64 characters.
    format!("{digest:016x}.{}", &name[..name.len().min(40)])
}

/// Empty where there is none.
fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map_or_else(|_| String::new(), |id| id.trim().to_owned())
}
