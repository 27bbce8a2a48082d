//! I4: each execution beyond the first is explained by what befell the one before it, and by nothing else: it failed and the run had a retry
//! left, it killed its own process, or there was a fault that [explains](super::explanation) it.

use std::collections::HashMap;
use std::time::Duration;

use marabunta_proto::v1::Outcome;

use super::super::evidence::Evidence;
use super::super::testimony::{Execution, Word};
use super::super::workload::Shape;
use super::{Invariant, Violation, explanation, twice};

/// Between what a worker does for a task and what the task does first.
const MOMENT: Duration = Duration::from_millis(100);

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut violation = |run, says: String| violations.push(Violation::new(Invariant::Executions, run, says));
    let asked = evidence.submissions.iter().map(|submission| (submission.op, usize::from(submission.shape)));
    let shapes: HashMap<u32, &Shape> = asked.map(|(op, shape)| (op, &evidence.shapes[shape])).collect();
    for (before, after) in again(evidence) {
        if !is_explained(evidence, &shapes, &before, &after) {
            let says = format!(
                "was executed by {} from {} ({}), and again by {} from {}",
                evidence.testimony.worker(&before),
                before.start,
                before.word.map_or("no end".to_owned(), |word| format!("{word:?} at {}", before.end)),
                evidence.testimony.worker(&after),
                after.start
            );
            violation(after.run, says);
        }
    }
    for record in &evidence.records.ended {
        if !twice::takes_place(record.state) && !evidence.testimony.of(record.run).is_empty() {
            violation(record.run, "is said to be skipped and was executed".to_owned());
        }
    }
    violations
}

/// Each attempt that was executed, and the next of its run. A worker that hung may begin an earlier one after a later one has begun elsewhere.
fn again(evidence: &Evidence) -> Vec<(Execution, Execution)> {
    let runs = evidence.testimony.executions.chunk_by(|one, other| one.run == other.run);
    let pairs = runs.filter(|executions| executions.len() > 1).flat_map(|executions| {
        let mut attempts = executions.to_vec();
        attempts.sort_by_key(|execution| (execution.attempt, execution.start));
        attempts.windows(2).map(|pair| (pair[0], pair[1])).collect::<Vec<_>>()
    });
    pairs.collect()
}

fn is_explained(
    evidence: &Evidence,
    shapes: &HashMap<u32, &Shape>,
    before: &Execution,
    after: &Execution,
) -> bool {
    let shape = shapes.get(&before.op).copied();
    match before.word {
        Some(Word::Dies) => true,
        _ if has_failed(evidence, shape, before) && before.end <= after.start => {
            may_retry(evidence, shape, before.run)
        }
        _ => explanation::explains(evidence, before, after.start),
    }
}

/// It was told to fail, or had its time; and not that nobody could hear of it, which is a loss.
fn has_failed(evidence: &Evidence, shape: Option<&Shape>, execution: &Execution) -> bool {
    let timeout = shape.and_then(|shape| shape.timeout);
    match execution.word {
        _ if is_lost(evidence, execution) => false,
        Some(Word::Failed) => true,
        // Its worker looks at the clock a moment before it does.
        Some(Word::Stopped) => {
            let took = execution.end.since(execution.start) + MOMENT;
            timeout.is_some_and(|timeout| took >= timeout)
        }
        _ => false,
    }
}

/// Its attempt is recorded as lost.
fn is_lost(evidence: &Evidence, execution: &Execution) -> bool {
    evidence.records.attempts_of(execution.run).iter().any(|known| {
        known.outcome == Outcome::Lost as u8
            && known.number == u32::from(execution.attempt)
            && evidence.records.name(known.worker) == evidence.testimony.worker(execution)
    })
}

/// Not more of its executions failed than its retries allow. A run that is not in the history is judged elsewhere.
fn may_retry(evidence: &Evidence, shape: Option<&Shape>, run: u128) -> bool {
    let Some(record) = evidence.records.of(run) else { return true };
    let executions = evidence.testimony.of(run).iter();
    executions.filter(|execution| has_failed(evidence, shape, execution)).count()
        <= usize::from(record.retries) + 1
}

#[cfg(test)]
mod tests {
    use marabunta_proto::v1::{Reason, RunState};

    use super::super::super::history::How;
    use super::super::hand_made::{SECOND, evidence};
    use super::*;

    #[test]
    fn one_execution_needs_no_explanation() {
        let mut made = evidence();
        made.done(1).done(2);
        assert_eq!(check(&made.0), []);
    }

    #[test]
    fn a_second_one_without_a_fault_is_not_explained() {
        let mut made = evidence();
        made.execution(1, "w-1", 10, 20).execution(1, "w-2", 30, 40);
        assert_eq!(check(&made.0).len(), 1);
    }

    #[test]
    fn a_fault_on_its_own_worker_explains_it_and_one_on_another_does_not() {
        for (worker, expected) in [("w-1", 0), ("w-2", 1)] {
            let mut made = evidence();
            made.execution(1, "w-1", 10 * SECOND, 0).execution(1, "w-2", 30 * SECOND, 40 * SECOND);
            made.fault(worker, 15 * SECOND, 16 * SECOND);
            assert_eq!(check(&made.0).len(), expected, "{worker}");
        }
    }

    #[test]
    fn a_worker_that_begins_late_what_was_given_away_is_explained_by_its_own_fault() {
        for (worker, expected) in [("w-1", 0), ("w-2", 1)] {
            let mut made = evidence();
            made.execution(1, "w-1", 20 * SECOND, 21 * SECOND).execution(1, "w-2", 15 * SECOND, 16 * SECOND);
            let attempts = made.0.testimony.executions.iter_mut();
            attempts.zip([2, 1]).for_each(|(execution, attempt)| execution.attempt = attempt);
            let fault = made.fault(worker, 9 * SECOND, 19 * SECOND);
            made.0.faults[fault].how = How::Silent;
            assert_eq!(check(&made.0).len(), expected, "{worker}");
        }
    }

    #[test]
    fn a_failure_that_nobody_could_hear_of_is_a_loss_which_only_a_fault_explains() {
        for (outcome, worker, expected) in
            [(Outcome::Failed, "w-1", 2), (Outcome::Lost, "w-1", 0), (Outcome::Lost, "w-2", 1)]
        {
            let mut made = evidence();
            let shape = made.shape(|_| ());
            made.accepted(1, shape).record(1, RunState::Done, Reason::Unspecified);
            made.0.records.ended[0].retries = 1;
            for (start, end) in [(10, 11), (20, 30), (50, 51)] {
                made.execution(1, "w-1", start * SECOND, end * SECOND);
            }
            made.0.testimony.executions.iter_mut().for_each(|one| one.word = Some(Word::Failed));
            made.attempt(1, 2, 2, outcome);
            let fault = made.fault(worker, 29 * SECOND, 49 * SECOND);
            made.0.faults[fault].how = How::Silent;
            assert_eq!(check(&made.0).len(), expected, "{outcome:?}, {worker}");
        }
    }

    #[test]
    fn a_time_out_is_a_failure_and_being_stopped_before_it_is_none() {
        for (timeout, retries, expected) in [(5, 1, 0), (5, 0, 1), (11, 1, 1)] {
            let mut made = evidence();
            let shape = made.shape(|shape| shape.timeout = Some(Duration::from_secs(timeout)));
            made.accepted(1, shape).record(1, RunState::Error, Reason::Timeout);
            made.0.records.ended[0].retries = retries;
            made.execution(1, "w-1", 10 * SECOND, 20 * SECOND).execution(1, "w-1", 30 * SECOND, 40 * SECOND);
            made.0.testimony.executions.iter_mut().for_each(|one| one.word = Some(Word::Stopped));
            assert_eq!(check(&made.0).len(), expected, "time-out {timeout}, {retries} retries");
        }
    }

    #[test]
    fn a_failure_explains_as_many_as_there_are_retries() {
        for (retries, expected) in [(1, 0), (0, 1)] {
            let mut made = evidence();
            made.record(1, RunState::Done, Reason::Unspecified);
            made.0.records.ended[0].retries = retries;
            made.execution(1, "w-1", 10, 20).execution(1, "w-1", 30, 40).execution(1, "w-1", 50, 60);
            made.0.testimony.executions[0].word = Some(Word::Failed);
            made.0.testimony.executions[1].word = Some(Word::Dies);
            if retries == 0 {
                made.0.testimony.executions[1].word = Some(Word::Failed);
            }
            assert_eq!(check(&made.0).len().min(1), expected, "{retries} retries");
        }
    }

    #[test]
    fn what_is_skipped_is_not_executed() {
        let mut made = evidence();
        made.record(1, RunState::Skipped, Reason::Unspecified);
        assert_eq!(check(&made.0), []);
        made.execution(1, "w-1", 10, 20);
        assert_eq!(check(&made.0).len(), 1);
    }
}
