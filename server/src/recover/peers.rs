//! The servers that were heard of lately, this one among them. It is known here, as a queue that has lost everything does not know it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::queue::Beat;

/// One that was not heard of for this long has died.
pub const LIFE: Duration = Duration::from_secs(15);

/// A cheap handle.
#[derive(Debug, Clone, Default)]
pub struct Peers(Arc<Mutex<HashMap<String, Instant>>>);

impl Peers {
    pub fn heard(&self, beat: &Beat) {
        let now = Instant::now();
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend(beat.alive.iter().map(|server| (server.clone(), now)));
        heard.retain(|server, at| now.duration_since(*at) < LIFE && !beat.gone.contains(server));
    }

    pub fn alive(&self) -> BTreeSet<String> {
        let heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.iter().filter(|(_, at)| at.elapsed() < LIFE).map(|(server, _)| server.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_server_is_alive_until_it_was_not_heard_of_for_long_or_is_told_to_be_gone() {
        let peers = Peers::default();
        let beat = |alive: &[&str], gone: &[&str]| {
            let owned = |servers: &[&str]| servers.iter().map(ToString::to_string).collect();
            peers.heard(&Beat { alive: owned(alive), gone: owned(gone) });
        };
        let alive = || peers.alive().into_iter().collect::<Vec<_>>();
        beat(&["one", "two", "three"], &[]);
        tokio::time::advance(LIFE / 2).await;
        beat(&["one"], &["three"]);
        assert_eq!(alive(), ["one", "two"], "a queue that was emptied has heard of one only");
        tokio::time::advance(LIFE / 2).await;
        assert_eq!(alive(), ["one"]);
    }
}
