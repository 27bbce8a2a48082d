//! Tasks that are owned: each has a name, and none ends unseen.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::metrics::PanicIn;
use crate::panics::Panics;

/// The pause before a task that panicked begins anew: twice as long each time, up to the longest.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Tasks that stop together.
pub(super) struct Crew {
    pub stop: CancellationToken,
    tasks: JoinSet<(&'static str, bool)>,
    at_work: Vec<&'static str>,
    panics: Panics,
}

impl Crew {
    pub fn new(panics: &Panics) -> Self {
        let (stop, tasks, at_work) = (CancellationToken::new(), JoinSet::new(), Vec::new());
        Self { stop, tasks, at_work, panics: panics.clone() }
    }

    /// Starts a task that goes on until `stop`. If it panics, it is [broken](Crew::broken).
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.at_work.push(name);
        let panics = self.panics.clone();
        self.tasks.spawn(async move { (name, panics.catch(PanicIn::Process, task).await.is_some()) });
    }

    /// Starts a task that goes on until `stop`, and begins anew after a panic: it keeps nothing that a panic could leave half done.
    pub fn keep<F>(
        &mut self,
        name: &'static str,
        place: PanicIn,
        begin: impl Fn(CancellationToken) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send,
    {
        let (panics, stop) = (self.panics.clone(), self.stop.clone());
        self.spawn(name, async move {
            let mut pause = PAUSE;
            while panics.catch(place, begin(stop.clone())).await.is_none() {
                error!("the {name} panicked: it begins anew in {pause:?}");
                // Nobody waits for the end of a pause when the server stops.
                tokio::select! {
                    () = sleep(pause) => {}
                    () = stop.cancelled() => {}
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }

    /// Waits until one of them ends, which none may before it is told to; says which and how.
    pub async fn broken(&mut self) -> String {
        match self.tasks.join_next().await {
            Some(Ok((name, true))) => format!("the {name} ended"),
            Some(Ok((name, false))) => format!("the {name} panicked"),
            Some(Err(error)) => format!("a task was aborted: {error}"),
            None => std::future::pending().await,
        }
    }

    /// Tells them to stop and waits until the deadline; answers who then had to be forced.
    pub async fn finish(mut self, deadline: Instant) -> Vec<&'static str> {
        self.stop.cancel();
        while let Ok(Some(done)) = timeout_at(deadline, self.tasks.join_next()).await {
            if let Ok((name, _)) = done {
                self.at_work.retain(|at_work| *at_work != name);
            }
        }
        if self.tasks.is_empty() {
            return Vec::new();
        }
        self.tasks.shutdown().await;
        self.at_work
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn a_task_that_panics_begins_anew_and_the_others_go_on() {
        let metrics = Metrics::new();
        let (mut crew, begun, up) =
            (Crew::new(&metrics.panics), Arc::new(AtomicU32::new(0)), Arc::new(Notify::new()));
        crew.keep("planner", PanicIn::Planner, {
            let (begun, up) = (begun.clone(), up.clone());
            move |stop| {
                let (begun, up) = (begun.clone(), up.clone());
                async move {
                    assert!(begun.fetch_add(1, Ordering::Relaxed) >= 2, "not yet");
                    up.notify_one();
                    stop.cancelled().await;
                }
            }
        });
        tokio::select! {
            () = up.notified() => {}
            broken = crew.broken() => panic!("{broken}"),
        }
        let shown = metrics.text().unwrap();
        assert!(shown.contains("marabunta_panics_total{where=\"planner\"} 2\n"), "{shown}");
        assert!(crew.finish(Instant::now() + LONGEST_PAUSE).await.is_empty());
    }

    #[tokio::test]
    async fn a_task_that_must_not_end_is_broken_when_it_panics() {
        let metrics = Metrics::new();
        let mut crew = Crew::new(&metrics.panics);
        crew.spawn("gRPC door", async { panic!("it fell off its hinges") });
        assert_eq!(crew.broken().await, "the gRPC door panicked");
        assert!(metrics.text().unwrap().contains("marabunta_panics_total{where=\"process\"} 1\n"));
    }
}
