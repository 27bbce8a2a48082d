//! Why a run waits, in words.

use std::time::Duration;

use tracing::debug;

use super::handle::{Follow, FollowError};
use crate::queue::Phase;
use crate::run::{Place, Run};

impl Follow {
    /// Why it is not running; empty for one that is.
    pub(super) async fn waiting(&self, run: &Run, phase: &Phase) -> String {
        match phase {
            Phase::Due(delay) => format!("due in {}", marabunta_proto::duration::format(whole(*delay))),
            Phase::Missed => "was missed while no server was up: about to be let go or skipped".into(),
            Phase::Behind => "waits until an earlier run of its task has ended".into(),
            Phase::Ready => self.unclaimed(run).await.unwrap_or_else(|error| {
                debug!(%error, "failed to say why a run waits");
                "waits for a worker".into()
            }),
            Phase::InFlight { accepted: false, worker, .. } => {
                format!("sent to `{worker}`, not accepted yet")
            }
            Phase::InFlight { .. } => String::new(),
            Phase::Ending => "about to end".into(),
        }
    }

    /// Why nobody has taken it.
    async fn unclaimed(&self, run: &Run) -> Result<String, FollowError> {
        let Run { place, handler, .. } = run;
        let selector = match place {
            Place::Any(selector) => selector,
            Place::Worker(name) => {
                let connected = self.queue.sessions(vec![name.clone()]).await?.iter().any(Option::is_some);
                let why = if connected { "has no free slot, or is drained" } else { "is not connected" };
                return Ok(format!("worker `{name}` {why}"));
            }
        };
        let able = self.store.matching(&selector.clone().with_handler(handler)).await?;
        if able.is_empty() {
            let matching = self.store.matching(selector).await?;
            return Ok(if matching.is_empty() {
                format!("no worker matches `{place}`")
            } else {
                format!("no worker of `{place}` has the handler `{handler}`")
            });
        }
        Ok(match self.queue.sessions(able).await?.iter().flatten().count() {
            0 => format!("no worker of `{place}` with the handler `{handler}` is connected"),
            count => format!(
                "all {count} connected workers of `{place}` with the handler `{handler}` are busy or drained"
            ),
        })
    }
}

/// To the second, so that it can be read; what is shorter stays as it is.
fn whole(delay: Duration) -> Duration {
    if delay > Duration::from_secs(1) { Duration::from_secs(delay.as_secs()) } else { delay }
}
