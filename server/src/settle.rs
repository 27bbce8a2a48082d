//! How an attempt ends, whoever says so: its worker by a report, or the server that finds it lost.
//!
//! The fence is held against the queue; what follows is decided by [`next`](crate::run::next); a durable run's end is committed before it leaves the queue, a
//! fast run's is kept by the queue and reaches the store through the journal. Saying it twice changes nothing.

mod count;
mod decide;
mod end;
mod unknown;

pub(crate) use decide::micros;
pub use decide::{Claim, claim, unknown};
pub use end::{End, Verdict, Witness};

use std::sync::Arc;

use bytes::Bytes;
use tracing::{debug, warn};

use crate::clock::StoreClock;
use crate::journal::{Journal, mirror};
use crate::metrics::{Metrics, RunEnd};
use crate::planted::{self, Bug};
use crate::queue::{Ending, EndingCause, Queue, Settled, Settlement, Step};
use crate::run::{AttemptEnd, Conclusion, Durability, LastAttempt, Next, Outcome, Run, RunId, State};
use crate::store::{EndedAttempt, EndedRun, Recorded, Store};
use crate::unqueued::Unqueued;
use decide::{Decided, decide};

/// Ends attempts and runs. Cloning is cheap.
#[derive(Clone)]
pub struct Settler {
    pub queue: Arc<dyn Queue>,
    pub store: Store,
    pub journal: Journal,
    pub clock: StoreClock,
    pub metrics: Arc<Metrics>,
    pub unqueued: Unqueued,
    /// This server's id.
    pub server: String,
}

impl Settler {
    /// Ends attempts. One verdict each, in order.
    pub async fn end(&self, ends: Vec<End>) -> Vec<Verdict> {
        let mut verdicts = vec![Verdict::Retry; ends.len()];
        let records = match self.queue.look(ends.iter().map(|end| end.run).collect()).await {
            Ok(records) => records,
            Err(error) => {
                warn!(%error, "failed to look up reported runs");
                return verdicts;
            }
        };
        let now = self.clock.now();
        let (mut durable, mut fast, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
        for (index, (end, record)) in ends.into_iter().zip(records).enumerate() {
            let Some(record) = record else {
                unknown.push((index, end));
                continue;
            };
            match decide(index, self.dated(end), &record, now) {
                Ok(decided) if decided.is_durable() => durable.push(decided),
                Ok(decided) => fast.push(decided),
                Err(verdict) => verdicts[index] = verdict,
            }
        }
        self.end_durable(durable, &mut verdicts).await;
        self.end_fast(fast, &mut verdicts).await;
        self.end_unknown(unknown, &mut verdicts).await;
        verdicts
    }

    /// The worker of an attempt that was lost cannot say when that was: it is when the server finds out.
    fn dated(&self, end: End) -> End {
        let lost = |end: AttemptEnd| match end.outcome {
            Outcome::Lost => AttemptEnd { ended: end.ended.or_else(|| Some(self.clock.now())), ..end },
            _ => end,
        };
        End { end: end.end.map(lost), ..end }
    }

    /// The store first. What it has is then settled in the queue; what it refuses is not.
    async fn end_durable(&self, decided: Vec<Decided>, verdicts: &mut [Verdict]) {
        if planted::is(Bug::EarlyAcknowledgement) {
            decided.iter().for_each(|one| verdicts[one.index] = Verdict::Recorded);
            let (settler, mut unheard) = (self.clone(), verdicts.to_vec());
            planted::unheard(async move { settler.commit_durable(decided, &mut unheard).await });
            return;
        }
        self.commit_durable(decided, verdicts).await;
    }

    async fn commit_durable(&self, decided: Vec<Decided>, verdicts: &mut [Verdict]) {
        if decided.is_empty() {
            return;
        }
        let (accepted, unaccepted): (Vec<_>, Vec<_>) = decided.into_iter().partition(Decided::is_recorded);
        let recorded =
            match self.store.end_attempts(accepted.iter().filter_map(|one| self.row(one)).collect()).await {
                Ok(recorded) => recorded,
                Err(error) => {
                    warn!(%error, "failed to store the ends of attempts");
                    return;
                }
            };
        let (mut settled, mut over) = (unaccepted, Vec::new());
        for (one, recorded) in accepted.into_iter().zip(recorded) {
            match recorded {
                Recorded::Recorded => {
                    self.count(&one.end, &one.next);
                    settled.push(one);
                }
                Recorded::Already => settled.push(one),
                Recorded::Earlier | Recorded::Stale | Recorded::Unknown => {
                    debug!(run = %one.end.run, ?recorded, "the store has another end of a run: dropped from the queue");
                    verdicts[one.index] = Verdict::Stale;
                    over.push(one.end.run);
                }
            }
        }
        self.drop_ended(over).await;
        for one in &settled {
            self.show(one);
        }
        self.settle(settled, verdicts).await;
    }

    /// The queue first, which keeps the result; the store follows.
    async fn end_fast(&self, decided: Vec<Decided>, verdicts: &mut [Verdict]) {
        let rows: Vec<_> = decided.iter().map(|one| (one.index, self.row(one))).collect();
        self.settle(decided, verdicts).await;
        for (index, row) in rows {
            if verdicts[index] == Verdict::Recorded
                && let Some(row) = row
            {
                self.journal.attempt(row).await;
            }
        }
    }

    async fn settle(&self, decided: Vec<Decided>, verdicts: &mut [Verdict]) {
        if decided.is_empty() {
            return;
        }
        let settlements = decided.iter().map(|one| self.settlement(one)).collect();
        match self.queue.settle(settlements).await {
            Ok(settled) => {
                for (one, settled) in decided.into_iter().zip(settled) {
                    // What the store records was counted when it was.
                    if settled == Settled::Settled && !(one.is_durable() && one.is_recorded()) {
                        self.count(&one.end, &one.next);
                    }
                    verdicts[one.index] = match settled {
                        Settled::Settled | Settled::Already | Settled::Unknown => Verdict::Recorded,
                        Settled::Stale => Verdict::Stale,
                    };
                }
            }
            // Said again, the store answers that it has it, and the queue is asked once more.
            Err(error) => warn!(%error, "failed to settle attempts in the queue"),
        }
    }

    fn settlement(&self, one: &Decided) -> Settlement {
        let step = match one.next {
            Next::Again { delay, counters } => Step::Again { delay, counters, attempt: one.end.number },
            Next::End { .. } => Step::Remove { result: self.result(one) },
        };
        let fence = (!planted::is(Bug::UnfencedReport)).then_some(one.end.fence);
        Settlement { run: one.end.run, fence, step }
    }

    /// What the queue keeps of a fast run.
    fn result(&self, one: &Decided) -> Option<Bytes> {
        let Next::End { state, reason, counters } = one.next else { return None };
        if one.is_durable() {
            return None;
        }
        let end = one.end.end.clone();
        let conclusion = Conclusion {
            run: one.run.clone(),
            state,
            reason,
            error: end.as_ref().map_or_else(String::new, |end| end.error.clone()),
            counters,
            attempt: end.map(|end| LastAttempt {
                fence: one.end.fence,
                number: one.end.number,
                worker: one.end.worker.clone(),
                end,
            }),
            server: self.server.clone(),
        };
        Some(conclusion.encode().into())
    }

    /// As the store has it. An attempt that nobody took charge of is no row, unless it ends the run.
    fn row(&self, one: &Decided) -> Option<EndedAttempt> {
        let end = match (&one.end.end, &one.next) {
            (Some(end), _) => end.clone(),
            (None, Next::End { .. }) => {
                AttemptEnd { ended: Some(self.clock.now()), ..AttemptEnd::lost("never accepted") }
            }
            (None, Next::Again { .. }) => return None,
        };
        Some(EndedAttempt {
            run: one.run.clone(),
            fence: one.end.fence,
            number: one.end.number,
            worker: one.end.worker.clone(),
            server: self.server.clone(),
            end,
            next: one.next,
        })
    }

    fn show(&self, one: &Decided) {
        let (state, counters) = match one.next {
            Next::Again { counters, .. } => (State::Queued, counters),
            Next::End { state, counters, .. } => (state, counters),
        };
        let started = one.end.end.as_ref().and_then(|end| end.started);
        if let Some(mirror) = mirror(&one.run, state, started, counters.failed) {
            self.journal.mirror(mirror);
        }
    }

    /// Ends runs that end without an attempt. Those that could not be are offered again by the queue.
    pub async fn conclude(&self, endings: Vec<Ending>) {
        let (mut rows, mut damaged) = (Vec::new(), Vec::new());
        for ending in endings {
            match Run::decode(ending.record.run, &ending.record.body) {
                Ok(run) => rows.push((ended(run, ending.cause, &self.server), RunEnd::from(ending.cause))),
                Err(error) => {
                    warn!(run = %ending.record.run, %error, "a damaged run is dropped from the queue");
                    damaged.push(ending.record.run);
                }
            }
        }
        self.drop_ended(damaged).await;
        self.end_unrun(rows).await;
    }

    /// Ends runs that wait in the queue. Those that could not be ended are offered again by it.
    pub async fn end_unrun(&self, rows: Vec<(EndedRun, RunEnd)>) {
        let (durable, fast): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(row, _)| row.run.durability == Durability::Durable);
        let (durable, ends): (Vec<_>, Vec<_>) = durable.into_iter().unzip();
        if !durable.is_empty() {
            match self.store.end_runs(durable.clone()).await {
                Ok(recorded) => self.count_recorded(ends, &recorded),
                Err(error) => {
                    warn!(%error, "failed to store the ends of runs");
                    return self.conclude_fast(fast).await;
                }
            }
        }
        for row in &durable {
            if let Some(mirror) = mirror(&row.run, row.state, None, 0) {
                self.journal.mirror(mirror);
            }
        }
        let settlements = durable.iter().map(|row| gone(row.run.id, None)).collect();
        if let Err(error) = self.queue.settle(settlements).await {
            warn!(%error, "failed to remove ended runs from the queue");
        }
        self.conclude_fast(fast).await;
    }

    async fn conclude_fast(&self, rows: Vec<(EndedRun, RunEnd)>) {
        if rows.is_empty() {
            return;
        }
        let settlements =
            rows.iter().map(|(row, _)| gone(row.run.id, Some(concluded(row).encode().into()))).collect();
        match self.queue.settle(settlements).await {
            Ok(settled) => {
                for ((row, end), settled) in rows.into_iter().zip(settled) {
                    if settled == Settled::Settled {
                        self.metrics.runs_ended.count(end);
                    }
                    self.journal.ended(row).await;
                }
            }
            Err(error) => warn!(%error, "failed to remove ended runs from the queue"),
        }
    }

    /// The store knows that these runs have ended: the queue forgets them.
    pub async fn drop_ended(&self, runs: Vec<RunId>) {
        let count = runs.len();
        let gone: Vec<_> = runs.into_iter().map(|run| gone(run, None)).collect();
        if !gone.is_empty()
            && let Err(error) = self.queue.settle(gone).await
        {
            warn!(runs = count, %error, "failed to remove ended runs from the queue");
        }
    }
}

fn gone(run: RunId, result: Option<Bytes>) -> Settlement {
    Settlement { run, fence: None, step: Step::Remove { result } }
}

fn ended(run: Run, cause: EndingCause, server: &str) -> EndedRun {
    let (state, error) = match cause {
        EndingCause::Expired => (State::Expired, "not started in time"),
        EndingCause::Overlapped => (State::Skipped, "the run before it has not ended"),
        EndingCause::Replaced => (State::Cancelled, "replaced by a later run"),
        EndingCause::Cancelled => (State::Cancelled, "cancelled while it waited"),
    };
    EndedRun { run, state, reason: None, error: error.to_owned(), server: server.to_owned() }
}

fn concluded(row: &EndedRun) -> Conclusion {
    Conclusion {
        run: row.run.clone(),
        state: row.state,
        reason: row.reason,
        error: row.error.clone(),
        counters: crate::run::Counters::default(),
        attempt: None,
        server: row.server.clone(),
    }
}
