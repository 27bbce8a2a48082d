//! Group commit without a timer: the first item goes at once; what arrives while a write is in flight goes together in the next.

use std::future::Future;

use thiserror::Error;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tracing::error;

use crate::metrics::PanicIn;
use crate::panics::Panics;

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
    answer: oneshot::Sender<Result<Vec<R>, Unanswered>>,
}

/// Why there is no answer. The items may have been written all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Unanswered {
    #[error("the server is stopping")]
    Stopping,
    #[error("the server panicked while it wrote this: see its log")]
    Panicked,
}

impl<T, R> Clone for Batcher<T, R> {
    fn clone(&self) -> Self {
        Self { calls: self.calls.clone() }
    }
}

impl<T: Clone + Send + 'static, R: Send + 'static> Batcher<T, R> {
    /// Starts the writer. It answers each item, in order, and ends when the last handle is dropped. What is written may be written again: if a write
    /// panics, the items of each caller are written alone, so that what one of them brought costs nobody else.
    pub fn spawn<W, F>(tracker: &TaskTracker, panics: &Panics, write: W) -> Self
    where
        W: Fn(Vec<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Vec<R>> + Send + 'static,
    {
        let (calls, inbox) = mpsc::channel(MOST_CALLERS);
        tracker.spawn(run(inbox, panics.clone(), write));
        Self { calls }
    }

    /// Has these items written, and waits for their answers. What nobody waits for any more when its turn comes is not written.
    pub async fn write(&self, items: Vec<T>) -> Result<Vec<R>, Unanswered> {
        let (answer, answered) = oneshot::channel();
        self.calls.send(Call { items, answer }).await.map_err(|_| Unanswered::Stopping)?;
        answered.await.map_err(|_| Unanswered::Stopping)?
    }
}

async fn run<T, R, W, F>(mut inbox: mpsc::Receiver<Call<T, R>>, panics: Panics, write: W)
where
    T: Clone,
    W: Fn(Vec<T>) -> F,
    F: Future<Output = Vec<R>>,
{
    while let Some(first) = inbox.recv().await {
        let (mut count, mut calls) = (0, Vec::new());
        let mut next = Some(first);
        while let Some(call) = next {
            // Whoever has gone was told nothing and asks again: under load, work for nobody would leave none for those who wait.
            if !call.answer.is_closed() {
                count += call.items.len();
                calls.push(call);
            }
            next = if count < MOST_ITEMS { inbox.try_recv().ok() } else { None };
        }
        if calls.is_empty() {
            continue;
        }
        if let Some(calls) = together(calls, &panics, &write).await {
            for Call { items, answer } in calls {
                let answers = panics.catch(PanicIn::Batch, async { write(items).await }).await;
                answer.send(answers.ok_or(Unanswered::Panicked)).ok();
            }
        }
    }
}

/// Writes what several callers brought. They come back without their answers if that panics, or if there is only one.
async fn together<T: Clone, R, F: Future<Output = Vec<R>>>(
    calls: Vec<Call<T, R>>,
    panics: &Panics,
    write: &impl Fn(Vec<T>) -> F,
) -> Option<Vec<Call<T, R>>> {
    if calls.len() == 1 {
        return Some(calls);
    }
    let items = calls.iter().flat_map(|call| call.items.iter().cloned()).collect();
    let Some(answers) = panics.catch(PanicIn::Batch, async { write(items).await }).await else {
        error!(callers = calls.len(), "what was written together is written again, each caller's alone");
        return Some(calls);
    };
    let mut answers = answers.into_iter();
    for Call { items, answer } in calls {
        // A caller that has gone does not need its answer; what it asked for is done.
        answer.send(Ok(answers.by_ref().take(items.len()).collect())).ok();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::sync::{Arc, Mutex};
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn what_arrives_during_a_write_goes_together_in_the_next() {
        let tracker = TaskTracker::new();
        let (gate, sizes) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let batcher = Batcher::spawn(&tracker, &Metrics::new().panics, {
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
    async fn nothing_is_written_for_a_caller_that_has_gone() {
        let tracker = TaskTracker::new();
        let (gate, written) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
        let batcher = Batcher::spawn(&tracker, &Metrics::new().panics, {
            let (gate, written) = (gate.clone(), written.clone());
            move |items: Vec<u32>| {
                let (gate, written) = (gate.clone(), written.clone());
                async move {
                    written.lock().unwrap().extend(items.iter().copied());
                    gate.acquire().await.unwrap().forget();
                    items
                }
            }
        });
        let call = |item: u32| {
            let batcher = batcher.clone();
            tracker.spawn(async move { batcher.write(vec![item]).await })
        };
        let first = call(1);
        while written.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        let [gone, stays] = [call(2), call(3)];
        while batcher.calls.capacity() > MOST_CALLERS - 2 {
            tokio::task::yield_now().await;
        }
        gone.abort();
        assert!(gone.await.unwrap_err().is_cancelled());
        gate.add_permits(2);
        assert_eq!((first.await.unwrap(), stays.await.unwrap()), (Ok(vec![1]), Ok(vec![3])));
        assert_eq!(*written.lock().unwrap(), [1, 3]);
    }

    #[tokio::test]
    async fn the_writer_ends_with_its_last_handle() {
        let tracker = TaskTracker::new();
        let batcher = Batcher::spawn(&tracker, &Metrics::new().panics, |items: Vec<u8>| async move { items });
        drop(batcher);
        tracker.close();
        tracker.wait().await;
    }

    #[tokio::test]
    async fn a_write_that_panics_fails_for_whoever_brought_what_it_panics_at_and_for_nobody_else() {
        let (tracker, metrics) = (TaskTracker::new(), Metrics::new());
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let batcher = Batcher::spawn(&tracker, &metrics.panics, {
            let (gate, begun) = (gate.clone(), begun.clone());
            move |items: Vec<u32>| {
                let (gate, begun) = (gate.clone(), begun.clone());
                async move {
                    begun.add_permits(1);
                    gate.acquire().await.unwrap().forget();
                    assert!(!items.contains(&13), "13 is not written");
                    items
                }
            }
        });
        let call = |items: Vec<u32>| {
            let batcher = batcher.clone();
            tracker.spawn(async move { batcher.write(items).await })
        };
        let first = call(vec![0]);
        begun.acquire().await.unwrap().forget();
        let calls = [first, call(vec![1, 2]), call(vec![12, 13]), call(vec![3])];
        while batcher.calls.capacity() != MOST_CALLERS - 3 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(100);
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.unwrap());
        }
        assert_eq!(answers, [Ok(vec![0]), Ok(vec![1, 2]), Err(Unanswered::Panicked), Ok(vec![3])]);
        assert_eq!(batcher.write(vec![4]).await, Ok(vec![4]), "the writer goes on");
        assert!(metrics.text().unwrap().contains("marabunta_panics_total{where=\"batch\"} 2\n"));
    }
}
