//! Runs as people see them.

use bytes::Bytes;
use marabunta_proto::v1;

use super::job::{proto_durability, proto_policy, proto_priority};
use super::time::timestamp;
use crate::follow::{Cursor, Event, Transition, View};
use crate::run::{Outcome, Reason, State};
use crate::store::{AttemptView, Message, MessageKind, RunView};

/// A run as it stands in a list.
pub fn run(view: RunView) -> v1::Run {
    let run = view.run;
    let task = run.task.as_ref();
    v1::Run {
        id: run.id.to_string(),
        task_id: task.map_or_else(String::new, |task| task.id.to_string()),
        task_name: task.map_or_else(String::new, |task| task.name.to_string()),
        group: run.group.map_or_else(String::new, |group| group.to_string()),
        target: run.place.to_string(),
        worker: view.worker.map_or_else(String::new, |worker| worker.to_string()),
        state: state(view.state).into(),
        reason: view.reason.map_or(v1::Reason::Unspecified, reason).into(),
        error: view.error,
        exit_code: view.exit_code,
        handler: run.handler.to_string(),
        payload: String::new(),
        result: text(&view.result),
        priority: proto_priority(run.priority),
        durability: proto_durability(run.durability),
        policy: Some(proto_policy(&run.policy)),
        created: Some(timestamp(run.created)),
        due: Some(timestamp(view.ready)),
        started: view.started.map(timestamp),
        ended: view.ended.map(timestamp),
        failed: view.counters.failed,
        lost: view.counters.lost,
        waiting: String::new(),
        attempts: Vec::new(),
        transitions: Vec::new(),
    }
}

/// A run with all that is known of it. `payload`: `None` for one that is not stored any more.
pub fn run_detail(view: View, payload: Option<Bytes>) -> v1::Run {
    let View { run: mut row, transitions, waiting, latest: _ } = view;
    let attempts = std::mem::take(&mut row.attempts);
    v1::Run {
        payload: payload.map_or_else(String::new, |payload| text(&payload)),
        waiting,
        attempts: attempts.into_iter().map(attempt).collect(),
        transitions: transitions.into_iter().map(transition).collect(),
        ..run(row)
    }
}

pub fn follow_event(cursor: Cursor, event: Event) -> v1::FollowEvent {
    use v1::follow_event::Event as Wire;
    let event = match event {
        Event::Transition(one) => Wire::Transition(transition(one)),
        Event::Output { attempt, message } => Wire::Output(output(attempt, message.message)),
        Event::End(view) => Wire::End(run_detail(*view, None)),
    };
    v1::FollowEvent { cursor: cursor.to_string(), event: Some(event) }
}

fn output(attempt: u32, message: Message) -> v1::Output {
    let kind = match message.kind {
        MessageKind::Stdout => v1::MessageKind::Stdout,
        MessageKind::Stderr => v1::MessageKind::Stderr,
        MessageKind::Note => v1::MessageKind::Note,
        MessageKind::Progress => v1::MessageKind::Progress,
    };
    v1::Output { attempt, kind: kind.into(), data: message.data, time: Some(timestamp(message.time)) }
}

fn attempt(attempt: AttemptView) -> v1::Attempt {
    v1::Attempt {
        number: attempt.number,
        worker: attempt.worker.to_string(),
        server: attempt.server,
        started: attempt.started.map(timestamp),
        ended: attempt.ended.map(timestamp),
        outcome: attempt.outcome.map_or(v1::Outcome::Unspecified, outcome).into(),
        exit_code: attempt.exit_code,
        error: attempt.error,
        output_bytes: attempt.output_bytes,
        truncated: attempt.truncated,
        fence: attempt.fence.0,
    }
}

fn transition(transition: Transition) -> v1::Transition {
    v1::Transition {
        time: Some(timestamp(transition.time)),
        state: state(transition.state).into(),
        server: transition.server,
        worker: transition.worker,
        note: transition.note,
    }
}

pub fn state(state: State) -> v1::RunState {
    match state {
        State::Todo => v1::RunState::Todo,
        State::Queued => v1::RunState::Queued,
        State::Running => v1::RunState::Running,
        State::Done => v1::RunState::Done,
        State::Error => v1::RunState::Error,
        State::Cancelled => v1::RunState::Cancelled,
        State::Expired => v1::RunState::Expired,
        State::Skipped => v1::RunState::Skipped,
    }
}

fn reason(reason: Reason) -> v1::Reason {
    match reason {
        Reason::Failed => v1::Reason::Failed,
        Reason::Timeout => v1::Reason::Timeout,
        Reason::Lost => v1::Reason::Lost,
        Reason::Poison => v1::Reason::Poison,
        Reason::Rejected => v1::Reason::Rejected,
    }
}

fn outcome(outcome: Outcome) -> v1::Outcome {
    match outcome {
        Outcome::Succeeded => v1::Outcome::Succeeded,
        Outcome::Failed => v1::Outcome::Failed,
        Outcome::TimedOut => v1::Outcome::TimedOut,
        Outcome::Cancelled => v1::Outcome::Cancelled,
        Outcome::Rejected => v1::Outcome::Rejected,
        Outcome::Lost => v1::Outcome::Lost,
    }
}

/// JSON is UTF-8; what plain SQL made of it may not be.
pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
