//! What a server says of the runs of a test that fails: their attempts, and why one that should run waits.

use std::time::Duration;

use anyhow::Context as _;
use marabunta_proto::v1::runs_client::RunsClient;
use marabunta_proto::v1::{GetRunRequest, ListRunsRequest, Run};
use tokio::time::timeout;
use tonic::transport::Channel;

/// How long a server may take: one that the test has killed or paused says nothing.
const PATIENCE: Duration = Duration::from_secs(5);
/// As many of the latest runs as a reader goes through.
const RUNS: u32 = 20;

/// A line for each of the latest runs that this server knows, or why it says nothing.
pub(super) async fn of(url: &str) -> String {
    match timeout(PATIENCE, runs(url)).await {
        Ok(Ok(runs)) => runs.iter().map(|run| format!("{run:?}\n")).collect(),
        Ok(Err(error)) => format!("nothing: {error:#}\n"),
        Err(_) => format!("nothing within {PATIENCE:?}\n"),
    }
}

async fn runs(url: &str) -> anyhow::Result<Vec<Run>> {
    let channel = Channel::from_shared(url.to_owned())?.connect().await.context("it does not answer")?;
    let mut client = RunsClient::new(channel);
    let list = client.list(ListRunsRequest { page_size: RUNS, ..Default::default() }).await?.into_inner();
    let mut runs = Vec::new();
    for run in list.runs {
        // Only a run that is asked for by its id is told with its attempts and why it waits.
        let run = client.get(GetRunRequest { id: run.id }).await?.into_inner();
        runs.push(Run { payload: String::new(), ..run });
    }
    Ok(runs)
}
