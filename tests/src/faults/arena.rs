//! An installation to break: MariaDB, Redis, servers, workers, something that asks for runs, and somebody who writes down what is broken.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::ensure;
use marabunta_proto::v1::tasks_client::TasksClient;
use marabunta_proto::v1::{CreateTaskRequest, PauseTaskRequest, TaskSpec, task_spec};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use prost_types::Timestamp;
use tokio::time::sleep;
use tonic::Code;

use super::checker::Verdict;
use super::counted::Counted;
use super::deed::Deed;
use super::evidence::{Evidence, Schedule};
use super::history::{History, Submission, Told};
use super::moment::Moment;
use super::quiet::Quiet;
use super::records::Records;
use super::sessions::Sessions;
use super::testimony::{Execution, Testimony, Witness};
use super::watch::Watch;
use super::witness::HANDLER;
use super::workload::{Door, Load, Shape};
use crate::support::metrics::Metrics;
use crate::support::scratch::Scratch;
use crate::support::server::Server;
use crate::support::worker::Worker;
use crate::support::{Backend, Cluster, eventually};

mod plan;

pub use plan::Plan;

/// The label of all workers.
pub const ALL: &str = "role=web";
/// How long the history of fast runs may take whose server has died.
const HISTORY: Duration = Duration::from_secs(40);

/// See the module.
#[derive(Debug)]
pub struct Arena {
    pub cluster: Cluster,
    pub history: History,
    /// All workers.
    pub names: Vec<String>,
    door: Door,
    watch: Watch,
    evidence: Evidence,
    patience: Duration,
    /// The last to go: workers write into it.
    testimony: Scratch,
}

impl Arena {
    /// Three servers (embedded: one), with services of their own, and workers that know all of them.
    pub fn on(backend: Backend) -> Plan {
        Plan::on(backend)
    }

    /// A mixture of both classes and all kinds of targets, with this deed.
    pub fn mix(&self, deed: &Deed) -> Vec<Shape> {
        let mut shapes = Vec::new();
        for (turn, name) in self.names.iter().enumerate() {
            for target in [&format!("any({ALL})"), name] {
                shapes.push(self.shape(target, turn % 2 == 0, deed));
            }
        }
        shapes.push(self.shape(&format!("all({ALL})"), true, deed));
        shapes
    }

    /// A shape for a worker, or for `any(role=web)` or `all(role=web)`.
    pub fn shape(&self, target: &str, durable: bool, deed: &Deed) -> Shape {
        let named = self.names.iter().any(|name| name == target);
        let workers = if named { vec![target.to_owned()] } else { self.names.clone() };
        Shape { target: target.to_owned(), workers, durable, deed: deed.clone(), ..Shape::default() }
    }

    /// Asks for `rate` runs a second until the load is stopped.
    pub fn load(&mut self, shapes: Vec<Shape>, rate: f64) -> Load {
        let base = self.add(&shapes);
        self.door.load(base, shapes, rate)
    }

    /// Asks for so many runs at once, and gives those that were accepted.
    pub async fn burst(&mut self, shapes: &[Shape], count: usize) -> Vec<Submission> {
        let base = self.add(shapes);
        let submissions = self.door.burst(base, shapes, count).await;
        self.evidence.submissions.extend(&submissions);
        submissions
    }

    /// Asks for so many runs of one worker or `any(..)`, once each, and gives the codes of those that were not accepted.
    pub async fn ask(&mut self, shape: &Shape, count: usize) -> Vec<Code> {
        let base = self.add(std::slice::from_ref(shape));
        let asked = self.door.ask(base, shape, count).await;
        self.evidence.submissions.extend(asked.iter().map(|(submission, _)| *submission));
        asked.into_iter().filter_map(|(_, answer)| Some(answer.err()?.code())).collect()
    }

    /// Takes the submissions of a load that is stopped.
    pub async fn stop(&mut self, load: Load) {
        self.evidence.submissions.extend(load.stop().await);
    }

    /// A task that fires each second.
    pub async fn each_second(&mut self, name: &str, shape: Shape) {
        self.each_second_with(name, shape, TaskSpec::default()).await;
    }

    /// The same, with what else a task may say.
    pub async fn each_second_with(&mut self, name: &str, shape: Shape, other: TaskSpec) {
        let mut tasks = TasksClient::new(self.cluster.channel().await);
        let spec = TaskSpec {
            name: name.to_owned(),
            target: shape.target.clone(),
            when: "* * * * * *".to_owned(),
            what: Some(task_spec::What::Handler(HANDLER.to_owned())),
            payload: serde_json::to_string(&shape.deed).expect("a deed is JSON"),
            ..other
        };
        let request = CreateTaskRequest { task: Some(spec), paused: false };
        let task = tasks.create(request).await.expect("the schedule is right").into_inner();
        let every = Duration::from_secs(1);
        // The second in which it was created may have passed before it was planned.
        let from = micros(task.created) + 2_000_000;
        self.evidence.schedules.push(Schedule {
            task: task_name(task.spec),
            shape,
            every,
            from,
            until: from,
        });
    }

    /// Takes what a worker by hand was told.
    pub fn told(&mut self, told: impl IntoIterator<Item = Told>) {
        self.evidence.told.extend(told);
    }

    /// What the tasks have told so far.
    pub fn testimony(&self) -> Testimony {
        Testimony::read(self.testimony.path()).expect("a testimony can be read at any time")
    }

    /// Where tests may leave gates for deeds.
    pub fn gate(&self, name: &str) -> PathBuf {
        // Beside the testimony, not in it.
        let gate = self.testimony.path().with_extension(name);
        fs::write(&gate, "").expect("the directory of the tests can be written");
        gate
    }

    /// Waits until there is an execution like this, and gives it.
    pub async fn until(&self, what: &str, is_so: impl Fn(&Testimony, &Execution) -> bool) -> Execution {
        eventually(what, async || {
            let testimony = self.testimony();
            let found = testimony.executions.iter().find(|execution| is_so(&testimony, execution));
            ensure!(found.is_some(), "none of {} executions is", testimony.executions.len());
            Ok(*found.expect("it is some"))
        })
        .await
    }

    /// Somebody who testifies as a worker's task would.
    pub fn witness(&self, worker: &str, run: u128, attempt: u32, op: u64) -> Witness {
        Witness::new(self.testimony.path(), worker, run, attempt, op)
    }

    /// What the servers count, all together.
    pub async fn counted(&self, series: &str) -> f64 {
        eventually("all servers tell what they count", async || {
            Ok(Metrics::sum(self.servers()).await?.get(series))
        })
        .await
    }

    /// Waits until the servers have counted more than this, and gives the moment.
    pub async fn counted_more(&self, series: &str, than: f64) -> Moment {
        eventually(&format!("{series} is more than {than}"), async || {
            let counted = Metrics::sum(self.servers()).await?.get(series);
            ensure!(counted > than, "it is {counted}");
            Ok(Moment::now())
        })
        .await
    }

    pub fn worker(&self, name: &str) -> &Worker {
        self.cluster.worker(name)
    }

    pub fn servers(&self) -> &[Server] {
        self.cluster.servers()
    }

    /// SIGKILL to a worker and to all that descends from it.
    pub fn kill_with_tasks(&self, name: &str) {
        let tasks = descendants(self.worker(name).pid());
        self.worker(name).kill();
        for pid in tasks {
            // It may have gone with its parent.
            if let Err(error) = kill(Pid::from_raw(pid), Signal::SIGKILL) {
                assert_eq!(error, nix::errno::Errno::ESRCH, "failed to kill {pid}");
            }
        }
    }

    /// Ends the schedules, waits until all is quiet, and gathers all that is known.
    pub async fn conclude(mut self) -> (Evidence, Verdict) {
        let mut tasks = TasksClient::new(self.cluster.channel().await);
        for schedule in &mut self.evidence.schedules {
            let task = schedule.task.clone();
            let paused =
                tasks.pause(PauseTaskRequest { task }).await.expect("the task is there").into_inner();
            schedule.until = micros(paused.modified) - 1_000_000;
        }
        self.evidence.quiet = Quiet::wait(&self.cluster, self.patience).await;
        self.evidence.gathered = Moment::now();
        self.evidence.sightings = self.watch.stop().await;
        self.evidence.faults = self.history.faults();
        self.evidence.records = self.records().await;
        self.evidence.testimony = self.testimony();
        let logs: Vec<String> = self.servers().iter().map(Server::log).collect();
        self.evidence.sessions = Sessions::read(&logs);
        self.evidence.counted = Counted::of(&self.cluster, &logs).await;
        self.evidence.logs = logs;
        let verdict = Verdict::of(&self.evidence);
        (self.evidence, verdict)
    }

    /// What stands in the tables. The history of fast runs is written behind them, by another server when theirs has died: that is waited for.
    async fn records(&self) -> Records {
        let end = Moment::now().plus(HISTORY);
        loop {
            let records = Records::read(&self.cluster.store()).await.expect("the store answers");
            let all = self.evidence.accepted().all(|(one, _)| records.of(one.run).is_some());
            if all || Moment::now() > end {
                return records;
            }
            sleep(Duration::from_secs(3)).await;
        }
    }

    fn add(&mut self, shapes: &[Shape]) -> u16 {
        let base = self.evidence.shapes.len();
        self.evidence.shapes.extend_from_slice(shapes);
        u16::try_from(base).expect("an arena has few shapes")
    }
}

fn task_name(spec: Option<TaskSpec>) -> String {
    spec.expect("a task has a definition").name
}

fn micros(time: Option<Timestamp>) -> i64 {
    let time = time.expect("a task has times");
    time.seconds * 1_000_000 + i64::from(time.nanos) / 1_000
}

/// The processes that descend from this one.
pub fn descendants(ancestor: u32) -> Vec<i32> {
    let mut parents = Vec::new();
    for entry in fs::read_dir("/proc").expect("Linux has /proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        // The fields after the name, which may hold anything: state, parent.
        let Ok(stat) = fs::read_to_string(entry.path().join("stat")) else { continue };
        let parent = stat.rsplit(')').next().and_then(|rest| rest.split(' ').nth(2)?.parse::<u32>().ok());
        parents.extend(parent.map(|parent| (parent, pid)));
    }
    let mut found = vec![ancestor];
    let mut at = 0;
    while at < found.len() {
        let parent = found[at];
        found.extend(parents.iter().filter(|(of, _)| *of == parent).map(|(_, pid)| *pid));
        at += 1;
    }
    found[1..].iter().map(|pid| i32::try_from(*pid).expect("a process id is an i32")).collect()
}
