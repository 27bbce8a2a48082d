//! What is in an arena: put together first, started then.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use super::{ALL, Arena};
use crate::faults::clock::FakeClock;
use crate::faults::evidence::Evidence;
use crate::faults::history::History;
use crate::faults::watch::Watch;
use crate::faults::witness::{self, HANDLER};
use crate::faults::workload::Door;
use crate::support::scratch::Scratch;
use crate::support::worker::WorkerOptions;
use crate::support::{Backend, Cluster, Detour, program};

/// How long an installation may take to become quiet.
const PATIENCE: Duration = Duration::from_secs(180);

/// What to break.
#[derive(Debug)]
pub struct Plan {
    options: crate::support::ClusterOptions,
    testimony: Scratch,
    names: Vec<String>,
    slots: u32,
    /// Of each worker.
    allotted: HashMap<String, u32>,
    patience: Duration,
}

impl Plan {
    pub(super) fn on(backend: Backend) -> Self {
        Self {
            options: Cluster::on(backend).servers(3).own_services().roaming(),
            testimony: Scratch::new("testimony"),
            names: Vec::new(),
            slots: 4,
            allotted: HashMap::new(),
            patience: PATIENCE,
        }
    }

    pub fn servers(mut self, servers: usize) -> Self {
        self.options = self.options.servers(servers);
        self
    }

    /// SDK workers `w-1`, `w-2` ..
    pub fn witnesses(self, count: usize) -> Self {
        (0..count).fold(self, |plan, _| plan.witness(|worker| worker))
    }

    /// One more SDK worker, with something of its own.
    pub fn witness(mut self, with: impl FnOnce(WorkerOptions) -> WorkerOptions) -> Self {
        let number = 1 + self.names.iter().filter(|name| name.starts_with("w-")).count();
        let name = format!("w-{number}");
        let worker = WorkerOptions::witness(&name, self.testimony.path()).label(ALL).slots(self.slots);
        self.options = self.options.workers([with(worker)]);
        self.name(name)
    }

    /// Real daemons `d-1`, `d-2` ..
    pub fn daemons(mut self, count: usize) -> Self {
        for number in 1..=count {
            self = self.daemon(&format!("d-{number}"), &[HANDLER], |worker| worker);
        }
        self
    }

    /// One real daemon, with these handlers, which all do the same, and maybe with something of its own.
    pub fn daemon(
        mut self,
        name: &str,
        handlers: &[&str],
        with: impl FnOnce(WorkerOptions) -> WorkerOptions,
    ) -> Self {
        let witness = program::built("witness");
        let table = |handler: &&str| witness::daemon(handler, &witness, name, self.testimony.path());
        let toml: String = handlers.iter().map(table).collect();
        let worker = WorkerOptions::configured(name, &toml).label(ALL).slots(self.slots);
        self.options = self.options.workers([with(worker)]);
        self.name(name.to_owned())
    }

    fn name(mut self, name: String) -> Self {
        self.allotted.insert(name.clone(), self.slots);
        self.names.push(name);
        self
    }

    /// How long it may take to become quiet, where it is known never to.
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Servers that can have a bug planted, and maybe this one: see `server/src/planted.rs`.
    pub fn planted(mut self, bug: Option<&str>) -> Self {
        self.options = self.options.server_program(&program::planted());
        if let Some(bug) = bug {
            self.options = self.options.server_variable("MARABUNTA_PLANTED", bug);
        }
        self
    }

    /// Another build of the servers than this one.
    pub fn server_program(mut self, program: &Path) -> Self {
        self.options = self.options.server_program(program);
        self
    }

    /// Of each worker that is named from here on; 4 unless set.
    pub fn slots(mut self, slots: u32) -> Self {
        self.slots = slots;
        self
    }

    /// haproxy before the servers, and workers that know only it.
    pub fn balanced(mut self) -> Self {
        self.options = self.options.balanced();
        self
    }

    /// Something may stand on the links.
    pub fn detour(mut self, detour: Detour) -> Self {
        self.options = self.options.detour(detour);
        self
    }

    /// Servers listen at another address of this host, where namespaces can reach them.
    pub fn listen(mut self, ip: Ipv4Addr) -> Self {
        self.options = self.options.listen(ip);
        self
    }

    /// The server at this place sees this clock.
    pub fn server_clock(mut self, at: usize, clock: &FakeClock) -> Self {
        self.options = self.options.server_environment(at, clock.environment());
        self
    }

    /// One more argument for every server.
    pub fn server_argument(mut self, argument: &str) -> Self {
        self.options = self.options.server_argument(argument);
        self
    }

    /// Starts it all and waits until every worker is online.
    pub async fn start(self) -> Arena {
        let cluster = self.options.start().await;
        let door = Door::new(cluster.doors());
        let watch = Watch::over(cluster.doors());
        let history = History::default();
        let evidence = Evidence { slots: self.allotted, ..Evidence::default() };
        let Self { names, patience, testimony, .. } = self;
        Arena { cluster, history, names, door, watch, evidence, patience, testimony }
    }
}
