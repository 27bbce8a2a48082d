//! What becomes of a panic: it is logged where it happens (`app` sets that up), counted where it is caught, and ends no more than it must.
//!
//! What holds no state of its own is asked again or answered with an error: a call, a batch, a task of the planner. A loop begins anew. The owner of
//! the sessions drops its state, which may be torn, and its workers come back. What can do neither ends the process.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt as _;
use tracing::error;

use crate::metrics::{Family, PanicIn};

/// Catches panics and counts them, unless it is the default, which only catches them. Cloning is cheap.
#[derive(Clone, Default)]
pub struct Panics(Option<Arc<Family<PanicIn>>>);

impl Panics {
    pub(crate) fn new(counted: Family<PanicIn>) -> Self {
        Self(Some(Arc::new(counted)))
    }

    /// Counts a panic that was caught elsewhere.
    pub fn count(&self, place: PanicIn) {
        if let Some(counted) = &self.0 {
            counted.count(place);
        }
    }

    /// What the future gives, or `None` if it panics. Nothing may be used afterwards that it may have left half changed.
    pub async fn catch<T>(&self, place: PanicIn, future: impl Future<Output = T>) -> Option<T> {
        let caught = AssertUnwindSafe(future).catch_unwind().await;
        caught.map_err(|_| self.count(place)).ok()
    }

    /// What the work gives for all items, in order. If it panics, what it gives for each item alone: only those at which it panics again are `None`.
    pub async fn each<T: Clone, R, F: Future<Output = Vec<R>>>(
        &self,
        place: PanicIn,
        items: Vec<T>,
        work: impl Fn(Vec<T>) -> F,
    ) -> Vec<Option<R>> {
        if let Some(all) = self.catch(place, async { work(items.clone()).await }).await {
            return all.into_iter().map(Some).collect();
        }
        error!(items = items.len(), "what was done together is done again, each item alone");
        let mut answers = Vec::with_capacity(items.len());
        for item in items {
            let answer = self.catch(place, async { work(vec![item]).await }).await;
            answers.push(answer.and_then(|answers| answers.into_iter().next()));
        }
        answers
    }

    /// The same as [`Panics::catch`] for what does not wait.
    pub fn catch_now<T>(&self, place: PanicIn, work: impl FnOnce() -> T) -> Option<T> {
        catch_unwind(AssertUnwindSafe(work)).map_err(|_| self.count(place)).ok()
    }
}

impl fmt::Debug for Panics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[tokio::test]
    async fn one_bad_item_costs_no_other_item_its_answer() {
        let metrics = Metrics::new();
        let half = async |items: Vec<u32>| -> Vec<u32> {
            items
                .into_iter()
                .map(|item| if item % 2 == 0 { item / 2 } else { panic!("{item} is odd") })
                .collect()
        };
        let panics = &metrics.panics;
        assert_eq!(panics.each(PanicIn::Reaper, vec![2, 4], half).await, [Some(1), Some(2)]);
        assert_eq!(panics.each(PanicIn::Reaper, vec![2, 3, 4], half).await, [Some(1), None, Some(2)]);
        assert!(metrics.text().unwrap().contains("marabunta_panics_total{where=\"reaper\"} 2\n"));
    }
}
