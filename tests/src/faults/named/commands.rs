//! Commands that print without end, or leave processes behind.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::ensure;
use marabunta_proto::v1::runs_client::RunsClient;
use marabunta_proto::v1::{FollowRequest, GetRunRequest, MessageKind, Reason, RunState, follow_event};
use tokio::time::sleep;
use tokio_stream::StreamExt as _;
use uuid::Uuid;

use super::super::arena::{Arena, descendants};
use super::super::deed::Deed;
use super::super::evidence::Evidence;
use super::super::finding::Finding;
use super::super::history::Submission;
use super::super::moment::Moment;
use super::super::workload::Shape;
use crate::support::{Backend, eventually_within};

/// How long a command that does not end may go on.
const LIMIT: Duration = Duration::from_secs(8);
/// What a daemon keeps of a command's output unless its configuration says otherwise.
const KEPT: u64 = 1 << 20;
/// What memory may grow by, in KiB, while hundreds of MiB are printed.
const GROWTH: u64 = 64 << 10;

/// One prints a lot, another for ever, on a daemon and in an SDK worker; others go on beside them.
pub async fn flooding(backend: Backend) -> Finding {
    let mut arena = Arena::on(backend).servers(2).slots(8).witnesses(1).daemons(2).start().await;
    let mix = arena.mix(&Deed::taking(Duration::from_millis(20)));
    let load = arena.load(mix, 10.0);
    sleep(Duration::from_secs(3)).await;
    let before = memory(&arena);
    let much = Deed { output: 256 << 20, ..Deed::default() };
    let endless = Deed { output: u64::MAX, ..Deed::default() };
    let ends = arena.shape("d-1", true, &much);
    let until = |shape: Shape| Shape { timeout: Some(LIMIT), ..shape };
    let shapes = [
        ends,
        until(arena.shape("d-1", true, &endless)),
        until(arena.shape("d-1", false, &endless)),
        until(arena.shape("w-1", true, &endless)),
    ];
    let floods = arena.burst(&shapes, shapes.len()).await;
    let mut peak = before.clone();
    let begun = Moment::now();
    let done = eventually_within(Duration::from_secs(180), "the floods are over", async || {
        sleep(Duration::from_millis(200)).await;
        for (process, size) in memory(&arena) {
            let entry = peak.entry(process).or_insert(size);
            *entry = size.max(*entry);
        }
        for flood in &floods {
            ensure!(ended(&arena, flood).await?, "one goes on");
        }
        Ok(())
    });
    done.await;
    let over = Moment::now();
    let mut told = Vec::new();
    for flood in &floods {
        told.push(Told::of(&arena, flood).await.expect("the server answers"));
    }
    sleep(Duration::from_secs(2)).await;
    arena.stop(load).await;
    let (evidence, verdict) = arena.conclude().await;

    let mut finding = Finding::of(verdict).nothing_again();
    // A process that was not there before began with nothing worth counting.
    let grown = peak
        .iter()
        .map(|(process, peak)| (process, peak.saturating_sub(before.get(process).copied().unwrap_or(0))));
    let (worst, growth) = grown.max_by_key(|(_, growth)| *growth).expect("there are processes");
    finding = finding
        .demand(growth < GROWTH, format!("the memory of {worst} grew by {} MiB", growth >> 10))
        .seen(format!("memory grew by at most {} MiB ({worst})", growth >> 10));
    for (told, flood) in told.iter().zip(&floods) {
        let shape = &evidence.shapes[usize::from(flood.shape)];
        let reason = if shape.timeout.is_some() { Reason::Timeout } else { Reason::Unspecified };
        let record = evidence.records.of(flood.run).map(|record| i32::from(record.reason));
        finding = finding
            .demand(
                record == Some(reason as i32),
                format!("one on {} ended for reason {record:?}", shape.target),
            )
            .demand(
                shape.target != "d-1" || told.truncated,
                format!("one on {} is not said to be truncated", shape.target),
            )
            .demand(
                shape.target != "d-1" || told.kept <= KEPT,
                format!("{} bytes were kept of one on {}", told.kept, shape.target),
            )
            .demand(told.head, format!("the beginning of one on {} is gone", shape.target))
            .demand(
                shape.timeout.is_some() || told.tail,
                format!("the end of one on {} is gone", shape.target),
            )
            .seen(format!(
                "{}: {} MiB printed, {} KiB kept",
                shape.target,
                told.printed >> 20,
                told.kept >> 10
            ));
    }
    let slowest = slowest(&evidence, &floods, begun, over);
    finding.recovered("the slowest of the other runs is done", slowest, 10)
}

/// Two processes escape by a double fork into a session of their own and hold the pipe open: of a command that ends, and of one that does not.
pub async fn escaping(backend: Backend) -> Finding {
    let mut arena = Arena::on(backend).servers(2).slots(4).daemons(2).start().await;
    let mix = arena.mix(&Deed::taking(Duration::from_millis(20)));
    let load = arena.load(mix, 5.0);
    let mark = 1_000_000_000 + u64::from(rand::random::<u32>());
    let leaves = |mark, sleep| Deed { leave: mark, sleep, ..Deed::default() };
    let ends = arena.shape("d-1", true, &leaves(mark, 0));
    let hangs = arena.shape("d-1", true, &leaves(mark + 1, 600_000));
    let shapes = [ends, Shape { timeout: Some(Duration::from_secs(3)), ..hangs }];
    let begun = Moment::now();
    let mut runs = arena.burst(&shapes, shapes.len()).await;
    // They are accepted in any order.
    runs.sort_by_key(|run| run.shape);
    let mut spans = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let what = format!("the run {at} has ended");
        eventually_within(Duration::from_secs(60), &what, async || {
            ensure!(ended(&arena, run).await?, "it goes on");
            Ok(())
        })
        .await;
        spans.push(Moment::now().since(begun));
    }
    let left = [mark, mark + 1].map(|mark| sleepers(mark).len());
    arena.stop(load).await;
    let (evidence, verdict) = arena.conclude().await;
    let reasons: Vec<_> = runs
        .iter()
        .filter_map(|run| evidence.records.of(run.run))
        .map(|record| i32::from(record.reason))
        .collect();
    let began = runs.iter().all(|run| evidence.testimony.of(run.run).len() == 1);
    Finding::of(verdict)
        .detected("the one whose command ended has ended", spans.first().copied(), 5)
        // Its time, and the grace between SIGTERM and SIGKILL.
        .recovered("the one whose time was up has ended", spans.last().copied(), 3 + 10 + 5)
        .demand(began, "one was not executed")
        .demand(left == [0, 0], format!("{left:?} processes were left behind"))
        .demand(
            reasons == [Reason::Unspecified as i32, Reason::Timeout as i32],
            format!("they ended for {reasons:?}"),
        )
        .nothing_again()
}

async fn ended(arena: &Arena, run: &Submission) -> anyhow::Result<bool> {
    let request = GetRunRequest { id: Uuid::from_u128(run.run).to_string() };
    let run = RunsClient::new(arena.cluster.channel().await).get(request).await?.into_inner();
    Ok(matches!(run.state(), RunState::Done | RunState::Error))
}

/// What the server tells of a run's output.
struct Told {
    printed: u64,
    truncated: bool,
    kept: u64,
    /// Its first and its last byte are there.
    head: bool,
    tail: bool,
}

impl Told {
    async fn of(arena: &Arena, run: &Submission) -> anyhow::Result<Self> {
        let id = Uuid::from_u128(run.run).to_string();
        let mut runs = RunsClient::new(arena.cluster.channel().await).max_decoding_message_size(64 << 20);
        let attempt = runs.get(GetRunRequest { id: id.clone() }).await?.into_inner().attempts.pop();
        let attempt = attempt.unwrap_or_default();
        let mut told = Self {
            printed: attempt.output_bytes,
            truncated: attempt.truncated,
            kept: 0,
            head: false,
            tail: false,
        };
        let request = FollowRequest { id, no_wait: true, ..FollowRequest::default() };
        let mut events = runs.follow(request).await?.into_inner();
        while let Some(event) = events.next().await {
            let Some(follow_event::Event::Output(output)) = event?.event else { continue };
            if output.kind() == MessageKind::Stdout && !output.data.is_empty() {
                told.head |= told.kept == 0 && output.data[0] == b'<';
                told.tail = output.data.ends_with(b">");
                told.kept += output.data.len() as u64;
            }
        }
        Ok(told)
    }
}

/// Resident memory in KiB of the programs, not of their commands.
fn memory(arena: &Arena) -> BTreeMap<String, u64> {
    let mut pids: Vec<i64> = arena.servers().iter().map(|server| server.pid().into()).collect();
    for name in &arena.names {
        let worker = arena.worker(name).pid();
        pids.push(worker.into());
        pids.extend(descendants(worker).into_iter().map(i64::from));
    }
    let sizes = pids.into_iter().filter_map(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name| Some(status.lines().find_map(|line| line.strip_prefix(name))?.trim());
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let is_task = command.split(|byte| *byte == 0).nth(1) == Some(b"task");
        let size = field("VmRSS:")?.trim_end_matches(" kB").parse().ok()?;
        (!is_task).then(|| Some((format!("{} {pid}", field("Name:")?), size)))?
    });
    sizes.collect()
}

/// How long the slowest run took that was asked for while something went on, from its submission to the end of its execution.
fn slowest(evidence: &Evidence, but: &[Submission], from: Moment, to: Moment) -> Option<Duration> {
    let others = evidence
        .accepted()
        .filter(|(one, _)| (from..to).contains(&one.asked) && but.iter().all(|flood| flood.run != one.run));
    let spans = others.map(|(one, _)| Some(evidence.testimony.of(one.run).first()?.end.since(one.asked)));
    spans.collect::<Option<Vec<_>>>()?.into_iter().max()
}

/// The processes that sleep for this long.
fn sleepers(mark: u64) -> Vec<String> {
    let processes = fs::read_dir("/proc").expect("Linux has /proc").flatten();
    let command = |entry: fs::DirEntry| fs::read(entry.path().join("cmdline")).ok();
    let commands = processes.filter_map(command).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let mark = format!("sleep\0{mark}\0");
    commands.filter(|command| *command == mark).collect()
}
