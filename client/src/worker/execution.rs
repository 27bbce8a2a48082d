//! One attempt from its start to its end: payload, handler, time limit, and the end in the reporter's hands.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use marabunta_proto::duration;
use marabunta_proto::v1::{AttemptEnd, Outcome};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    attempts::{Assignment, Key, Lease, Payload, Stop},
    command::{self, Led, Source},
    handler::{Completion, Context, Failure, FailureKind, Handler, Printed},
    payloads::{FetchError, Payloads},
    spool::Entry,
    ticket::Ticket,
    wire,
};
use crate::exec::{Containment, Ending, Supervised};

/// What runs the attempts of a handler.
#[derive(Clone)]
pub enum Work {
    /// In this process, and gone with it.
    Function(Arc<dyn Handler>),
    /// By a supervisor.
    Command(Arc<Source>, Arc<Containment>),
}

/// What there is to do.
pub enum Charge {
    /// All of it. There is no work if this worker has no handler of that name.
    Given(Assignment, Option<Work>),
    /// An earlier daemon has started it.
    Adopted(Ticket, Box<Supervised>),
}

/// What an attempt in charge is told; the latest counts.
#[derive(Clone, Debug)]
pub struct Orders {
    pub lease: Lease,
    /// Set, or replaced by a stronger reason, when it is to stop.
    pub stop: Option<Stop>,
}

/// What it takes to execute one attempt.
pub struct Execution {
    pub key: Key,
    pub payloads: Payloads,
    pub entries: mpsc::Sender<Entry>,
    pub orders: watch::Receiver<Orders>,
}

/// An attempt that is over for this daemon.
pub struct Executed {
    pub key: Key,
    /// Its supervisor, which keeps the end until it is in the spool.
    pub led: Option<Led>,
}

/// Why the work was told to stop.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Halt {
    Asked(Stop),
    Timeout(Duration),
}

impl Execution {
    /// Executes the attempt and hands its end to the reporter, unless it was abandoned or left.
    pub async fn run(mut self, charge: Charge) -> Executed {
        let started = wire::now();
        let (end, led) = match charge {
            Charge::Given(assignment, Some(Work::Function(handler))) => {
                (Some(self.function(assignment, handler).await), None)
            }
            Charge::Given(assignment, Some(Work::Command(source, containment))) => {
                self.command(assignment, &source, &containment).await
            }
            Charge::Given(assignment, None) => (Some(unknown(&assignment.handler)), None),
            Charge::Adopted(ticket, supervised) => {
                let led = Led::adopt(ticket, *supervised, &self.entries).await;
                self.lead(led).await
            }
        };
        if self.stop() == Some(Stop::Abandon) {
            if let Some(led) = led {
                led.discard();
            }
            return Executed { key: self.key, led: None };
        }
        let executed = Executed { key: self.key, led };
        let Some(end) = end else { return executed };
        let (started, ended) = (end.started.or(Some(started)), end.ended.or_else(|| Some(wire::now())));
        let end = Box::new(AttemptEnd { started, ended, ..end });
        if self.entries.send(Entry::End { key: self.key, end }).await.is_err() {
            tracing::error!(
                key = self.key.0,
                "an attempt ended after the reporter; its end is not known to anybody"
            );
        }
        executed
    }

    async fn function(&mut self, assignment: Assignment, handler: Arc<dyn Handler>) -> AttemptEnd {
        let cancel = CancellationToken::new();
        let context = Context::new(&assignment, self.key, self.entries.clone(), cancel.clone());
        let deadline = assignment.timeout.map(|timeout| (timeout, Instant::now() + timeout));
        let (payload, payloads) = (assignment.payload.clone(), self.payloads.clone());
        let handling = context.clone();
        // A task of its own, so that a panic of a handler ends this attempt and nothing else.
        let mut work = JoinSet::new();
        work.spawn(async move {
            let payload = tokio::select! {
                payload = fetch(payload, &payloads) => payload?,
                () = handling.cancelled() => return Err(unstarted()),
            };
            handler.handle(handling, payload).await
        });
        let mut halt = None;
        let result = loop {
            tokio::select! {
                Some(result) = work.join_next() => break result,
                why = stopped(&mut self.orders), if halt.is_none() => halt = Some(Halt::Asked(why)),
                limit = elapsed(deadline), if halt.is_none() => halt = Some(Halt::Timeout(limit)),
            }
            cancel.cancel();
        };
        let result = result.unwrap_or_else(|error| Err(Failure::failed(panic_message(error))));
        end(result, halt, context.printed())
    }

    /// Without an end if it goes on.
    async fn command(
        &mut self,
        assignment: Assignment,
        source: &Source,
        containment: &Arc<Containment>,
    ) -> (Option<AttemptEnd>, Option<Led>) {
        let nothing = Printed { bytes: 0, truncated: false };
        let deadline = assignment.timeout.map(|timeout| (timeout, Instant::now() + timeout));
        let (mut halt, payload) = tokio::select! {
            payload = fetch(assignment.payload.clone(), &self.payloads) => (None, payload),
            why = stopped(&mut self.orders) => (Some(Halt::Asked(why)), Err(unstarted())),
            limit = elapsed(deadline) => (Some(Halt::Timeout(limit)), Err(unstarted())),
        };
        halt = halt.or(self.stop().map(Halt::Asked));
        let command = payload.and_then(|payload| source.command(&assignment, &payload));
        let mut command = match command {
            Ok(command) if halt.is_none() => command,
            refused => {
                let failure = refused.err().unwrap_or_else(unstarted);
                return (Some(end(Err(failure), halt, nothing)), None);
            }
        };
        let lease = self.orders.borrow().lease.clone();
        let mut ticket = Ticket::new(self.key, assignment.run, lease, wire::now());
        if let Some((limit, at)) = deadline {
            let left = at.saturating_duration_since(Instant::now());
            if command.timeout.is_none_or(|own| left <= own) {
                command.timeout = Some(left);
                ticket.set_limit(limit);
            }
        }
        match Led::start(command, ticket, containment, &self.entries).await {
            Ok(led) => self.lead(led).await,
            Err(exit) => (Some(end(command::result(&exit), self.stop().map(Halt::Asked), nothing)), None),
        }
    }

    async fn lead(&mut self, mut led: Led) -> (Option<AttemptEnd>, Option<Led>) {
        let exit = match led.lead(&mut self.orders, &self.entries).await {
            command::Outcome::Ended(exit) => exit,
            command::Outcome::Left => return (None, None),
        };
        let limit = led.ticket().limit().filter(|_| matches!(exit.ending, Ending::TimedOut));
        let halt = self.stop().map(Halt::Asked).or(limit.map(Halt::Timeout));
        let printed = Printed { bytes: exit.output_bytes, truncated: exit.truncated };
        let started = led.ticket().started;
        let ended = started.and_then(|started| wire::later(started, exit.elapsed));
        let end = AttemptEnd { started, ended, ..end(command::result(&exit), halt, printed) };
        (Some(end), Some(led))
    }

    fn stop(&self) -> Option<Stop> {
        self.orders.borrow().stop
    }
}

fn unstarted() -> Failure {
    Failure { kind: FailureKind::Cancelled, ..Failure::failed("stopped before it was started") }
}

async fn fetch(payload: Payload, payloads: &Payloads) -> Result<Bytes, Failure> {
    match payload {
        Payload::Inline(data) => Ok(data),
        Payload::Hash(hash) => payloads.get(hash).await.map_err(|error| match error {
            FetchError::NotFound => Failure::rejected(error),
            FetchError::Damaged => Failure::failed(error),
        }),
    }
}

async fn stopped(orders: &mut watch::Receiver<Orders>) -> Stop {
    match orders.wait_for(|orders| orders.stop.is_some()).await {
        Ok(orders) => orders.stop.unwrap_or(Stop::Abandon),
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
            let error = format!("took longer than {}", duration::format(limit));
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
            (err(FailureKind::Cancelled), timeout, Outcome::TimedOut, Some(124), "took longer than 1m30s"),
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
