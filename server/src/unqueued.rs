//! Runs whose row is committed and that the queue may not have: it did not answer, or whoever was to queue them died between the two.

use tokio::sync::mpsc;

use crate::run::RunId;

/// How many may be noted at once. What finds no room is found later, when all open rows are held against the queue.
const ROOM: usize = 10_000;

/// A cheap handle to whoever queues them.
#[derive(Clone)]
pub struct Unqueued {
    runs: mpsc::Sender<RunId>,
}

impl Unqueued {
    /// A handle, and what is noted through it.
    #[must_use]
    pub fn new() -> (Self, mpsc::Receiver<RunId>) {
        let (runs, noted) = mpsc::channel(ROOM);
        (Self { runs }, noted)
    }

    /// These are to be looked for in the queue, and queued if they are not there.
    pub fn note(&self, runs: impl IntoIterator<Item = RunId>) {
        for run in runs {
            if self.runs.try_send(run).is_err() {
                tracing::debug!(%run, "no room to look for a run in the queue: left to the reconciler");
            }
        }
    }
}
