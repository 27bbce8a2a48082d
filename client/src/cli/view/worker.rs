//! Workers as they are printed.

use std::{collections::BTreeMap, fmt};

use marabunta_proto::v1::Worker;
use serde::Serialize;

use super::word::some;
use crate::cli::{
    moment::{rfc3339, short},
    table::{Sheet, Table},
};

/// A worker in JSON and in detail.
#[derive(Serialize)]
pub struct WorkerView {
    name: String,
    online: bool,
    draining: bool,
    labels: BTreeMap<String, String>,
    slots: u32,
    running: u32,
    handlers: Vec<String>,
    version: Option<String>,
    server: Option<String>,
    registered: Option<String>,
    connected: Option<String>,
}

impl From<&Worker> for WorkerView {
    fn from(worker: &Worker) -> Self {
        Self {
            name: worker.name.clone(),
            online: worker.online,
            draining: worker.draining,
            labels: worker.labels.clone().into_iter().collect(),
            slots: worker.slots,
            running: worker.running,
            handlers: worker.handlers.clone(),
            version: some(&worker.version),
            server: some(&worker.server),
            registered: rfc3339(worker.registered.as_ref()),
            connected: rfc3339(worker.connected.as_ref()),
        }
    }
}

impl fmt::Display for WorkerView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sheet = Sheet::default();
        sheet.line("worker", &self.name);
        sheet.line("state", standing(self.online, self.draining));
        sheet.line("labels", labels(self.labels.iter()));
        sheet.line("running", format!("{} of {}", self.running, self.slots));
        sheet.line("handlers", self.handlers.join(", "));
        sheet.line("version", self.version.as_deref().unwrap_or_default());
        sheet.line("server", self.server.as_deref().unwrap_or_default());
        sheet.line("registered", self.registered.as_deref().unwrap_or_default());
        sheet.line("connected", self.connected.as_deref().unwrap_or_default());
        write!(f, "{sheet}")
    }
}

/// Workers by name.
#[derive(Serialize)]
pub struct WorkerList {
    workers: Vec<WorkerView>,
    #[serde(skip)]
    table: String,
}

impl WorkerList {
    /// A list of workers in their order.
    pub fn new(workers: &[Worker]) -> Self {
        let mut table =
            Table::new(["WORKER", "STATE", "RUNNING", "LABELS", "SERVER", "CONNECTED", "VERSION"]);
        for worker in workers {
            let sorted: BTreeMap<_, _> = worker.labels.iter().collect();
            table.row([
                &worker.name,
                standing(worker.online, worker.draining),
                &format!("{}/{}", worker.running, worker.slots),
                &labels(sorted.into_iter()),
                &worker.server,
                &short(worker.connected.as_ref()),
                &worker.version,
            ]);
        }
        Self { workers: workers.iter().map(WorkerView::from).collect(), table: table.to_string() }
    }
}

impl fmt::Display for WorkerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.table)
    }
}

fn standing(online: bool, draining: bool) -> &'static str {
    match (online, draining) {
        (true, false) => "online",
        (true, true) => "draining",
        (false, false) => "offline",
        (false, true) => "offline, draining",
    }
}

/// `dc=eu,role=web`, as a selector would ask for it.
fn labels<'a>(labels: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    labels.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}
