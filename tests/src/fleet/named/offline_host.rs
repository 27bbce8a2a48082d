//! A host that never comes, with far too much queued for it.

use std::time::Duration;

use marabunta::connect::Connection;
use marabunta_proto::v1::{
    ListRunsRequest, Policy, RunState, SubmitBatchRequest, SubmitRequest, submit_request::What,
    submit_result::Result as Answer,
};
use tokio::time::Instant;
use tonic::Code;

use crate::fleet::audit::{percentile, waits};
use crate::fleet::load::Wish;
use crate::fleet::member::{self, HANDLER};
use crate::fleet::scenario::Stage;
use crate::fleet::verdict::Outcome;
use crate::fleet::{Installation, Plan};
use crate::support::{Backend, eventually};

/// What may wait for one host here.
const CAP: usize = 2000;
/// What is submitted for it.
const TRIED: usize = 5000;
/// Those of the host that expire do so after this time, in seconds.
const EXPIRES: i64 = 12;

/// Its queue takes as many as may wait there and refuses the rest, what expires does so and makes room, nobody else notices, and what is left is
/// executed when the host comes after all.
pub async fn offline_host(backend: Backend) -> anyhow::Result<Outcome> {
    const AWAY: usize = 20;
    let plan = Plan { arguments: ["--queue-cap".into(), CAP.to_string().into()].into(), ..Plan::of(backend) };
    let mut stage = Stage::partly_set(&plan, AWAY + 1, AWAY, 4).await?;
    let start = Instant::now();
    let flow = stage.load.flow(50, |turn| Wish::mixed(turn, AWAY, 20));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = stage.memory();
    let from = Instant::now();

    // A quarter of what fits, to be executed in the end; and then too much that expires.
    let kept = stage.load.submit((0..CAP / 4).map(|_| Wish::of(AWAY, 1)).collect()).await.len();
    let (mut accepted, mut refused, mut other) = (Vec::new(), 0, Vec::new());
    for _ in 0..TRIED / 1000 {
        for answer in submit(&stage.installation, &member::name(AWAY), 1000).await? {
            match answer {
                Some(Answer::Accepted(one)) => accepted.extend(one.runs.into_iter().map(|run| run.id)),
                Some(Answer::Refused(one)) if one.code == Code::ResourceExhausted as i32 => refused += 1,
                answer => other.push(format!("{answer:?}")),
            }
        }
    }
    let fits = accepted.len() + kept == CAP && refused == TRIED - accepted.len() && other.is_empty();
    let seen = format!("{kept} and {} accepted, {refused} RESOURCE_EXHAUSTED, {other:?}", accepted.len());
    stage.outcome.judge(format!("of one host {CAP} runs wait and no more"), seen, fits);

    eventually("what is not started in time has expired", async || {
        let left = waiting(&stage.installation, &member::name(AWAY)).await?;
        anyhow::ensure!(left == kept, "{left} wait, {kept} are to stay");
        Ok(())
    })
    .await;
    let to = Instant::now();
    let expired = stage.installation.count_of(RunState::Expired, 10_000).await?;
    stage.outcome.judge("what expired says so", expired, expired == accepted.len());
    let again = stage.load.submit((0..CAP / 4).map(|_| Wish::of(AWAY, 1)).collect()).await.len();
    stage.outcome.judge("there is room again", again, again == CAP / 4);

    flow.stop().await;
    let others = |one: &crate::fleet::load::Accepted| one.target != member::name(AWAY);
    let all = stage.load.all();
    let calm = percentile(&waits(&all, stage.testimony(), start, from, others), 0.99);
    let meanwhile = percentile(&waits(&all, stage.testimony(), from, to, others), 0.99);
    let holds = meanwhile < calm * 2 + Duration::from_millis(250);
    stage.outcome.measure("nobody else waits longer (p99)", format!("{calm:?}, then {meanwhile:?}"), holds);
    let after = stage.memory();
    stage.outcome.measure("memory is bounded", format!("{before}, then {after} MiB"), after < before + 64.0);

    stage.fleet.revive(AWAY)?;
    Ok(stage.close_expecting(accepted.len()).await)
}

async fn submit(
    installation: &Installation,
    target: &str,
    count: usize,
) -> anyhow::Result<Vec<Option<Answer>>> {
    let expires = Some(prost_types::Duration { seconds: EXPIRES, nanos: 0 });
    let request = SubmitRequest {
        target: target.to_owned(),
        what: Some(What::Handler(HANDLER.to_owned())),
        payload: "1".to_owned(),
        policy: Some(Policy { expires, ..Policy::default() }),
        ..SubmitRequest::default()
    };
    let config = installation.configs().swap_remove(0);
    let batch = SubmitBatchRequest { requests: vec![request; count] };
    let answer = Connection::open(&config)?.runs().submit_batch(batch).await?.into_inner();
    Ok(answer.results.into_iter().map(|result| result.result).collect())
}

/// How many runs of this target wait.
async fn waiting(installation: &Installation, target: &str) -> anyhow::Result<usize> {
    let config = installation.configs().swap_remove(0);
    let mut runs = Connection::open(&config)?.runs();
    let (mut count, mut page) = (0, String::new());
    loop {
        let states = vec![RunState::Queued.into(), RunState::Todo.into()];
        let target = target.to_owned();
        let request = ListRunsRequest { states, target, page_size: 1000, page, ..Default::default() };
        let listed = runs.list(request).await?.into_inner();
        count += listed.runs.len();
        page = listed.next_page;
        if page.is_empty() {
            return Ok(count);
        }
    }
}
