//! I1: no accepted run is lost, as its class promises.
//!
//! Each accepted run is in the history with an end that it was meant to have. A fast one may have been forgotten by Redis: then it says
//! so. And whatever was executed is known to the store, whether or not its submitter got an answer.

use marabunta_proto::v1::{Reason, RunState};

use super::super::evidence::Evidence;
use super::super::history::Submission;
use super::super::moment::Moment;
use super::super::records::Record;
use super::super::workload::Shape;
use super::{Invariant, Violation};

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let violation = |run, says: String| Violation::new(Invariant::Lost, run, says);
    let mut violations = Vec::new();
    for (submission, shape) in evidence.accepted() {
        match evidence.records.of(submission.run) {
            None => violations.push(violation(
                submission.run,
                format!("was accepted at {} and is not in the history", submission.answered),
            )),
            Some(record) if !is_meant(evidence, submission, shape, record) => violations.push(violation(
                submission.run,
                format!(
                    "was accepted as {:?} and ended in state {} for reason {}",
                    shape.target, record.state, record.reason
                ),
            )),
            Some(_) => {}
        }
    }
    let mut last = 0;
    for execution in &evidence.testimony.executions {
        let unknown = || {
            evidence.records.of(execution.run).is_none()
                && evidence.records.open.binary_search(&execution.run).is_err()
        };
        if execution.run != last && unknown() {
            violations.push(violation(execution.run, "was executed and is not in the history".to_owned()));
        }
        last = execution.run;
    }
    violations
}

/// Accepted fast runs that were told to be lost with the queue, as documented.
pub fn forgotten(evidence: &Evidence) -> usize {
    let forgotten = |(submission, shape): &(&Submission, &Shape)| {
        let record = evidence.records.of(submission.run);
        record.is_some_and(|record| is_lost(record) && may_be_forgotten(evidence, submission, shape, record))
    };
    evidence.accepted().filter(forgotten).count()
}

fn is_meant(evidence: &Evidence, submission: &Submission, shape: &Shape, record: &Record) -> bool {
    let state = RunState::try_from(i32::from(record.state));
    let reason = Reason::try_from(i32::from(record.reason));
    match (state, reason) {
        (Ok(RunState::Done), _) => shape.deed.fail <= u64::from(shape.retries),
        (Ok(RunState::Error), Ok(Reason::Failed)) => shape.deed.fail > u64::from(shape.retries),
        (Ok(RunState::Error), Ok(Reason::Timeout)) => shape.timeout.is_some(),
        (Ok(RunState::Error), Ok(Reason::Poison)) => {
            shape.deed.die > 0
                || shape.deed.slay > 0
                || record.lost > record.max_lost && blamed(evidence, record)
        }
        (Ok(RunState::Error), Ok(Reason::Lost)) => {
            record.max_lost == 0 && record.lost > 0 && blamed(evidence, record)
                || may_be_forgotten(evidence, submission, shape, record)
        }
        _ => false,
    }
}

fn is_lost(record: &Record) -> bool {
    i32::from(record.state) == RunState::Error as i32 && i32::from(record.reason) == Reason::Lost as i32
}

/// Redis forgot at some moment after it was asked for and before its end.
fn may_be_forgotten(evidence: &Evidence, submission: &Submission, shape: &Shape, record: &Record) -> bool {
    let durable = shape.durable || record.durable;
    !durable && evidence.forgot(submission.asked, Moment::NEVER)
}

/// Some worker was touched at all: without a fault nothing is lost with a worker.
fn blamed(evidence: &Evidence, record: &Record) -> bool {
    let executions = evidence.testimony.of(record.run);
    let touched = |name: &str| evidence.faults.iter().any(|fault| fault.touches_worker(name));
    executions.iter().any(|execution| touched(evidence.testimony.worker(execution)))
        || executions.is_empty() && !evidence.faults.is_empty()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::hand_made::{Made, evidence};
    use super::*;

    #[test]
    fn a_run_that_was_done_and_one_that_was_told_to_fail_are_not_lost() {
        let mut made = evidence();
        let failing = made.shape(|shape| shape.deed.fail = 1);
        made.done(1);
        made.accepted(2, failing).record(2, RunState::Error, Reason::Failed);
        assert_eq!(check(&made.0), []);
    }

    #[test]
    fn a_run_times_out_only_if_it_has_a_time_out() {
        for (timeout, expected) in [(Some(Duration::from_secs(1)), 0), (None, 1)] {
            let mut made = evidence();
            let shape = made.shape(|shape| shape.timeout = timeout);
            made.accepted(1, shape).record(1, RunState::Error, Reason::Timeout);
            assert_eq!(check(&made.0).len(), expected, "{timeout:?}");
        }
    }

    #[test]
    fn a_run_that_is_not_in_the_history_is_lost() {
        let mut made = evidence();
        made.accepted(1, 0);
        assert_eq!(check(&made.0).len(), 1);
    }

    #[test]
    fn a_run_that_was_executed_and_never_answered_is_lost_if_the_store_does_not_know_it() {
        let mut made = evidence();
        made.execution(5, "w-1", 10, 20);
        assert_eq!(check(&made.0)[0].run, 5);
        made.0.records.open.push(5);
        assert_eq!(check(&made.0), []);
    }

    #[test]
    fn a_fast_run_may_be_told_to_be_lost_only_when_redis_forgot_and_a_durable_one_never() {
        let table = [(false, false, 1), (false, true, 0), (true, true, 1), (true, false, 1)];
        for (durable, forgot, expected) in table {
            let mut made: Made = evidence();
            let shape = made.shape(|shape| shape.durable = durable);
            made.accepted(1, shape).record(1, RunState::Error, Reason::Lost);
            if forgot {
                made.forget(30);
            }
            assert_eq!(check(&made.0).len(), expected, "durable {durable}, forgot {forgot}");
            assert_eq!(forgotten(&made.0), 1 - expected);
        }
    }

    #[test]
    fn a_run_ends_as_poison_only_if_its_workers_were_touched() {
        let mut made = evidence();
        made.accepted(1, 0).record(1, RunState::Error, Reason::Poison).execution(1, "w-1", 10, 20);
        made.0.records.ended[0].lost = 4;
        assert_eq!(check(&made.0).len(), 1);
        made.fault("w-1", 15, 20);
        assert_eq!(check(&made.0), []);
    }

    #[test]
    fn an_end_that_nobody_asked_for_is_a_loss() {
        for state in [RunState::Cancelled, RunState::Expired, RunState::Skipped] {
            let mut made = evidence();
            made.accepted(1, 0).record(1, state, Reason::Unspecified);
            assert_eq!(check(&made.0).len(), 1, "{state:?}");
        }
    }
}
