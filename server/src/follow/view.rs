//! A run as it stands now: the queue's knowledge laid over the store's.

use super::Transition;
use super::handle::{Follow, FollowError};
use super::transition::transitions;
use crate::queue::{Phase, Record};
use crate::run::{Conclusion, Durability, Fence, Run, RunId, State};
use crate::store::{AttemptView, RunView};

/// A run, and why it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub run: RunView,
    pub transitions: Vec<Transition>,
    /// Why it is not running, in words; empty for one that runs or has ended.
    pub waiting: String,
    /// The latest attempt by the queue's account, accepted or not: its output may be there before anything else is known of it.
    pub latest: Option<(Fence, u32)>,
}

impl Follow {
    /// The run as it stands now.
    pub async fn view(&self, id: RunId) -> Result<View, FollowError> {
        let record = self.queue.look(vec![id]).await;
        let stored = self.store.run(id).await;
        let mut latest = None;
        let (run, waiting) = match (record, stored) {
            // What has ended in the store has ended, whatever the queue still has to clear away.
            (_, Ok(Some(run))) if run.state.is_final() => (run, String::new()),
            (Ok(records), stored) => match records.into_iter().flatten().next() {
                Some(record) => {
                    latest = record.fence.map(|fence| (fence, record.attempt));
                    self.open(record, stored.ok().flatten()).await?
                }
                None => (self.ended(id, stored?).await?, String::new()),
            },
            (Err(error), Ok(Some(run))) => (run, format!("the queue cannot be asked: {error}")),
            (Err(error), _) => return Err(error.into()),
        };
        Ok(View { transitions: transitions(&run), run, waiting, latest })
    }

    /// The queue has it open.
    async fn open(&self, record: Record, stored: Option<RunView>) -> Result<(RunView, String), FollowError> {
        let run = Run::decode(record.run, &record.body)?;
        let waiting = self.waiting(&run, &record.phase).await;
        let mut view = stored.unwrap_or_else(|| fresh(run));
        view.counters = record.counters;
        view.cancelled |= record.cancelled;
        view.state = match &record.phase {
            Phase::Due(_) | Phase::Missed => State::Todo,
            Phase::InFlight { accepted: true, .. } => State::Running,
            _ => State::Queued,
        };
        if let (Phase::InFlight { worker, server, accepted: true, .. }, Some(fence)) =
            (&record.phase, record.fence)
        {
            view.worker = Some(worker.clone());
            if !view.attempts.iter().any(|attempt| attempt.fence == fence) {
                view.attempts.push(AttemptView {
                    fence,
                    number: record.attempt,
                    worker: worker.clone(),
                    server: server.clone(),
                    started: None,
                    ended: None,
                    outcome: None,
                    exit_code: None,
                    error: String::new(),
                    output_bytes: 0,
                    truncated: false,
                });
            }
        }
        Ok((view, waiting))
    }

    /// The queue has it no more: the store says how it ended, or the queue's memory of fast runs.
    async fn ended(&self, id: RunId, stored: Option<RunView>) -> Result<RunView, FollowError> {
        let fast = stored.as_ref().is_none_or(|run| run.run.durability == Durability::Fast);
        if fast && let Some(kept) = self.queue.results(vec![id]).await?.into_iter().flatten().next() {
            let attempts = stored.map_or_else(Vec::new, |run| run.attempts);
            return Ok(concluded(Conclusion::decode(id, &kept)?, attempts));
        }
        stored.ok_or(FollowError::NotFound(id))
    }
}

/// A run of which the store knows nothing yet.
fn fresh(run: Run) -> RunView {
    RunView {
        state: State::Queued,
        reason: None,
        error: String::new(),
        counters: crate::run::Counters::default(),
        exit_code: None,
        result: bytes::Bytes::new(),
        worker: None,
        server: String::new(),
        ready: run.due,
        started: None,
        ended: None,
        cancelled: false,
        attempts: Vec::new(),
        run,
    }
}

/// A fast run whose history is not written yet, or only these attempts of it.
fn concluded(conclusion: Conclusion, attempts: Vec<AttemptView>) -> RunView {
    let Conclusion { run, state, reason, error, counters, attempt, server } = conclusion;
    let mut view = RunView { state, reason, error, counters, server: server.clone(), attempts, ..fresh(run) };
    let millis = chrono::DateTime::from_timestamp_millis(view.run.id.millis().cast_signed());
    view.ended = millis;
    if let Some(last) = attempt {
        let end = last.end;
        view.exit_code = end.exit_code;
        view.result = end.result;
        view.worker = Some(last.worker.clone());
        (view.started, view.ended) = (end.started, end.ended);
        view.attempts.retain(|attempt| attempt.fence < last.fence);
        view.attempts.push(AttemptView {
            fence: last.fence,
            number: last.number,
            worker: last.worker,
            server,
            started: end.started,
            ended: end.ended,
            outcome: Some(end.outcome),
            exit_code: end.exit_code,
            error: end.error,
            output_bytes: end.output_bytes,
            truncated: end.truncated,
        });
    }
    view
}
