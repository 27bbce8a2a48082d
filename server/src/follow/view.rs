//! A run as it stands now: the queue's knowledge laid over the store's.

use std::time::Duration;

use marabunta_proto::name::Name;
use tracing::debug;

use super::Transition;
use super::handle::{Follow, FollowError};
use super::transition::transitions;
use crate::queue::{Phase, Record};
use crate::run::{Conclusion, Durability, Fence, Place, Run, RunId, State};
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

    async fn waiting(&self, run: &Run, phase: &Phase) -> String {
        match phase {
            Phase::Due(delay) => format!("due in {}", marabunta_proto::duration::format(whole(*delay))),
            Phase::Missed => "was missed while no server was up: about to be let go or skipped".into(),
            Phase::Behind => "waits until an earlier run of its task has ended".into(),
            Phase::Ready => self.unclaimed(&run.place).await,
            Phase::InFlight { accepted: false, worker, .. } => {
                format!("sent to `{worker}`, not accepted yet")
            }
            Phase::InFlight { .. } => String::new(),
            Phase::Ending => "about to end".into(),
        }
    }

    /// Why nobody has taken it.
    async fn unclaimed(&self, place: &Place) -> String {
        let workers: Vec<Name> = match place {
            Place::Worker(name) => vec![name.clone()],
            Place::Any(selector) => match self.store.matching(selector).await {
                Ok(workers) => workers,
                Err(error) => {
                    debug!(%error, "failed to say why a run waits");
                    return "waits for a worker".into();
                }
            },
        };
        if workers.is_empty() {
            return format!("no worker matches `{place}`");
        }
        let connected = match self.queue.sessions(workers).await {
            Ok(sessions) => sessions.iter().flatten().count(),
            Err(_) => return "waits for a worker".into(),
        };
        match (place, connected) {
            (Place::Worker(name), 0) => format!("worker `{name}` is not connected"),
            (Place::Worker(name), _) => format!("worker `{name}` has no free slot, or is drained"),
            (Place::Any(_), 0) => format!("no worker of `{place}` is connected"),
            (Place::Any(_), count) => {
                format!("all {count} connected workers of `{place}` are busy or drained")
            }
        }
    }
}

/// To the second, so that it can be read; what is shorter stays as it is.
fn whole(delay: Duration) -> Duration {
    if delay > Duration::from_secs(1) { Duration::from_secs(delay.as_secs()) } else { delay }
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
