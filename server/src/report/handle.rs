//! The door's side of reports.

use tokio_util::task::TaskTracker;

use super::messages;
use crate::batch::Batcher;
use crate::run::{AttemptEnd, Durability, Lease, Outcome, RunId};
use crate::settle::{End, Settler, Verdict, Witness};
use crate::store::{Message, MessageBatch};

/// Takes reports. Cloning is cheap.
#[derive(Clone)]
pub struct Report {
    messages: Batcher<MessageBatch, Verdict>,
    /// One for each class: what needs no database does not wait behind what does.
    durable: Batcher<End, Verdict>,
    fast: Batcher<End, Verdict>,
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
    /// Starts the writers.
    #[must_use]
    pub fn spawn(tracker: &TaskTracker, settler: &Settler) -> Self {
        let panics = &settler.metrics.panics;
        let keeper = settler.clone();
        let ends = || {
            let settler = settler.clone();
            Batcher::spawn(tracker, panics, move |ends| {
                let settler = settler.clone();
                async move { settler.end(ends).await }
            })
        };
        Self {
            messages: Batcher::spawn(tracker, panics, move |batches| {
                let keeper = keeper.clone();
                async move { messages::keep(&keeper, batches).await }
            }),
            durable: ends(),
            fast: ends(),
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
        let (durable, fast): (Vec<_>, Vec<_>) = ends
            .into_iter()
            .enumerate()
            .filter(|(_, (lease, _))| !missing.contains(&lease.run))
            .partition(|(_, (lease, _))| lease.durability == Durability::Durable);
        let (durable, fast) = tokio::join!(settle(&self.durable, durable), settle(&self.fast, fast));
        for (index, verdict) in durable.into_iter().chain(fast) {
            verdicts[index] = verdict;
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

/// The verdicts on these ends, each with its index; none where the server stops.
async fn settle(
    writer: &Batcher<End, Verdict>,
    ends: Vec<(usize, (Lease, AttemptEnd))>,
) -> Vec<(usize, Verdict)> {
    if ends.is_empty() {
        return Vec::new();
    }
    let (indices, ends): (Vec<_>, Vec<_>) =
        ends.into_iter().map(|(index, (lease, end))| (index, attempt(lease, end))).unzip();
    let verdicts = writer.write(ends).await.unwrap_or_default();
    indices.into_iter().zip(verdicts).collect()
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
