//! Ends of attempts of which the queue knows nothing: it has settled them, or has lost them.

use tracing::warn;

use super::{End, Settler, Verdict, Witness, unknown};
use crate::queue::{Entry, Restored};
use crate::run::{Conclusion, Next, Outcome, next};
use crate::store::{EndedAttempt, Recorded, RunView};

impl Settler {
    /// What the store has open is ended all the same; what has ended is compared with this end.
    pub(super) async fn end_unknown(&self, end: End) -> Verdict {
        match self.queue.results(vec![end.run]).await {
            Ok(kept) => {
                if let Some(kept) = kept.into_iter().flatten().next() {
                    return match Conclusion::decode(end.run, &kept) {
                        Ok(Conclusion { attempt: Some(last), .. }) if last.fence == end.fence => {
                            Verdict::Recorded
                        }
                        _ => Verdict::Stale,
                    };
                }
            }
            Err(error) => {
                warn!(%error, "failed to look for a kept result");
                return Verdict::Retry;
            }
        }
        match self.store.run(end.run).await {
            Ok(None) if end.by == Witness::Worker => unknown(end.fence, self.clock.now()),
            Ok(None) => Verdict::Unknown,
            Ok(Some(view)) if view.state.is_final() => {
                let same = view
                    .attempts
                    .iter()
                    .any(|one| one.fence == end.fence && one.outcome != Some(Outcome::Lost));
                if same { Verdict::Recorded } else { Verdict::Stale }
            }
            Ok(Some(view)) => self.end_forgotten(end, view).await,
            Err(error) => {
                warn!(%error, "failed to look up a reported run");
                Verdict::Retry
            }
        }
    }

    /// The queue has lost an open run whose attempt ends now.
    async fn end_forgotten(&self, end: End, view: RunView) -> Verdict {
        // Nobody took charge of it, or it was lost: it goes back with the other open runs when the queue is rebuilt.
        let Some(outcome) =
            end.end.as_ref().map(|end| end.outcome).filter(|outcome| *outcome != Outcome::Lost)
        else {
            return Verdict::Recorded;
        };
        let next = next(&view.run.policy, view.counters, Some(outcome), view.cancelled, rand::random());
        let said = end.clone();
        let row = EndedAttempt {
            run: view.run.clone(),
            fence: end.fence,
            number: end.number,
            worker: end.worker,
            server: self.server.clone(),
            end: end.end.unwrap_or_else(|| crate::run::AttemptEnd::lost("never accepted")),
            next,
        };
        let recorded = match self.store.end_attempts(vec![row]).await {
            Ok(recorded) => recorded.into_iter().next(),
            Err(error) => {
                warn!(%error, "failed to store the end of an attempt");
                return Verdict::Retry;
            }
        };
        if recorded == Some(Recorded::Recorded) {
            self.count(&said, &next);
        }
        match recorded {
            Some(Recorded::Recorded | Recorded::Already) => {
                match next {
                    Next::Again { delay, counters } => {
                        let entry = Entry::of(&view.run, delay);
                        let fence = Some(end.fence);
                        let restored = Restored {
                            entry,
                            counters,
                            attempt: end.number,
                            fence,
                            held: None,
                            unsure: false,
                            missed: false,
                        };
                        if let Err(error) = self.queue.restore(vec![restored]).await {
                            warn!(%error, "failed to queue a retry: it will be tried again");
                            self.unqueued.note([end.run]);
                        }
                    }
                    // Somebody may have given it back to the queue meanwhile, as the store had it before.
                    Next::End { .. } => self.drop_ended(end.run).await,
                }
                Verdict::Recorded
            }
            _ => Verdict::Stale,
        }
    }
}
