//! I1: no accepted run is lost, as its class promises.
//!
//! Each accepted run is in the history with an end that it was meant to have. A fast one may have been forgotten by Redis: then it says
//! so. And whatever was executed is known to the store, whether or not its submitter got an answer.

use std::collections::HashSet;
use std::time::Duration;

use marabunta_proto::v1::{Outcome as Ending, Reason, RunState};

use super::super::evidence::Evidence;
use super::super::history::{How, Submission};
use super::super::moment::Moment;
use super::super::records::Record;
use super::super::workload::Shape;
use super::{Invariant, Violation, explanation};

/// How long the row of a fast run may take where nothing is wrong.
const ROW: Duration = Duration::from_secs(5);
/// By when after the death of a server what only the queue knows was recorded by another one.
const NOTICED: Duration = Duration::from_secs(30);
/// By so much the database's clock and that of the submitters may be apart.
const CLOCKS: Duration = Duration::from_millis(500);

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let violation = |run, says: String| Violation::new(Invariant::Lost, run, says);
    let (mut violations, mut excused) = (Vec::new(), HashSet::new());
    for (submission, shape) in evidence.accepted() {
        match evidence.records.of(submission.run) {
            None if may_be_unknown(evidence, submission, shape) => _ = excused.insert(submission.run),
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
            !excused.contains(&execution.run)
                && evidence.records.of(execution.run).is_none()
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
        (Ok(RunState::Cancelled), _) => shape.cancel.is_some_and(|after| is_due(submission, record, after)),
        (Ok(RunState::Expired), _) => shape.expires.is_some_and(|after| is_due(submission, record, after)),
        (Ok(RunState::Error), Ok(Reason::Poison)) => {
            shape.deed.die > 0
                || shape.deed.slay > 0
                || record.lost > record.max_lost && blamed(evidence, submission, record)
        }
        (Ok(RunState::Error), Ok(Reason::Lost)) => {
            record.max_lost == 0 && record.lost > 0 && blamed(evidence, submission, record)
                || may_be_forgotten(evidence, submission, shape, record)
        }
        _ => false,
    }
}

/// It ended no earlier than so long after it was asked for.
fn is_due(submission: &Submission, record: &Record, after: Duration) -> bool {
    record.ended.plus(CLOCKS) >= submission.asked.plus(after)
}

pub fn is_lost(record: &Record) -> bool {
    i32::from(record.state) == RunState::Error as i32 && i32::from(record.reason) == Reason::Lost as i32
}

/// Redis forgot after it was asked for and before its row was there, from which it would have been given back.
fn may_be_forgotten(evidence: &Evidence, submission: &Submission, shape: &Shape, record: &Record) -> bool {
    let durable = shape.durable || record.durable;
    !durable && evidence.forgot(submission.asked, row_by(evidence, submission))
}

/// It had no row yet when its server died, and Redis, which alone had it and how it ended, forgot it before anybody had it, or had written it down.
fn may_be_unknown(evidence: &Evidence, submission: &Submission, shape: &Shape) -> bool {
    let row = row_by(evidence, submission);
    let waits = evidence.testimony.of(submission.run).is_empty();
    let forgotten = |death: Moment| {
        let until = if waits { Moment::NEVER } else { unhindered(evidence, death, death.plus(NOTICED)) };
        evidence.forgot(submission.asked, until)
    };
    let mut deaths = evidence
        .faults
        .iter()
        .filter(|fault| fault.ends_a_server() && fault.during(submission.asked, row, Duration::ZERO));
    !shape.durable && deaths.any(|death| forgotten(death.applied))
}

/// By when the row of a fast run was there: late writes wait for nothing but the database, a server that hangs and their turn.
fn row_by(evidence: &Evidence, submission: &Submission) -> Moment {
    unhindered(evidence, submission.asked, submission.answered.plus(ROW))
}

/// By when it was written what was to be written from this moment on, and by another if nothing was in the way.
fn unhindered(evidence: &Evidence, from: Moment, mut by: Moment) -> Moment {
    loop {
        let hindered = evidence.faults.iter().filter(|fault| {
            let hangs = fault.how == How::Silent && fault.touches_a_server();
            (fault.touches_the_store() || hangs) && fault.during(from, by, Duration::ZERO)
        });
        match hindered.map(|fault| fault.healed.plus(ROW)).max() {
            Some(later) if later > by => by = later,
            _ => return by,
        }
    }
}

/// Its worker was struck within its life. What was lost before it began has left no testimony: then the worker of a lost attempt was.
fn blamed(evidence: &Evidence, submission: &Submission, record: &Record) -> bool {
    let mut executions = evidence.testimony.of(record.run).iter();
    let lost = evidence.records.attempts_of(record.run).iter();
    let mut lost = lost.filter(|attempt| i32::from(attempt.outcome) == Ending::Lost as i32);
    let struck = |worker: &str| {
        let mut faults = evidence.faults.iter();
        faults.any(|fault| {
            fault.touches_worker(worker) && fault.during(submission.asked, record.ended, Duration::ZERO)
        })
    };
    executions.any(|execution| explanation::lost_with_worker(evidence, execution, record.ended))
        || lost.any(|attempt| struck(evidence.records.name(attempt.worker)))
}

#[cfg(test)]
mod tests {
    use super::super::super::history::Touched;
    use super::super::hand_made::{Made, SECOND, evidence};
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
    fn what_redis_forgets_once_the_row_must_be_there_excuses_nothing() {
        // The database is away from 3 s to 20 s, or a server hangs, or Redis: it is asked for at 0 s.
        let table = [
            (None, 4, 0),
            (None, 6, 1),
            (Some(Touched::Store), 24, 0),
            (Some(Touched::Store), 26, 1),
            (Some(Touched::Server(0)), 24, 0),
            (Some(Touched::Queue), 24, 1),
        ];
        for (away, forgot, expected) in table {
            let mut made = evidence();
            made.accepted(1, 0).record(1, RunState::Error, Reason::Lost);
            if let Some(part) = away.clone() {
                let fault = made.fault_on(part, 3 * SECOND, 20 * SECOND);
                made.0.faults[fault].how = How::Silent;
            }
            made.forget(forgot * SECOND);
            assert_eq!(check(&made.0).len(), expected, "{away:?}, forgot at {forgot}");
        }
    }

    #[test]
    fn a_fast_run_vanishes_only_if_its_server_died_before_its_row_and_redis_forgot() {
        for (died, forgot, expected) in [(1, true, 0), (1, false, 1), (10, true, 1)] {
            let mut made = evidence();
            made.accepted(1, 0);
            made.fault_on(Touched::Server(0), died * SECOND, 11 * SECOND);
            if forgot {
                made.forget(40 * SECOND);
            }
            assert_eq!(check(&made.0).len(), expected, "died at {died}, forgot {forgot}");
            made.execution(1, "w-1", 20 * SECOND, 21 * SECOND);
            assert!(!check(&made.0).is_empty());
        }
    }

    #[test]
    fn how_a_fast_run_ended_is_lost_only_if_redis_forgot_before_another_server_could_write_it() {
        for (forgot, expected) in [(20, 0), (40, 2)] {
            let mut made = evidence();
            made.accepted(1, 0).execution(1, "w-1", SECOND / 4, SECOND / 2);
            made.fault_on(Touched::Server(0), SECOND, 3 * SECOND);
            made.forget(forgot * SECOND);
            assert_eq!(check(&made.0).len(), expected, "forgot at {forgot}");
        }
    }

    #[test]
    fn a_run_ends_as_poison_only_if_its_workers_were_struck_in_its_life() {
        for (struck, expected) in [(None, 1), (Some(15), 0), (Some(5), 1), (Some(1_500), 1)] {
            let mut made = evidence();
            made.accepted(1, 0).record(1, RunState::Error, Reason::Poison);
            made.execution(1, "w-1", 10 * SECOND, 0).attempt(1, 1, 9 * SECOND, Ending::Lost);
            made.0.records.ended[0].lost = 4;
            made.0.submissions[0].asked = Moment(8 * SECOND);
            if let Some(at) = struck {
                made.fault("w-1", at * SECOND, (at + 1) * SECOND);
            }
            assert_eq!(check(&made.0).len(), expected, "struck at {struck:?}");
        }
    }

    #[test]
    fn a_run_is_cancelled_or_expired_only_if_that_was_asked_and_is_due() {
        let after = |span: Option<u64>| span.map(Duration::from_secs);
        let table = [(None, 1), (Some(10), 0), (Some(20), 1)];
        for (span, expected) in table {
            for state in [RunState::Cancelled, RunState::Expired] {
                let mut made = evidence();
                let shape = made.shape(|shape| match state {
                    RunState::Cancelled => shape.cancel = after(span),
                    _ => shape.expires = after(span),
                });
                made.accepted(1, shape).record(1, state, Reason::Unspecified);
                made.0.records.ended[0].ended = Moment(15 * SECOND);
                assert_eq!(check(&made.0).len(), expected, "{state:?} after {span:?}");
            }
        }
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
