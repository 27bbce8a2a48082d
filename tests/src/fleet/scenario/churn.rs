//! Members come and go at random while runs flow: some lose their connection, some die and come again, some leave in order.

use std::time::Duration;

use rand::RngExt as _;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::Stage;
use crate::fleet::Plan;
use crate::fleet::load::Wish;
use crate::fleet::verdict::{Outcome, progress};

/// How long after the last coming and going sessions may be remembered: the life of one, and what it takes to offer it again.
const REMEMBERED: Duration = Duration::from_secs(75);

/// What to do.
#[derive(Clone, Debug)]
pub struct Churn {
    pub plan: Plan,
    pub members: usize,
    /// Members that come or go, each second.
    pub changes: u32,
    /// Runs a second.
    pub rate: u32,
    pub time: Duration,
    pub seed: u64,
}

/// What happened to members.
#[derive(Debug, Default)]
struct Changes {
    cut: u32,
    killed: u32,
    drained: u32,
    revived: u32,
}

/// Runs it.
pub async fn churn(churn: &Churn) -> anyhow::Result<Outcome> {
    let mut stage = Stage::set(&churn.plan, churn.members, 4).await?;
    stage.outcome.figure("seed", churn.seed);
    let members = churn.members;
    let flow = stage.load.flow(churn.rate, move |turn| Wish::mixed(turn, members, 500));
    let doors = stage.doors(0);
    // Twice the same, so that what grows is told from what was needed once.
    let first = come_and_go(&mut stage, churn, churn.seed).await?;
    let second = come_and_go(&mut stage, churn, churn.seed.wrapping_add(1)).await?;
    flow.stop().await;
    stage.outcome.figure("doors", doors.json());
    stage.outcome.figure("memory_mib", json!([first, second]));
    stage.outcome.measure(
        "memory is as after the first round",
        format!("{first} then {second} MiB"),
        second <= first * 1.1 + 16.0,
    );
    leave(&mut stage).await?;
    Ok(stage.close().await)
}

/// One round; returns the memory after it, with everybody back.
async fn come_and_go(stage: &mut Stage, churn: &Churn, seed: u64) -> anyhow::Result<f64> {
    let (mut random, mut changes, mut leaving) =
        (StdRng::seed_from_u64(seed), Changes::default(), JoinSet::new());
    let mut ticks = interval(Duration::from_secs(1) / churn.changes);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let end = Instant::now() + churn.time;
    let mut gone = Vec::new();
    while Instant::now() < end {
        ticks.tick().await;
        let number = random.random_range(0..churn.members);
        let what = random.random_range(0..10);
        while let Some(Ok(life)) = leaving.try_join_next() {
            stage.fleet.left(life);
        }
        match (stage.fleet.with(number, |_| ()), what) {
            (None, _) => {}
            (Some(()), 0..4) => {
                stage.fleet.cut(number);
                changes.cut += 1;
            }
            (Some(()), 4..7) => {
                stage.fleet.kill(number);
                gone.push(number);
                changes.killed += 1;
            }
            (Some(()), _) => {
                if let Some(member) = stage.fleet.take(number) {
                    leaving.spawn(member.drain());
                    changes.drained += 1;
                }
                gone.push(number);
            }
        }
        // A twentieth is away at the most, the longest gone comes first.
        if gone.len() > churn.members / 20 {
            stage.fleet.revive(gone.remove(0))?;
            changes.revived += 1;
        }
    }
    progress(&format!("{changes:?}"));
    for number in gone {
        stage.fleet.revive(number)?;
    }
    while let Some(life) = leaving.join_next().await {
        stage.fleet.left(life?);
    }
    let back = stage.fleet.all_connected(Duration::from_secs(90)).await;
    let seen = back.as_ref().map_or_else(ToString::to_string, |back| format!("{:.1} s", back.as_secs_f64()));
    stage.outcome.judge("all who live are back", seen, back.is_ok());
    sleep(Duration::from_secs(10)).await;
    let Changes { cut, killed, drained, revived } = changes;
    let figures = json!({ "cut": cut, "killed": killed, "drained": drained, "revived": revived });
    stage.outcome.figure(&format!("changes_of_seed_{seed}"), figures);
    Ok(stage.memory())
}

/// When all have gone for good nothing is remembered of them.
async fn leave(stage: &mut Stage) -> anyhow::Result<()> {
    stage.quiet().await;
    if stage.installation.redis.is_none() {
        return Ok(());
    }
    (0..stage.fleet.size()).for_each(|number| stage.fleet.kill(number));
    let end = Instant::now() + REMEMBERED;
    let mut left = stage.installation.remembered().await;
    // With all of them dying at once it may have no time to answer.
    while !matches!(&left, Ok(left) if left.is_empty()) && Instant::now() < end {
        sleep(Duration::from_secs(1)).await;
        left = stage.installation.remembered().await;
    }
    let holds = matches!(&left, Ok(left) if left.is_empty());
    stage.outcome.judge("Redis remembers no session, place or run of them", format!("{left:?}"), holds);
    Ok(())
}
