//! A cloned host: two daemons with one name, each started again whenever the other has taken over.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::fleet::load::Wish;
use crate::fleet::member::Member;
use crate::fleet::scenario::Stage;
use crate::fleet::testimony::Life;
use crate::fleet::verdict::Outcome;
use crate::fleet::{Fleet, Plan};
use crate::support::metrics::Metrics;
use crate::support::{Backend, eventually};

/// How long they fight. Left alone they would swap every second.
const TIME: Duration = Duration::from_secs(30);
/// A supervisor starts a daemon again after this time.
const AGAIN: Duration = Duration::from_secs(1);
/// So many swaps are taken for what they seem; the next puts the name into quarantine.
const SWAPS: usize = 3;

/// The newer takes over and the older is told and stops; when that does not end, the latest stays and the other is refused; a run is executed again only
/// when the daemon that had it was superseded.
pub async fn same_name(backend: Backend) -> anyhow::Result<Outcome> {
    let mut stage = Stage::partly_set(&Plan::of(backend), 1, 0, 4).await?;
    let mut twins = [Twin::new(0), Twin::new(1)];
    twins[0].start(&stage.fleet)?;
    let flow = stage.load.flow(5, |_| Wish::of(0, 300));
    eventually("the first is connected", async || {
        anyhow::ensure!(twins[0].is_connected());
        Ok(())
    })
    .await;
    let (mut swaps, begun) = (0, Instant::now());
    twins[1].start(&stage.fleet)?;
    while begun.elapsed() < TIME {
        sleep(Duration::from_millis(20)).await;
        for this in 0..2 {
            let since = twins[1 - this].since;
            if twins[this].bury_if_ended(&stage.fleet, since) {
                swaps += 1;
                sleep(AGAIN).await;
                twins[this].start(&stage.fleet)?;
            }
        }
    }
    let connected = [twins[0].is_connected(), twins[1].is_connected()];
    let seen = format!("{swaps} swaps in {TIME:?}, connected {connected:?}");
    let one = connected[0] != connected[1];
    stage.outcome.judge("daemons of one name come to rest, and one of them stays", &seen, one);
    stage.outcome.judge("after the fourth swap in a minute there is none", &seen, swaps == SWAPS + 1);
    let counted = Metrics::sum(&stage.installation.servers).await?;
    let refused = counted.get("marabunta_sessions_refused_total{cause=\"flapping\"}");
    stage.outcome.judge("who is refused is counted", refused, refused > 0.0);
    // The one that was refused is taken away; the other goes on with what there is.
    twins[usize::from(connected[0])].member = None;
    flow.stop().await;
    let outcome = stage.close().await;
    drop(twins);
    Ok(outcome)
}

/// One of the daemons, over its lives.
struct Twin {
    life: Life,
    since: Instant,
    member: Option<Member>,
}

impl Twin {
    fn new(member: usize) -> Self {
        Self { life: Life { member, number: 0 }, since: Instant::now(), member: None }
    }

    fn start(&mut self, fleet: &Fleet) -> anyhow::Result<()> {
        self.life.number += 1;
        self.since = Instant::now();
        self.member = Some(Member::start(0, self.life, &fleet.common)?);
        Ok(())
    }

    fn is_connected(&self) -> bool {
        self.member.as_ref().is_some_and(Member::is_connected)
    }

    /// The other has taken over, which it did when it was started at the earliest.
    fn bury_if_ended(&mut self, fleet: &Fleet, since: Instant) -> bool {
        let ended = self.member.take_if(|member| member.has_ended());
        ended.inspect(|member| fleet.note_death(member.life(), since)).is_some()
    }
}
