//! All members lose their servers at once and come back at once, with work on them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};

use super::Stage;
use crate::fleet::Plan;
use crate::fleet::load::Wish;
use crate::fleet::verdict::{Outcome, progress, seconds};
use crate::support::{Backend, eventually_within};

/// How soon all must be back.
const BACK: Duration = Duration::from_secs(90);
/// How long memory may take to come to rest.
const SETTLE: Duration = Duration::from_secs(15);

/// What the herd has lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disaster {
    /// Every server: SIGKILL, and started again.
    Servers,
    /// The balancers: SIGKILL, and started again. The servers live on.
    Balancers,
    /// One server, each time the next: the others take its members in before it is started again.
    OneServer,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Herd {
    pub plan: Plan,
    pub members: usize,
    pub disaster: Disaster,
    /// How many in a row.
    pub herds: usize,
    /// Runs a second that flow meanwhile.
    pub rate: u32,
}

impl Herd {
    pub fn new(backend: Backend, members: usize) -> Self {
        let plan = Plan::of(backend);
        Self { plan, members, disaster: Disaster::Servers, herds: 3, rate: 100 }
    }
}

/// Runs it.
pub async fn herd(herd: &Herd) -> anyhow::Result<Outcome> {
    let mut stage = Stage::set(&herd.plan, herd.members, 4).await?;
    let members = herd.members;
    let flow = stage.load.flow(herd.rate, move |turn| Wish::mixed(turn, members, 500));
    let mut memories = Vec::new();
    for number in 1..=herd.herds {
        memories.push(one(&mut stage, herd, number).await?);
    }
    flow.stop().await;
    stage.outcome.figure("memory_after_mib", json!(memories));
    if let [.., before, last] = memories[..] {
        // An allocator keeps some of what it once had; what leaks grows with each herd.
        let holds = last <= before * 1.1 + 16.0;
        stage.outcome.measure(
            "memory is as after the herd before",
            format!("{before} then {last} MiB"),
            holds,
        );
    }
    Ok(stage.close().await)
}

async fn one(stage: &mut Stage, herd: &Herd, number: usize) -> anyhow::Result<f64> {
    let long = work(stage, herd.members).await;
    let before = stage.memory();
    let (dialled, executions) = (dialled(stage), stage.testimony().count());
    progress(&format!("herd {number}: {:?}", herd.disaster));
    let since = Instant::now();
    strike(stage, herd.disaster, number).await;
    let served = since.elapsed();
    let (survivor, processor) = (survivor(stage, herd.disaster, number), stage.processor());
    let doors = stage.doors(survivor);
    let back = stage.fleet.all_connected(BACK * 2).await.map(|_| since.elapsed());
    let spent = stage.processor().saturating_sub(processor);
    let dials = self::dialled(stage) - dialled;
    let connected = steady(stage).await;
    let after = stage.memory();
    heal(stage, herd.disaster, number).await;
    let unfinished = until_ended(stage, &long).await;
    let figures = json!({
        "server_away_s": seconds(served), "back_s": back.as_ref().map_or(-1.0, |back| seconds(*back)),
        "server_cpu_s": seconds(spent), "dials": dials, "doors": doors.json(),
        "memory_mib": { "before": before, "peak": doors.peak().round(), "after": after },
        "running_through": long.len(), "executions_before": executions,
    });
    stage.outcome.figure(&format!("herd_{number}"), figures);
    let seen = back.as_ref().map_or_else(ToString::to_string, |back| format!("{:.1} s", back.as_secs_f64()));
    stage.outcome.measure(
        format!("herd {number}: all are back in under 90 s"),
        seen,
        back.as_ref().is_ok_and(|back| *back < BACK),
    );
    stage.outcome.back.extend(back.as_ref().ok());
    let gone = herd.members - connected;
    stage.outcome.measure(format!("herd {number}: nobody who is back is lost again"), gone, gone == 0);
    stage.outcome.judge(format!("herd {number}: what ran goes on to its end"), unfinished, unfinished == 0);
    if !herd.plan.tls {
        let (failed, slowest) = doors.http();
        let holds = failed == 0 && slowest < Duration::from_secs(2);
        let seen = format!("{failed} failed, slowest {slowest:?}");
        stage.outcome.measure(format!("herd {number}: the HTTP door answers within 2 s"), seen, holds);
    }
    Ok(after)
}

/// Gives one in ten members something that outlasts the herd, and waits until it runs.
async fn work(stage: &Stage, members: usize) -> Vec<String> {
    let long = (0..members / 10).map(|turn| Wish::of(turn * 10, 40_000)).collect();
    let long = stage.load.submit(long).await;
    eventually_within(Duration::from_secs(60), "what is to run through the herd has begun", async || {
        let waiting = long.iter().filter(|run| stage.testimony().of(run).is_empty()).count();
        anyhow::ensure!(waiting == 0, "{waiting} of {} have not begun", long.len());
        Ok(())
    })
    .await;
    long
}

async fn strike(stage: &Stage, disaster: Disaster, number: usize) {
    let installation = &stage.installation;
    match disaster {
        Disaster::Servers => {
            installation.servers.iter().for_each(|server| server.kill());
            stage.fleet.most_cut().await;
            installation.servers.iter().for_each(|server| server.relaunch());
            for server in 0..installation.servers.len() {
                installation.until_serving(server).await;
            }
        }
        Disaster::Balancers => {
            installation.balancers.iter().for_each(|balancer| balancer.kill());
            stage.fleet.most_cut().await;
            for balancer in &installation.balancers {
                balancer.restart().await;
            }
        }
        Disaster::OneServer => {
            let connected = stage.fleet.connected();
            installation.servers[(number - 1) % installation.servers.len()].kill();
            while stage.fleet.connected() == connected {
                sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

/// Starts the server that stayed away.
async fn heal(stage: &Stage, disaster: Disaster, number: usize) {
    if disaster == Disaster::OneServer {
        let victim = (number - 1) % stage.installation.servers.len();
        stage.installation.servers[victim].relaunch();
        stage.installation.until_serving(victim).await;
    }
}

/// A server that takes members in.
fn survivor(stage: &Stage, disaster: Disaster, number: usize) -> usize {
    match disaster {
        Disaster::OneServer => number % stage.installation.servers.len(),
        Disaster::Servers | Disaster::Balancers => 0,
    }
}

/// Waits for the memory to come to rest; the least number of members that were connected meanwhile.
async fn steady(stage: &Stage) -> usize {
    let (end, mut least) = (Instant::now() + SETTLE, stage.fleet.connected());
    while Instant::now() < end {
        sleep(Duration::from_millis(250)).await;
        least = least.min(stage.fleet.connected());
    }
    least
}

/// How many of these have not ended in good time.
async fn until_ended(stage: &Stage, runs: &[String]) -> usize {
    let end = Instant::now() + Duration::from_secs(90);
    loop {
        let ended = |run: &&String| stage.testimony().of(run).iter().any(|one| one.ended.is_some());
        let open = runs.len() - runs.iter().filter(ended).count();
        if open == 0 || Instant::now() > end {
            return open;
        }
        sleep(Duration::from_millis(250)).await;
    }
}

fn dialled(stage: &Stage) -> u64 {
    stage.fleet.common.traffic.dialled.load(Ordering::Relaxed)
}
