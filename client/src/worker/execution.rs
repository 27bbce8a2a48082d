//! One attempt from its start to its end: payload, handler, time limit, and the end in the reporter's hands.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use marabunta_proto::v1::{AttemptEnd, Outcome};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    attempts::{Assignment, Key, Payload, Stop},
    handler::{Completion, Context, Failure, FailureKind, Handler, Printed},
    payloads::{FetchError, Payloads},
    spool::Entry,
    wire,
};

/// What it takes to execute one attempt.
pub struct Execution {
    pub key: Key,
    pub assignment: Assignment,
    /// `None` if this worker has no handler of that name.
    pub handler: Option<Arc<dyn Handler>>,
    pub payloads: Payloads,
    pub entries: mpsc::Sender<Entry>,
    /// Set, or replaced by a stronger reason, when the attempt is to stop.
    pub stop: watch::Receiver<Option<Stop>>,
}

/// Why the work was told to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Halt {
    Asked(Stop),
    Timeout(Duration),
}

impl Execution {
    /// Executes the attempt and hands its end to the reporter, unless it was abandoned.
    pub async fn run(self) -> Key {
        let (key, entries, stop) = (self.key, self.entries.clone(), self.stop.clone());
        let started = wire::now();
        let end = self.execute().await;
        if *stop.borrow() == Some(Stop::Abandon) {
            return key;
        }
        let end = AttemptEnd { started: Some(started), ended: Some(wire::now()), ..end };
        if entries.send(Entry::End { key, end: Box::new(end) }).await.is_err() {
            tracing::error!(
                key = key.0,
                "an attempt ended after the reporter; its end is not known to anybody"
            );
        }
        key
    }

    async fn execute(mut self) -> AttemptEnd {
        let Some(handler) = self.handler.take() else { return unknown(&self.assignment.handler) };
        let cancel = CancellationToken::new();
        let context = Context::new(&self.assignment, self.key, self.entries.clone(), cancel.clone());
        let deadline = self.assignment.timeout.map(|timeout| (timeout, Instant::now() + timeout));
        let (payload, payloads) = (self.assignment.payload.clone(), self.payloads.clone());
        let handling = context.clone();
        // A task of its own, so that a panic of a handler ends this attempt and nothing else.
        let mut work = JoinSet::new();
        work.spawn(async move {
            let payload = fetch(payload, &payloads, &handling).await?;
            handler.handle(handling, payload).await
        });
        let mut halt = None;
        let result = loop {
            tokio::select! {
                Some(result) = work.join_next() => break result,
                why = stopped(&mut self.stop), if halt.is_none() => halt = Some(Halt::Asked(why)),
                limit = elapsed(deadline), if halt.is_none() => halt = Some(Halt::Timeout(limit)),
            }
            cancel.cancel();
        };
        let result = result.unwrap_or_else(|error| Err(Failure::failed(panic_message(error))));
        end(result, halt, context.printed())
    }
}

async fn fetch(payload: Payload, payloads: &Payloads, context: &Context) -> Result<Bytes, Failure> {
    match payload {
        Payload::Inline(data) => Ok(data),
        Payload::Hash(hash) => tokio::select! {
            data = payloads.get(hash) => data.map_err(|error| match error {
                FetchError::NotFound => Failure::rejected(error),
                FetchError::Damaged => Failure::failed(error),
            }),
            () = context.cancelled() => {
                Err(Failure { kind: FailureKind::Cancelled, ..Failure::failed("stopped before it was started") })
            }
        },
    }
}

async fn stopped(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    match stop.wait_for(Option::is_some).await {
        Ok(why) => why.unwrap_or(Stop::Abandon),
        // The daemon is gone without a word: it was dropped.
        Err(_) => Stop::Abandon,
    }
}

async fn elapsed(deadline: Option<(Duration, Instant)>) -> Duration {
    match deadline {
        Some((limit, at)) => {
            sleep_until(at).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// Work that ended well has ended well, also when it was told to stop meanwhile.
fn end(result: Result<Completion, Failure>, halt: Option<Halt>, printed: Printed) -> AttemptEnd {
    let failure = match result {
        Ok(completion) => match encode(completion.result) {
            Ok(result) => {
                let printed = completion.printed.unwrap_or(printed);
                return AttemptEnd {
                    outcome: Outcome::Succeeded.into(),
                    exit_code: completion.exit_code.or(Some(0)),
                    result,
                    output_bytes: printed.bytes,
                    truncated: printed.truncated,
                    ..Default::default()
                };
            }
            Err(failure) => Failure { printed: completion.printed, ..failure },
        },
        Err(failure) => failure,
    };
    let printed = failure.printed.unwrap_or(printed);
    let said = match (halt, failure.kind) {
        (_, FailureKind::Rejected) => {
            failed(Outcome::Rejected, failure.exit_code.or(Some(126)), failure.error)
        }
        (Some(Halt::Asked(why)), _) => wire::stopped(why),
        (Some(Halt::Timeout(limit)), _) => {
            let error = format!("took longer than {}", humantime::format_duration(limit));
            failed(Outcome::TimedOut, Some(124), error)
        }
        (None, FailureKind::TimedOut) => failed(Outcome::TimedOut, Some(124), failure.error),
        (None, FailureKind::Lost) => failed(Outcome::Lost, None, failure.error),
        (None, FailureKind::Failed | FailureKind::Cancelled) => {
            failed(Outcome::Failed, failure.exit_code.or(Some(1)), failure.error)
        }
    };
    AttemptEnd { output_bytes: printed.bytes, truncated: printed.truncated, ..said }
}

fn failed(outcome: Outcome, exit_code: Option<i32>, error: String) -> AttemptEnd {
    AttemptEnd { outcome: outcome.into(), exit_code, error, ..Default::default() }
}

fn unknown(handler: &str) -> AttemptEnd {
    let (code, error) = match handler {
        "exec" => (126, "this worker does not allow free commands (allow_exec)".to_owned()),
        _ => (127, format!("this worker has no handler `{handler}`")),
    };
    failed(Outcome::Rejected, Some(code), error)
}

fn encode(result: Option<serde_json::Value>) -> Result<Bytes, Failure> {
    let Some(result) = result else { return Ok(Bytes::new()) };
    let text = result.to_string();
    if text.len() > wire::LARGEST_RESULT {
        return Err(Failure::failed(format!(
            "the handler returned {} bytes; a result has at most {}",
            text.len(),
            wire::LARGEST_RESULT
        )));
    }
    Ok(text.into())
}

fn panic_message(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "the handler was dropped".to_owned() };
    let words = panic
        .downcast_ref::<&str>()
        .map(|words| (*words).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned());
    format!("the handler panicked: {}", words.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcome_follows_from_the_result_and_the_reason_to_stop() {
        let ok = || Ok(Completion::default());
        let err = |kind| Err(Failure { kind, ..Failure::failed("e") });
        let (cancel, drain) = (Some(Halt::Asked(Stop::Cancel)), Some(Halt::Asked(Stop::Drain)));
        let timeout = Some(Halt::Timeout(Duration::from_secs(90)));
        let table = [
            (ok(), None, Outcome::Succeeded, Some(0), ""),
            (ok(), cancel, Outcome::Succeeded, Some(0), ""),
            (err(FailureKind::Failed), None, Outcome::Failed, Some(1), "e"),
            (err(FailureKind::Failed), cancel, Outcome::Cancelled, Some(130), ""),
            (
                err(FailureKind::Cancelled),
                drain,
                Outcome::Lost,
                None,
                "the worker was stopped before it ended",
            ),
            (err(FailureKind::Cancelled), timeout, Outcome::TimedOut, Some(124), "took longer than 1m 30s"),
            (err(FailureKind::TimedOut), None, Outcome::TimedOut, Some(124), "e"),
            (err(FailureKind::Lost), None, Outcome::Lost, None, "e"),
            (err(FailureKind::Rejected), cancel, Outcome::Rejected, Some(126), "e"),
        ];
        for (at, (result, halt, outcome, code, error)) in table.into_iter().enumerate() {
            let end = end(result, halt, Printed { bytes: 7, truncated: false });
            assert_eq!(
                (end.outcome(), end.exit_code, end.error.as_str()),
                (outcome, code, error),
                "row {at}"
            );
            assert_eq!(end.output_bytes, 7, "row {at}");
        }
    }

    #[test]
    fn a_result_that_is_too_large_fails_the_attempt() {
        let large = serde_json::Value::String("x".repeat(wire::LARGEST_RESULT));
        let completion = Completion { result: Some(large), ..Completion::default() };
        let end = end(Ok(completion), None, Printed { bytes: 0, truncated: false });
        assert_eq!(end.outcome(), Outcome::Failed);
        assert!(end.error.contains("1048578 bytes"), "{}", end.error);
    }
}
