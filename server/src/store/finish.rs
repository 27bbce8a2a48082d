//! How attempts and runs end: the fence is checked here too, and a run leaves the open ones in the transaction that records its end.

use std::collections::BTreeMap;

use marabunta_proto::name::Name;

use super::columns;
use super::ending::{self, Account, Again, Ending, Known, Standing};
use super::retry::{Failure, Retry};
use super::{Store, StoreError};
use crate::planted::{self, Bug};
use crate::run::{AttemptEnd, Durability, Fence, Next, Outcome, Reason, Run, State};

/// An attempt has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedAttempt {
    pub run: Run,
    pub fence: Fence,
    /// From 1.
    pub number: u32,
    pub worker: Name,
    /// The server that records it.
    pub server: String,
    pub end: AttemptEnd,
    pub next: Next,
}

/// A run has ended without an attempt that ended it: expired, skipped, cancelled while it waited, lost or buried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedRun {
    pub run: Run,
    /// Final.
    pub state: State,
    /// There exactly for [`State::Error`].
    pub reason: Option<Reason>,
    /// Why, in words.
    pub error: String,
    /// The server that records it.
    pub server: String,
}

/// What became of an [`EndedAttempt`] or [`EndedRun`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Recorded {
    /// Committed now.
    Recorded,
    /// Committed before: the same end once more.
    Already,
    /// Committed now, as an earlier attempt of a fast run whose later ones were written first: the run itself is as it was.
    Earlier,
    /// A later attempt is known, or the run has ended otherwise: nothing was changed.
    Stale,
    /// Neither open nor ended, and not of the class that is accepted unseen.
    Unknown,
}

impl Store {
    /// Records ends of attempts; committed on return. One answer each, in order.
    ///
    /// Of an attempt that was lost its start is what is known of it, and its end is now, unless it says otherwise. One that was recorded as lost is replaced by its worker's own account of the same fence, as long as no later attempt is
    /// known. A fast run whose row is not there yet is recorded from [`EndedAttempt::run`].
    pub async fn end_attempts(&self, ended: Vec<EndedAttempt>) -> Result<Vec<Recorded>, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_end_attempts(&ended).await {
                Ok(recorded) => return Ok(recorded),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    /// Records ends of runs; committed on return. One answer each, in order. A run that is skipped, and a fast one, need not be open.
    pub async fn end_runs(&self, ended: Vec<EndedRun>) -> Result<Vec<Recorded>, StoreError> {
        let mut retry = Retry::default();
        loop {
            match self.try_end_runs(&ended).await {
                Ok(recorded) => return Ok(recorded),
                Err(failure) => retry.after(failure).await?,
            }
        }
    }

    async fn try_end_attempts(&self, items: &[EndedAttempt]) -> Result<Vec<Recorded>, Failure> {
        items.iter().try_for_each(|item| columns::check(&item.run))?;
        let ids: Vec<_> = items.iter().map(|item| item.run.id).collect();
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        let mut standings = ending::standings(&mut transaction, &ids).await?;
        let mut outcomes = ending::outcomes(&mut transaction, &ids).await?;
        let mut recorded = Vec::with_capacity(items.len());
        let (mut attempts, mut entering, mut endings) = (Vec::<Account<'_>>::new(), vec![], vec![]);
        let (mut again, mut earlier) = (BTreeMap::new(), Vec::new());
        for item in items {
            let standing = standings.get_mut(&item.run.id).expect("each run asked for has a standing");
            let before = outcomes.insert((item.run.id, item.fence), item.end.outcome);
            let decision = decide(standing, before, item);
            let known = match (decision, &*standing) {
                (Decision::Refuse(answer), _) => {
                    if let Some(before) = before {
                        outcomes.insert((item.run.id, item.fence), before);
                    }
                    recorded.push(answer);
                    continue;
                }
                (_, Standing::Open(known)) => known.clone(),
                _ => Known::default(),
            };
            if decision == Decision::Replace {
                attempts.retain(|lost| (lost.item.run.id, lost.item.fence) != (item.run.id, item.fence));
                ending::forget_attempt(&mut transaction, item.run.id, item.fence).await?;
            }
            let started = known.started.filter(|_| known.fence == Some(item.fence));
            let ended = item.end.ended.or((item.end.outcome == Outcome::Lost).then_some(now));
            attempts.push(Account { item, started: item.end.started.or(started), ended });
            if decision == Decision::Add {
                earlier.push(item);
                recorded.push(Recorded::Earlier);
                continue;
            }
            recorded.push(Recorded::Recorded);
            *standing = match &item.next {
                Next::Again { delay, counters } => {
                    if *standing == Standing::Absent {
                        entering.push(item);
                    }
                    let ready = ending::after(now, *delay);
                    again.insert(item.run.id, Again { attempt: item, counters: *counters, ready });
                    Standing::Open(Known { fence: Some(item.fence), ..known })
                }
                Next::End { state, reason, counters } => {
                    endings.push(Ending {
                        run: &item.run,
                        state: *state,
                        reason: *reason,
                        error: &item.end.error,
                        failed: counters.failed,
                        lost: counters.lost,
                        worker: Some(item.worker.to_string()),
                        server: &item.server,
                        started: started.or(item.end.started),
                        exit_code: item.end.exit_code,
                        result: &item.end.result,
                    });
                    Standing::Ended(*state)
                }
            };
        }
        ending::record_attempts(&mut transaction, &attempts).await?;
        let overtaken = ending::enter(&mut transaction, now, &entering).await?;
        earlier.extend(entering.iter().filter(|item| overtaken.contains(&item.run.id)));
        ending::again(&mut transaction, now, &again.into_values().collect::<Vec<_>>()).await?;
        ending::leave(&mut transaction, now, &mut endings).await?;
        ending::count(&mut transaction, &earlier).await?;
        transaction.commit().await?;
        Ok(recorded)
    }

    async fn try_end_runs(&self, items: &[EndedRun]) -> Result<Vec<Recorded>, Failure> {
        items.iter().try_for_each(|item| columns::check(&item.run))?;
        let ids: Vec<_> = items.iter().map(|item| item.run.id).collect();
        let mut transaction = self.begin().await?;
        let now = self.now_in(&mut transaction).await?;
        let mut standings = ending::standings(&mut transaction, &ids).await?;
        let mut recorded = Vec::with_capacity(items.len());
        let mut endings = Vec::new();
        for item in items {
            let standing = standings.get_mut(&item.run.id).expect("each run asked for has a standing");
            let unseen = item.run.durability == Durability::Fast || item.state == State::Skipped;
            let known = match standing {
                Standing::Open(known) => std::mem::take(known),
                Standing::Absent if unseen => Known::default(),
                Standing::Absent => {
                    recorded.push(Recorded::Unknown);
                    continue;
                }
                Standing::Ended(state) => {
                    recorded.push(if *state == item.state { Recorded::Already } else { Recorded::Stale });
                    continue;
                }
            };
            recorded.push(Recorded::Recorded);
            *standing = Standing::Ended(item.state);
            endings.push(Ending {
                run: &item.run,
                state: item.state,
                reason: item.reason,
                error: &item.error,
                failed: known.failed,
                lost: known.lost,
                worker: known.worker,
                server: &item.server,
                started: known.started,
                exit_code: None,
                result: &[],
            });
        }
        ending::leave(&mut transaction, now, &mut endings).await?;
        transaction.commit().await?;
        Ok(recorded)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Decision {
    Record,
    /// Record in the place of the same attempt's loss.
    Replace,
    /// Record beside what is known of the run already.
    Add,
    Refuse(Recorded),
}

/// Whether an attempt's end counts, given what is known of the run and how the same attempt ended before.
fn decide(standing: &Standing, before: Option<Outcome>, item: &EndedAttempt) -> Decision {
    let replaces_loss = before == Some(Outcome::Lost) && item.end.outcome != Outcome::Lost;
    match (standing, before) {
        (Standing::Open(_), Some(_)) if replaces_loss && planted::is(Bug::UnfencedReport) => {
            Decision::Replace
        }
        (Standing::Open(_), None) if planted::is(Bug::UnfencedReport) => Decision::Record,
        (Standing::Open(known), Some(_)) if replaces_loss && known.fence == Some(item.fence) => {
            Decision::Replace
        }
        (_, Some(_)) if replaces_loss => Decision::Refuse(Recorded::Stale),
        (_, Some(_)) => Decision::Refuse(Recorded::Already),
        (Standing::Open(known), None) if known.fence <= Some(item.fence) => Decision::Record,
        // The queue had settled it before it gave out the next; the servers wrote their journals in another order.
        (Standing::Open(_) | Standing::Ended(_), None)
            if item.run.durability == Durability::Fast && matches!(item.next, Next::Again { .. }) =>
        {
            Decision::Add
        }
        (Standing::Open(_) | Standing::Ended(_), None) => Decision::Refuse(Recorded::Stale),
        (Standing::Absent, None) if item.run.durability == Durability::Fast => Decision::Record,
        (Standing::Absent, None) => Decision::Refuse(Recorded::Unknown),
    }
}
