//! The changes of a run's state, as its row and its attempts tell them.

use chrono::{DateTime, Utc};

use crate::run::{Outcome, State};
use crate::store::{AttemptView, RunView};

/// A change of a run's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    pub time: DateTime<Utc>,
    pub state: State,
    pub server: String,
    pub worker: String,
    /// Why, where it is not plain.
    pub note: String,
}

/// All of them, oldest first.
#[must_use]
pub(super) fn transitions(view: &RunView) -> Vec<Transition> {
    let first = if view.run.due > view.run.created { State::Todo } else { State::Queued };
    // A run's row names the last server that had to do with it: that is the one that accepted it until somebody has tried it.
    let untouched = view.attempts.is_empty() && !view.state.is_final();
    let accepted_by = if untouched { view.server.as_str() } else { "" };
    let mut all = vec![at(view.run.created, first, accepted_by, "", String::new())];
    if first == State::Todo && view.state != State::Todo && view.state != State::Skipped {
        all.push(at(view.run.due, State::Queued, "", "", String::new()));
    }
    for (index, attempt) in view.attempts.iter().enumerate() {
        if let Some(started) = attempt.started {
            all.push(at(
                started,
                State::Running,
                &attempt.server,
                attempt.worker.as_str(),
                numbered(attempt),
            ));
        }
        let last = index + 1 == view.attempts.len();
        if let (Some(ended), Some(outcome)) = (attempt.ended, attempt.outcome)
            && !(last && view.state.is_final())
        {
            all.push(at(
                ended,
                State::Queued,
                &attempt.server,
                attempt.worker.as_str(),
                again(outcome, &attempt.error),
            ));
        }
    }
    if let (true, Some(ended)) = (view.state.is_final(), view.ended) {
        let worker = view.worker.as_ref().map_or("", |worker| worker.as_str());
        all.push(at(ended, view.state, &view.server, worker, view.error.clone()));
    }
    all
}

fn at(time: DateTime<Utc>, state: State, server: &str, worker: &str, note: String) -> Transition {
    Transition { time, state, server: server.to_owned(), worker: worker.to_owned(), note }
}

fn numbered(attempt: &AttemptView) -> String {
    if attempt.number > 1 { format!("attempt {}", attempt.number) } else { String::new() }
}

fn again(outcome: Outcome, why: &str) -> String {
    match outcome {
        Outcome::Lost if why.is_empty() => "worker lost".to_owned(),
        Outcome::Lost => format!("worker lost: {why}"),
        Outcome::TimedOut => "timed out: tried again".to_owned(),
        _ => "failed: tried again".to_owned(),
    }
}
