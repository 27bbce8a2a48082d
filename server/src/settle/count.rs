//! What is counted when an attempt or a run has ended: once, by whoever recorded it.

use super::{End, Settler, Witness};
use crate::metrics::{Loss, Requeue, RunEnd};
use crate::queue::EndingCause;
use crate::run::{Next, Outcome};
use crate::store::Recorded;

impl Settler {
    /// This end was recorded just now, with what follows from it.
    pub(super) fn count(&self, end: &End, next: &Next) {
        let outcome = end.end.as_ref().map(|end| end.outcome);
        if outcome == Some(Outcome::Lost) {
            self.metrics.attempts_lost.count(loss(end.by));
        }
        match next {
            Next::Again { .. } => self.metrics.runs_requeued.count(requeue(end.by, outcome)),
            Next::End { state, reason, .. } => {
                if let Some(ended) = RunEnd::of(*state, *reason) {
                    self.metrics.runs_ended.count(ended);
                }
            }
        }
    }

    /// These runs were to be recorded as ended, and those that were not recorded before are counted.
    pub(crate) fn count_recorded(&self, ends: Vec<RunEnd>, recorded: &[Recorded]) {
        for (end, recorded) in ends.into_iter().zip(recorded) {
            if *recorded == Recorded::Recorded {
                self.metrics.runs_ended.count(end);
            }
        }
    }
}

fn loss(by: Witness) -> Loss {
    match by {
        Witness::Worker => Loss::Reported,
        Witness::Departure => Loss::Ended,
        Witness::Silence | Witness::Delivery | Witness::Claim => Loss::Silent,
        Witness::Absence => Loss::Missing,
    }
}

fn requeue(by: Witness, outcome: Option<Outcome>) -> Requeue {
    match (by, outcome) {
        (_, Some(Outcome::Failed)) => Requeue::Failed,
        (_, Some(Outcome::TimedOut)) => Requeue::TimedOut,
        (Witness::Worker, None) => Requeue::GivenBack,
        (Witness::Worker, Some(_)) => Requeue::Reported,
        (Witness::Departure, _) => Requeue::Ended,
        (Witness::Silence, _) => Requeue::Silent,
        (Witness::Absence, _) => Requeue::Missing,
        (Witness::Delivery | Witness::Claim, _) => Requeue::Unaccepted,
    }
}

impl From<EndingCause> for RunEnd {
    fn from(cause: EndingCause) -> Self {
        match cause {
            EndingCause::Expired => Self::Expired,
            EndingCause::Overlapped => Self::Overlapped,
            EndingCause::Replaced => Self::Replaced,
            EndingCause::Cancelled => Self::Cancelled,
        }
    }
}
