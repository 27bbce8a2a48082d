//! Tasks that are owned: each has a name, and none ends unseen.

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Tasks that stop together.
pub(super) struct Crew {
    pub stop: CancellationToken,
    tasks: JoinSet<(&'static str, bool)>,
    at_work: Vec<&'static str>,
}

impl Crew {
    pub fn new() -> Self {
        Self { stop: CancellationToken::new(), tasks: JoinSet::new(), at_work: Vec::new() }
    }

    /// Starts a task that goes on until `stop`.
    pub fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.at_work.push(name);
        self.tasks.spawn(async move { (name, AssertUnwindSafe(task).catch_unwind().await.is_ok()) });
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
