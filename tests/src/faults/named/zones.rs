//! Clocks are put forward and back while a server watches them.

use std::time::Duration;

use anyhow::ensure;
use chrono::{DateTime, Utc};
use futures_util::future::join_all;
use marabunta_proto::v1::runs_client::RunsClient;
use marabunta_proto::v1::tasks_client::TasksClient;
use marabunta_proto::v1::{
    CreateTaskRequest, ListRunsRequest, PauseTaskRequest, RunState, TaskSpec, task_spec,
};
use marabunta_server::clock;
use tonic::transport::Channel;

use super::super::checker::Verdict;
use super::super::clock::FakeClock;
use super::super::evidence::Evidence;
use super::super::finding::Finding;
use super::super::records::{Records, still_open};
use super::super::testimony::Testimony;
use super::super::witness::HANDLER;
use super::super::workload::{Door, Shape};
use crate::support::scratch::Scratch;
use crate::support::server::{Options, Server};
use crate::support::worker::{Worker, WorkerOptions};
use crate::support::{Backend, eventually, eventually_within};

/// A change of the clock.
struct Change {
    zone: &'static str,
    /// The instant of it.
    at: &'static str,
    /// Schedules, and at how many seconds after the change each of them fires, of the first [`WATCHED`].
    fires: &'static [(&'static str, &'static [i64])],
}

/// Each of these lists has it last: when it has fired, all others have or never will.
const TEN: (&str, &[i64]) = ("*/10 * * * * *", &[0, 10]);
const WATCHED: i64 = 10;
/// The one worker of each server.
const WORKER: &str = "w-1";
/// How long before the change the server starts. The machine may be busy.
const EARLY: i64 = 60;

#[rustfmt::skip] // One line is a schedule and what it does.
const CHANGES: &[Change] = &[
    // 02:00 becomes 03:00.
    Change { zone: "Europe/Berlin", at: "2026-03-29T01:00:00Z", fires: &[
        ("30 2 * * *", &[0]),
        ("0,15,30,45 2 * * *", &[0]),
        ("0 3 * * *", &[0]),
        ("0 2,3 * * *", &[0]),
        ("*/30 * * * *", &[0]),
        ("30 * * * *", &[]),
        ("*/30 2 * * *", &[]),
        TEN,
    ] },
    // 03:00 becomes 02:00.
    Change { zone: "Europe/Berlin", at: "2026-10-25T01:00:00Z", fires: &[
        ("0 2 * * *", &[]),
        ("0 3 * * *", &[]),
        ("0 0-23 * * *", &[]),
        ("0 * * * *", &[0]),
        ("*/30 2 * * *", &[0]),
        TEN,
    ] },
    // 02:00 becomes 02:30.
    Change { zone: "Australia/Lord_Howe", at: "2026-10-03T15:30:00Z", fires: &[
        ("15 2 * * *", &[0]),
        ("30 2 * * *", &[0]),
        ("0 2 4 10 *", &[0]),
        ("30 * * * *", &[0]),
        ("0 * * * *", &[]),
        TEN,
    ] },
    // 02:00 becomes 01:30.
    Change { zone: "Australia/Lord_Howe", at: "2026-04-04T15:00:00Z", fires: &[
        ("30 1 * * *", &[]),
        ("45 1 * * *", &[]),
        ("0 2 * * *", &[]),
        ("30 * * * *", &[0]),
        ("*/15 * * * *", &[0]),
        TEN,
    ] },
    // Ramadan ends: 02:00 becomes 03:00.
    Change { zone: "Africa/Casablanca", at: "2026-03-22T02:00:00Z", fires: &[
        ("30 2 * * *", &[0]),
        ("0 2 22 3 *", &[0]),
        ("0 * * * *", &[0]),
        ("*/20 2 * * *", &[]),
        TEN,
    ] },
    // Ramadan begins: 03:00 becomes 02:00.
    Change { zone: "Africa/Casablanca", at: "2026-02-15T02:00:00Z", fires: &[
        ("0 2 * * *", &[]),
        ("0 3 * * *", &[]),
        ("0 * * * *", &[0]),
        TEN,
    ] },
    // The 29th of December is followed by the 31st.
    Change { zone: "Pacific/Apia", at: "2011-12-30T10:00:00Z", fires: &[
        ("0 12 30 12 *", &[0]),
        ("30 2 * * *", &[0]),
        ("0 0 31 12 *", &[0]),
        ("0 * * * *", &[0]),
        ("*/15 * 30 12 *", &[]),
        TEN,
    ] },
];

/// One server for each change, which lives through it.
pub async fn changed(_: Backend) -> Finding {
    let watched = join_all(CHANGES.iter().map(Change::watch)).await;
    let (verdicts, complaints): (Vec<Verdict>, Vec<Vec<String>>) = watched.into_iter().unzip();
    let complaints = complaints.concat();
    let schedules: usize = CHANGES.iter().map(|change| change.fires.len()).sum();
    let finding = Finding::of(verdicts.into_iter().fold(Verdict::default(), both))
        .nothing_again()
        .seen(format!("{schedules} schedules through {} changes of the clock", CHANGES.len()));
    complaints.into_iter().fold(finding, |finding, complaint| finding.demand(false, complaint))
}

/// What goes on beside the time-tables.
fn load() -> Vec<Shape> {
    let shape = |target: &str| Shape {
        target: target.to_owned(),
        workers: vec![WORKER.to_owned()],
        durable: true,
        ..Shape::default()
    };
    vec![shape(WORKER), shape("any")]
}

fn both(mut one: Verdict, other: Verdict) -> Verdict {
    one.accepted += other.accepted;
    one.refused += other.refused;
    one.unknown += other.unknown;
    one.firings += other.firings;
    one.executions += other.executions;
    one.again += other.again;
    one.violations.extend(other.violations);
    one
}

impl Change {
    /// Gives what is to be said of a load beside it, and what was not as it must be.
    async fn watch(&self) -> (Verdict, Vec<String>) {
        let at: DateTime<Utc> = self.at.parse().expect("the table has times");
        let (clock, directory) = (FakeClock::new(), Scratch::new("testimony"));
        clock.offset(at.timestamp() - EARLY - clock::wall().timestamp());
        let server = Server::start(Options { environment: clock.environment(), ..Options::default() }).await;
        let _worker =
            Worker::start(&server.url(), WorkerOptions::witness(WORKER, directory.path()).slots(16));
        let channel = Channel::from_shared(server.url()).expect("a server has a URL").connect().await;
        let channel = channel.expect("the server is ready");
        let shapes = load();
        let load = Door::through(vec![channel.clone()]).load(0, shapes.clone(), 4.0);
        for (number, (when, _)) in self.fires.iter().enumerate() {
            self.create(&channel, number, when).await;
        }
        let last = self.fires.len() - 1;
        let patience = Duration::from_secs(2 * EARLY.unsigned_abs());
        eventually_within(patience, "the clock has changed", async || {
            ensure!(self.fired(&channel, last, at).await?.contains(&WATCHED), "not yet");
            Ok(())
        })
        .await;
        let mut complaints = Vec::new();
        for (number, (when, expected)) in self.fires.iter().enumerate() {
            let fired =
                eventually("what fired is done", async || self.fired(&channel, number, at).await).await;
            if fired != *expected {
                complaints
                    .push(format!("{when} in {} fired {fired:?} s after {at}, not {expected:?}", self.zone));
            }
        }
        let mut evidence = Evidence { shapes, submissions: load.stop().await, ..Evidence::default() };
        for number in 0..self.fires.len() {
            let request = PauseTaskRequest { task: format!("task-{number}") };
            TasksClient::new(channel.clone()).pause(request).await.expect("the task is there");
        }
        let store = format!("sqlite://{}", server.data().join("marabunta.db").display());
        eventually("no run is open", async || {
            let open = still_open(&store).await?;
            ensure!(open.is_empty(), "{} are", open.len());
            Ok(())
        })
        .await;
        evidence.records = Records::read(&store).await.expect("the store answers");
        evidence.testimony = Testimony::read(directory.path()).expect("a testimony can be read at any time");
        (Verdict::of(&evidence), complaints)
    }

    async fn create(&self, channel: &Channel, number: usize, when: &str) {
        let spec = TaskSpec {
            name: format!("task-{number}"),
            target: WORKER.to_owned(),
            when: when.to_owned(),
            timezone: self.zone.to_owned(),
            what: Some(task_spec::What::Handler(HANDLER.to_owned())),
            payload: "{}".to_owned(),
            ..TaskSpec::default()
        };
        let request = CreateTaskRequest { task: Some(spec), paused: false };
        TasksClient::new(channel.clone()).create(request).await.expect("the schedule is right");
    }

    /// At how many seconds after the change a task fired, up to [`WATCHED`]. Each of these runs is done.
    async fn fired(&self, channel: &Channel, number: usize, at: DateTime<Utc>) -> anyhow::Result<Vec<i64>> {
        let request = ListRunsRequest { task: format!("task-{number}"), ..ListRunsRequest::default() };
        let list = RunsClient::new(channel.clone()).list(request).await?.into_inner();
        let mut fired = Vec::new();
        for run in list.runs {
            let due = run.due.map_or(0, |due| due.seconds) - at.timestamp();
            if (0..=WATCHED).contains(&due) && run.state() != RunState::Todo {
                ensure!(run.state() == RunState::Done, "{run:?}");
                fired.push(due);
            }
        }
        fired.sort_unstable();
        Ok(fired)
    }
}
