//! The door's side of reports.

use tokio_util::task::TaskTracker;

use super::messages;
use crate::batch::Batcher;
use crate::run::{AttemptEnd, Lease, Outcome, RunId};
use crate::settle::{End, Settler, Verdict, Witness};
use crate::store::{Message, MessageBatch};

/// Takes reports. Cloning is cheap.
#[derive(Clone)]
pub struct Report {
    messages: Batcher<MessageBatch, Verdict>,
    ends: Batcher<End, Verdict>,
}

/// Messages of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    pub lease: Lease,
    /// The number of the first one, from 0 over the whole attempt.
    pub first: u64,
    pub messages: Vec<Message>,
}

impl Report {
    /// Starts the two writers.
    #[must_use]
    pub fn spawn(tracker: &TaskTracker, settler: &Settler) -> Self {
        let panics = &settler.metrics.panics;
        let (keeper, settler) = (settler.clone(), settler.clone());
        Self {
            messages: Batcher::spawn(tracker, panics, move |batches| {
                let keeper = keeper.clone();
                async move { messages::keep(&keeper, batches).await }
            }),
            ends: Batcher::spawn(tracker, panics, move |ends| {
                let settler = settler.clone();
                async move { settler.end(ends).await }
            }),
        }
    }

    /// Takes a report; the verdicts are in the order of what was given. The end of an attempt whose messages could not be kept is not taken, so
    /// that whoever sees the end has seen them.
    pub async fn take(
        &self,
        messages: Vec<Messages>,
        ends: Vec<(Lease, AttemptEnd)>,
    ) -> (Vec<Verdict>, Vec<Verdict>) {
        let kept = self.keep(messages.iter().map(batch).collect()).await;
        let missing: Vec<RunId> = messages
            .iter()
            .zip(&kept)
            .filter(|(_, verdict)| **verdict == Verdict::Retry)
            .map(|(batch, _)| batch.lease.run)
            .collect();
        let mut verdicts = vec![Verdict::Retry; ends.len()];
        let (indices, ends): (Vec<_>, Vec<_>) = ends
            .into_iter()
            .enumerate()
            .filter(|(_, (lease, _))| !missing.contains(&lease.run))
            .map(|(index, (lease, end))| (index, attempt(lease, end)))
            .unzip();
        if !ends.is_empty()
            && let Ok(taken) = self.ends.write(ends).await
        {
            for (index, verdict) in indices.into_iter().zip(taken) {
                verdicts[index] = verdict;
            }
        }
        (kept, verdicts)
    }

    async fn keep(&self, batches: Vec<MessageBatch>) -> Vec<Verdict> {
        let count = batches.len();
        if count == 0 {
            return Vec::new();
        }
        self.messages.write(batches).await.unwrap_or_else(|_| vec![Verdict::Retry; count])
    }
}

fn batch(messages: &Messages) -> MessageBatch {
    let Messages { lease, first, messages } = messages;
    MessageBatch { run: lease.run, fence: lease.fence, first: *first, messages: messages.clone() }
}

/// A worker that stops gives back what it had not started: that is no loss.
fn attempt(lease: Lease, end: AttemptEnd) -> End {
    let given_back = end.outcome == Outcome::Lost && end.started.is_none();
    let end = (!given_back).then_some(end);
    let Lease { run, fence, attempt: number, worker, .. } = lease;
    End { run, fence, number, worker, end, by: Witness::Worker }
}
