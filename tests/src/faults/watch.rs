//! Somebody who looks at what the servers say while all goes on: what was told once must stand for ever.

use std::time::Duration;

use marabunta_proto::v1::runs_client::RunsClient;
use marabunta_proto::v1::{ListRunsRequest, RunState};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use uuid::Uuid;

use super::history::Sighting;
use super::moment::Moment;

/// Between two looks. With the page it bounds what is remembered: a hundred in a second.
const INTERVAL: Duration = Duration::from_millis(200);
const PAGE: u32 = 20;
const DEADLINE: Duration = Duration::from_secs(2);

/// A watch that goes on until it is stopped.
#[derive(Debug)]
pub struct Watch {
    stop: CancellationToken,
    owner: JoinSet<Vec<Sighting>>,
}

impl Watch {
    /// Looks at these servers in turn.
    pub fn over(servers: &[String]) -> Self {
        let channel = |url: &String| Channel::from_shared(url.clone()).expect("a URL").connect_lazy();
        let servers: Vec<Channel> = servers.iter().map(channel).collect();
        let stop = CancellationToken::new();
        let mut owner = JoinSet::new();
        owner.spawn(watch(servers, stop.clone()));
        Self { stop, owner }
    }

    /// What was seen.
    pub async fn stop(&mut self) -> Vec<Sighting> {
        self.stop.cancel();
        let seen = self.owner.join_next().await.expect("a watch has one owner");
        seen.expect("a watch does not panic")
    }
}

async fn watch(servers: Vec<Channel>, stop: CancellationToken) -> Vec<Sighting> {
    let mut seen = Vec::new();
    let mut tick = interval(INTERVAL);
    for server in servers.iter().cycle() {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick() => {}
        }
        let ended = [RunState::Done, RunState::Error].map(i32::from).to_vec();
        let request = ListRunsRequest { states: ended, page_size: PAGE, ..ListRunsRequest::default() };
        // A server that is being broken says nothing.
        let Ok(Ok(list)) = timeout(DEADLINE, RunsClient::new(server.clone()).list(request)).await else {
            continue;
        };
        let at = Moment::now();
        seen.extend(list.into_inner().runs.into_iter().filter_map(|run| {
            let id = run.id.parse::<Uuid>().ok()?.as_u128();
            Some(Sighting {
                run: id,
                at,
                state: run.state.try_into().ok()?,
                reason: run.reason.try_into().ok()?,
            })
        }));
    }
    seen
}
