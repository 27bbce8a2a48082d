//! How many runs there are, and which is the oldest that waits.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::ops::Bound;

use super::state::State;
use crate::queue::Census;
use crate::run::{Priority, RunId};

type Place = BTreeSet<(Reverse<Priority>, u64, RunId)>;

impl State {
    pub fn census(&self) -> Census {
        let delayed = self.due.len() as u64;
        let ending = self.endings.len() as u64;
        let ready = self.ready.values().map(|place| place.len() as u64).sum();
        let in_flight = self.in_flight.values().map(|runs| runs.len() as u64).sum();
        let behind = (self.runs.len() as u64).saturating_sub(delayed + ending + ready + in_flight);
        let oldest = self.ready.values().flat_map(heads).min();
        Census { delayed, behind, ready, in_flight, ending, oldest }
    }
}

/// Of each urgency the one that is next.
fn heads(place: &Place) -> impl Iterator<Item = RunId> {
    let after = |head: &(Reverse<Priority>, u64, RunId)| (head.0, u64::MAX, head.2);
    std::iter::successors(place.first(), move |head| {
        place.range((Bound::Excluded(after(head)), Bound::Unbounded)).next()
    })
    .map(|head| head.2)
}
