//! Who waits for which run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::queue::Hint;
use crate::run::RunId;

/// The runs that somebody on this server follows.
#[derive(Clone, Default)]
pub(super) struct Watch {
    runs: Arc<Mutex<HashMap<RunId, Arc<Notify>>>>,
}

/// One follower's place; dropping it gives it up.
pub(super) struct Watching {
    watch: Watch,
    run: RunId,
    pub changed: Arc<Notify>,
}

impl Watch {
    pub fn spawn(tracker: &TaskTracker, hints: Receiver<Hint>, stop: CancellationToken) -> Self {
        let watch = Self::default();
        tracker.spawn(pass_on(watch.clone(), hints, stop));
        watch
    }

    pub fn follow(&self, run: RunId) -> Watching {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = runs.entry(run).or_default().clone();
        Watching { watch: self.clone(), run, changed }
    }

    fn wake(&self, run: RunId) {
        if let Some(changed) = self.runs.lock().unwrap_or_else(PoisonError::into_inner).get(&run) {
            changed.notify_waiters();
        }
    }

    fn wake_all(&self) {
        for changed in self.runs.lock().unwrap_or_else(PoisonError::into_inner).values() {
            changed.notify_waiters();
        }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let mut runs = self.watch.runs.lock().unwrap_or_else(PoisonError::into_inner);
        // The map's and this one's.
        if Arc::strong_count(&self.changed) <= 2 {
            runs.remove(&self.run);
        }
    }
}

async fn pass_on(watch: Watch, mut hints: Receiver<Hint>, stop: CancellationToken) {
    loop {
        let hint = tokio::select! {
            hint = hints.recv() => hint,
            () = stop.cancelled() => return,
        };
        match hint {
            Ok(Hint::Changed(run)) => watch.wake(run),
            Ok(Hint::Interrupted) | Err(RecvError::Lagged(_)) => watch.wake_all(),
            Ok(_) => {}
            Err(RecvError::Closed) => return,
        }
    }
}
