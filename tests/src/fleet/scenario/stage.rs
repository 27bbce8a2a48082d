//! What each scenario begins and ends with.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::fleet::audit::Audit;
use crate::fleet::load::Load;
use crate::fleet::member::Common;
use crate::fleet::testimony::Testimony;
use crate::fleet::verdict::{Outcome, progress, seconds};
use crate::fleet::watch::{self, Doors};
use crate::fleet::{Fleet, Installation, Plan};

/// How long anything may take to come to rest before it is a failure.
const REST: Duration = Duration::from_secs(180);

/// An installation with its fleet connected, and who submits to it.
#[derive(Debug)]
pub struct Stage {
    pub fleet: Fleet,
    pub load: Arc<Load>,
    pub installation: Installation,
    pub outcome: Outcome,
    pub plan: Plan,
}

impl Stage {
    /// Starts everything and waits until all members are connected.
    pub async fn set(plan: &Plan, members: usize, slots: u32) -> anyhow::Result<Self> {
        Self::partly_set(plan, members, members, slots).await
    }

    /// As [`set`](Self::set), with only the first `living` of the members there at first.
    pub async fn partly_set(plan: &Plan, members: usize, living: usize, slots: u32) -> anyhow::Result<Self> {
        let installation = Installation::start(plan).await;
        let common = Common {
            servers: installation.urls(),
            tls_ca: installation.tls_ca(),
            slots,
            testimony: Arc::default(),
            traffic: Arc::default(),
        };
        let load = Load::new(installation.configs());
        let mut outcome = Outcome::default();
        let began = Instant::now();
        let fleet = Fleet::start(members, living, common)?;
        fleet.all_connected(REST).await?;
        outcome.figure("members", members);
        outcome.figure("first_connected_s", seconds(began.elapsed()));
        Ok(Self { fleet, load, installation, outcome, plan: plan.clone() })
    }

    pub fn testimony(&self) -> &Testimony {
        &self.fleet.common.testimony
    }

    /// Memory of all servers, MiB.
    pub fn memory(&self) -> f64 {
        self.installation.servers.iter().filter_map(|server| watch::memory(server.pid())).sum::<f64>().round()
    }

    /// Processor time of all servers since they were started.
    pub fn processor(&self) -> Duration {
        self.installation.servers.iter().filter_map(|server| watch::processor(server.pid())).sum()
    }

    /// Tries the doors of a server from now on.
    pub fn doors(&self, server: usize) -> Doors {
        let config = self.installation.configs().swap_remove(server);
        Doors::of(&self.installation.servers[server], config, !self.plan.tls)
    }

    /// Waits until every accepted run was executed, and the servers know it.
    pub async fn quiet(&mut self) {
        let since = Instant::now();
        let (mut said, mut open) = (Instant::now(), 0);
        while since.elapsed() < REST {
            let (accepted, finished) = (self.load.count(), self.testimony().finished());
            if said.elapsed() > Duration::from_secs(5) {
                progress(&format!(
                    "{finished} of {accepted} are finished, {} connected",
                    self.fleet.connected()
                ));
                said = Instant::now();
            }
            // That servers do not answer is no quiet.
            open = self.installation.open_runs().await.unwrap_or(usize::MAX);
            if finished >= accepted && open == 0 {
                break;
            }
            sleep(Duration::from_millis(500)).await;
        }
        self.outcome.figure("quiet_after_s", seconds(since.elapsed()));
        self.outcome.judge("at the end no run is open", open, open == 0);
    }

    /// Quiet, and then all that was accepted against all that was executed.
    pub async fn close(self) -> Outcome {
        self.close_expecting(0).await
    }

    /// As [`close`](Self::close), when so many runs that are none of the load's have expired.
    pub async fn close_expecting(mut self, expired: usize) -> Outcome {
        self.quiet().await;
        let audit = Audit::of(&self.load.all(), self.testimony(), |life, at| self.fleet.fault(life, at));
        let failed = self.installation.failed_runs(expired + 1000).await.map_err(|error| error.to_string());
        let outcome = &mut self.outcome;
        outcome.figure("audit", audit.json());
        outcome.figure("submit_retries", self.load.retries());
        outcome.figure("refused", serde_json::json!(self.load.refusals()));
        outcome.judge("nothing is lost", audit.lost.len(), audit.lost.is_empty());
        let doubled = audit.doubled.len() + audit.overlapping.len() + audit.strangers.len();
        outcome.judge("nothing is executed without an explanation", doubled, doubled == 0);
        outcome.judge(
            "every other run ended well for the servers too",
            format!("{failed:?}"),
            failed == Ok(expired),
        );
        self.outcome.audit = audit;
        self.outcome
    }
}
