//! Calls of the queue that the owner has under way; what they bring back is in `done`.

use std::collections::HashSet;
use std::sync::Arc;

use marabunta_proto::name::Name;

use super::done::Done;
use super::{Owner, key, pairs};
use crate::metrics::PanicIn;
use crate::panics::Panics;
use crate::queue::{Queue, QueueError, SessionId};

/// How many sessions are asked for at once what the queue has given them.
const RECALL: usize = 500;

impl Owner {
    /// Opens a session again that the queue no longer knows, with all that it holds.
    pub(super) fn reopen(&mut self, worker: &Name, id: SessionId) {
        let Some(live) = self.state.board.get(worker, id) else { return };
        let (session, holding) = (live.session.clone(), live.tell());
        let held = pairs(&holding);
        let (queue, panics) = self.asking();
        self.state.jobs.push(Box::pin(async move {
            let found = asked(&panics, queue.open(session.clone(), held)).await;
            Done::Reopened { session, holding, found }
        }));
    }

    pub(super) fn claim(&mut self) {
        if self.state.claiming {
            return;
        }
        if std::mem::take(&mut self.state.recall) {
            return self.recall();
        }
        let claims = self.state.board.claims();
        if claims.is_empty() {
            return;
        }
        self.state.claiming = true;
        let (queue, panics) = self.asking();
        self.state.jobs.push(Box::pin(async move {
            let claimed = asked(&panics, queue.claim(claims.clone())).await;
            Done::Claimed { claims, claimed }
        }));
    }

    /// Asks what the queue has given to doubtful sessions. Nothing is claimed meanwhile, so that what the board did not hold before it never came here.
    pub(super) fn recall(&mut self) {
        let count = self.state.doubtful.len().min(RECALL);
        let mut sessions: Vec<_> = self.state.doubtful.drain(..count).collect();
        // What a session that has ended was given is settled when its worker comes back, or when its time is over.
        sessions.retain(|(worker, id)| self.state.board.get(worker, *id).is_some());
        if sessions.is_empty() {
            return;
        }
        let mut known: HashSet<_> = self.state.accepting.iter().copied().collect();
        known.extend(self.state.accepted.iter().map(|one| (one.run, one.fence)));
        for (worker, id) in &sessions {
            let live = self.state.board.get(worker, *id);
            known.extend(live.into_iter().flat_map(|live| pairs(&live.holding())));
        }
        self.state.claiming = true;
        let (queue, panics) = self.asking();
        self.state.jobs.push(Box::pin(async move {
            let given = asked(&panics, queue.unaccepted(sessions.clone())).await;
            Done::Recalled { sessions, known, given }
        }));
    }

    pub(super) fn accept(&mut self) {
        if !self.state.accepting.is_empty() || self.state.accepted.is_empty() {
            return;
        }
        let started = std::mem::take(&mut self.state.accepted);
        self.state.accepting = started.iter().map(|one| (one.run, one.fence)).collect();
        let (queue, panics) = self.asking();
        self.state.jobs.push(Box::pin(async move {
            let counted =
                asked(&panics, queue.accept(started.iter().map(|one| (one.run, one.fence)).collect())).await;
            Done::Accepted { started, counted }
        }));
    }

    pub(super) fn renew(&mut self) {
        let sessions: Vec<_> =
            self.state.board.sessions().map(|live| (live.session.worker.clone(), live.session.id)).collect();
        if self.state.renewing || sessions.is_empty() {
            return;
        }
        self.state.renewing = true;
        let (queue, panics) = self.asking();
        self.state.jobs.push(Box::pin(async move {
            let alive = asked(&panics, queue.renew(sessions.clone())).await;
            Done::Renewed { sessions, alive }
        }));
    }

    pub(super) fn sweep(&mut self) {
        if self.state.doubtful.is_empty() {
            self.state.doubtful = self.state.board.sessions().map(key).collect();
        }
        let (queue, panics) = self.asking();
        self.state
            .jobs
            .push(Box::pin(async move { Done::Selectors(asked(&panics, queue.selectors()).await) }));
    }

    pub(super) fn close_in_queue(&mut self, worker: &Name, session: SessionId) {
        let ((queue, panics), worker) = (self.asking(), worker.clone());
        self.state.jobs.push(Box::pin(async move {
            let closed = asked(&panics, queue.close(worker.clone(), session)).await;
            Done::Closed { worker, closed }
        }));
    }

    pub(super) fn asking(&self) -> (Arc<dyn Queue>, Panics) {
        (self.queue.clone(), self.metrics.panics.clone())
    }
}

/// What the queue answers. A panic is an answer too, to this call alone.
pub(super) async fn asked<T>(
    panics: &Panics,
    call: impl Future<Output = Result<T, QueueError>>,
) -> Result<T, QueueError> {
    let answer = panics.catch(PanicIn::Queue, call).await;
    answer.unwrap_or_else(|| Err(QueueError::Unusable("the call of the queue panicked".into())))
}
