//! What the servers' processes take meanwhile, and whether their doors answer.

use std::fs;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use marabunta::connect::{self, Connection};
use marabunta_proto::v1::ListWorkersRequest;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::audit::percentile;
use crate::support::http;
use crate::support::server::Server;

/// How often a door is tried, and how long an answer may take before it counts as none.
const EVERY: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);

/// Resident memory of a process in MiB; `None`: it has gone.
pub fn memory(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? / 1024.0)
}

/// Processor time that a process has taken so far.
pub fn processor(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything; user and system time are fields 14 and 15, in hundredths of a second.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}

/// Tries the doors of a server until it is dropped.
#[derive(Debug)]
pub struct Doors {
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Seen {
    http: Answers,
    grpc: Answers,
    peak: f64,
}

/// How long answers took, and which did not come.
#[derive(Debug, Default)]
struct Answers {
    took: Vec<Duration>,
    failed: u32,
}

impl Doors {
    /// `http`: whether the HTTP door speaks plaintext.
    pub fn of(server: &Server, config: connect::Config, http: bool) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let mut tasks = JoinSet::new();
        let (address, pid) = (server.http(), server.pid());
        if http {
            tasks.spawn(try_http(seen.clone(), address));
        }
        tasks.spawn(try_grpc(seen.clone(), config));
        tasks.spawn(watch_memory(seen.clone(), pid));
        Self { seen, _tasks: tasks }
    }

    /// The most memory seen, MiB.
    pub fn peak(&self) -> f64 {
        self.seen().peak
    }

    /// How many tries of the HTTP door had no answer, and the slowest answer.
    pub fn http(&self) -> (u32, Duration) {
        let seen = self.seen();
        (seen.http.failed, seen.http.took.iter().max().copied().unwrap_or_default())
    }

    pub fn json(&self) -> Value {
        let mut seen = self.seen();
        json!({ "peak_mib": seen.peak.round(), "http": shown(&mut seen.http), "grpc": shown(&mut seen.grpc) })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn shown(answers: &mut Answers) -> Value {
    answers.took.sort_unstable();
    let ms = |share| percentile(&answers.took, share).as_millis() as u64;
    json!({ "tries": answers.took.len(), "failed": answers.failed, "p50_ms": ms(0.5), "p99_ms": ms(0.99), "max_ms": ms(1.0) })
}

async fn try_http(seen: Arc<Mutex<Seen>>, address: std::net::SocketAddr) {
    loop {
        let began = Instant::now();
        let answer = timeout(PATIENCE, http::get(address, "/healthz")).await;
        note(&mut lock(&seen).http, began, matches!(answer, Ok(Ok(answer)) if answer.status == 200));
        sleep(EVERY).await;
    }
}

/// A call of a person: a connection of its own each time, and a page of workers.
async fn try_grpc(seen: Arc<Mutex<Seen>>, config: connect::Config) {
    loop {
        let began = Instant::now();
        let request = ListWorkersRequest { page_size: 1, ..Default::default() };
        let call =
            async { Ok::<_, anyhow::Error>(Connection::open(&config)?.workers().list(request).await?) };
        let answer = timeout(PATIENCE, call).await;
        note(&mut lock(&seen).grpc, began, matches!(answer, Ok(Ok(_))));
        sleep(EVERY).await;
    }
}

async fn watch_memory(seen: Arc<Mutex<Seen>>, pid: u32) {
    while let Some(memory) = memory(pid) {
        {
            let mut seen = lock(&seen);
            seen.peak = seen.peak.max(memory);
        }
        sleep(EVERY).await;
    }
}

fn note(answers: &mut Answers, began: Instant, good: bool) {
    if good { answers.took.push(began.elapsed()) } else { answers.failed += 1 }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
