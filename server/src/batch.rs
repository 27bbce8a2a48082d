//! Group commit without a timer: the first item goes at once; what arrives while a write is in flight goes together in the next.

use std::future::Future;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

/// The most items in one write.
const MOST_ITEMS: usize = 500;
/// The most callers that wait for a write to begin; further ones wait for a place among them.
const MOST_CALLERS: usize = 1024;

/// A cheap handle to the one task that writes items of type `T` and answers each with an `R`.
pub struct Batcher<T, R> {
    calls: mpsc::Sender<Call<T, R>>,
}

struct Call<T, R> {
    items: Vec<T>,
    answer: oneshot::Sender<Vec<R>>,
}

/// The writer is gone: the server is stopping.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the server is stopping")]
pub struct Stopped;

impl<T, R> Clone for Batcher<T, R> {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone() }
    }
}

impl<T: Send + 'static, R: Send + 'static> Batcher<T, R> {
    /// Starts the writer. It answers each item, in order, and ends when the last handle is dropped.
    pub fn spawn<W, F>(tracker: &TaskTracker, write: W) -> Self
    where
        W: Fn(Vec<T>) -> F + Send + 'static,
        F: Future<Output = Vec<R>> + Send + 'static,
    {
        let (calls, inbox) = mpsc::channel(MOST_CALLERS);
        tracker.spawn(run(inbox, write));
        Self { calls }
    }

    /// Has these items written, and waits for their answers.
    pub async fn write(&self, items: Vec<T>) -> Result<Vec<R>, Stopped> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(Call { items, answer }).await.map_err(|_| Stopped)?;
        answered.await.map_err(|_| Stopped)
    }
}

async fn run<T, R, W, F>(mut inbox: mpsc::Receiver<Call<T, R>>, write: W)
where
    W: Fn(Vec<T>) -> F,
    F: Future<Output = Vec<R>>,
{
    while let Some(first) = inbox.recv().await {
        let mut items = first.items;
        let mut callers = vec![(items.len(), first.answer)];
        while items.len() < MOST_ITEMS
            && let Ok(call) = inbox.try_recv()
        {
            callers.push((call.items.len(), call.answer));
            items.extend(call.items);
        }
        let mut answers = write(items).await.into_iter();
        for (count, caller) in callers {
            // A caller that has gone does not need its answer; what it asked for is done.
            caller.send(answers.by_ref().take(count).collect()).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn what_arrives_during_a_write_goes_together_in_the_next() {
        let tracker = TaskTracker::new();
        let (gate, sizes) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let batcher = Batcher::spawn(&tracker, {
            let (gate, sizes) = (gate.clone(), sizes.clone());
            move |items: Vec<u32>| {
                let (gate, sizes) = (gate.clone(), sizes.clone());
                async move {
                    sizes.lock().unwrap().push(items.len());
                    gate.acquire().await.unwrap().forget();
                    items.into_iter().map(|n| n * 10).collect()
                }
            }
        });
        let call = |items: Vec<u32>| {
            let batcher = batcher.clone();
            tracker.spawn(async move { batcher.write(items).await })
        };
        let first = call(vec![1]);
        while sizes.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let others = [call(vec![2, 3]), call(vec![]), call(vec![4])];
        while batcher.calls.capacity() > MOST_CALLERS - 3 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(2);
        assert_eq!(first.await.unwrap(), Ok(vec![10]));
        let mut answers = Vec::new();
        for other in others {
            answers.push(other.await.unwrap().unwrap());
        }
        assert_eq!(answers, [vec![20, 30], vec![], vec![40]]);
        assert_eq!(*sizes.lock().unwrap(), [1, 3]);
    }

    #[tokio::test]
    async fn the_writer_ends_with_its_last_handle() {
        let tracker = TaskTracker::new();
        let batcher = Batcher::spawn(&tracker, |items: Vec<u8>| async move { items });
        drop(batcher);
        tracker.close();
        tracker.wait().await;
    }
}
