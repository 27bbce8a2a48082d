//! Whether there ever was somebody who can take a run: who mistyped a name is told so at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::run::Place;
use crate::store::{Store, StoreError};

/// How many places are remembered.
const MOST: usize = 100_000;
/// How long the answer is taken for true that there is nobody, or that the store does not say.
const FOR_NOW: Duration = Duration::from_secs(5);
/// How long a submitter waits for an answer that is only a warning.
const PATIENCE: Duration = Duration::from_millis(250);

/// What is known of places. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Known {
    store: Store,
    places: Arc<Mutex<HashMap<Place, Answer>>>,
}

#[derive(Clone, Copy)]
struct Answer {
    known: bool,
    /// `None`: for good.
    until: Option<Instant>,
}

impl Known {
    pub fn new(store: Store) -> Self {
        Self { store, places: Arc::default() }
    }

    /// Whether a worker ever connected that could take from this place. While the store is away, there was one for each.
    pub async fn has(&self, place: &Place) -> bool {
        if let Some(answer) = self.remembered(place) {
            return answer.known;
        }
        let until = Some(Instant::now() + FOR_NOW);
        let answer = match timeout(PATIENCE, self.ask(place)).await {
            Ok(Ok(true)) => Answer { known: true, until: None },
            Ok(Ok(false)) => Answer { known: false, until },
            Ok(Err(_)) | Err(_) => Answer { known: true, until },
        };
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() < MOST || places.contains_key(place) {
            places.insert(place.clone(), answer);
        }
        answer.known
    }

    fn remembered(&self, place: &Place) -> Option<Answer> {
        let places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = places.get(place).copied();
        answer.filter(|answer| answer.until.is_none_or(|until| Instant::now() < until))
    }

    async fn ask(&self, place: &Place) -> Result<bool, StoreError> {
        Ok(match place {
            Place::Worker(name) => self.store.worker(name).await?.is_some(),
            Place::Any(selector) => !self.store.matching(selector).await?.is_empty(),
        })
    }
}
