//! I4: each execution beyond the first is explained by what befell the one before it, and by nothing else.
//!
//! - It failed, and the run had a retry left.
//! - It killed its own process, or its worker was touched while it ran or before its end can have been recorded.
//! - A server or Redis was touched in that time: the one that had its lease may be the one.
//!
//! A database that is away explains nothing: a worker reports until its end is committed.

use std::time::Duration;

use super::super::evidence::Evidence;
use super::super::history::Touched;
use super::super::testimony::{Execution, Word};
use super::{Invariant, Violation, twice};

/// How long before its start a fault may have begun and been healed: the delivery was under way.
const BEFORE: Duration = Duration::from_secs(5);
/// How long its end may be on its way to the record where nothing else is wrong.
const REPORT: Duration = Duration::from_secs(10);
/// How long a fault acts on after it was healed: sessions that come back, leases that wait for them.
const SETTLING: Duration = Duration::from_secs(20);

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut violation = |run, says: String| violations.push(Violation::new(Invariant::Executions, run, says));
    for pair in evidence.testimony.executions.windows(2) {
        let [before, after] = [pair[0], pair[1]];
        if before.run == after.run && !is_explained(evidence, &before, &after) {
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

fn is_explained(evidence: &Evidence, before: &Execution, after: &Execution) -> bool {
    match before.word {
        Some(Word::Failed) => before.end <= after.start && may_retry(evidence, before.run),
        Some(Word::Dies) => true,
        Some(_) | None => {
            let worker = evidence.testimony.worker(before);
            let from = before.start.minus(BEFORE);
            let to = after.start.min(before.end.plus(REPORT));
            evidence.faults.iter().filter(|fault| fault.during(from, to, SETTLING)).any(|fault| {
                fault.touches_worker(worker) || fault.touches_a_server() || fault.touches(&Touched::Queue)
            })
        }
    }
}

/// Not more of its executions failed than its retries allow. A run that is not in the history is judged elsewhere.
fn may_retry(evidence: &Evidence, run: u128) -> bool {
    let Some(record) = evidence.records.of(run) else { return true };
    let failed =
        evidence.testimony.of(run).iter().filter(|execution| execution.word == Some(Word::Failed)).count();
    failed <= usize::from(record.retries) + 1
}

#[cfg(test)]
mod tests {
    use marabunta_proto::v1::{Reason, RunState};

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
            made.execution(1, "w-1", 10, 0).execution(1, "w-2", 30, 40);
            made.fault(worker, 15, 16);
            assert_eq!(check(&made.0).len(), expected, "{worker}");
        }
    }

    #[test]
    fn a_fault_long_before_or_long_after_explains_nothing() {
        for (from, to, expected) in [(100, 110, 1), (190, 191, 0), (212, 300, 0), (240, 300, 1)] {
            let mut made = evidence();
            made.execution(1, "w-1", 200 * SECOND, 205 * SECOND);
            made.execution(1, "w-2", 400 * SECOND, 401 * SECOND);
            made.fault("w-1", from * SECOND, to * SECOND);
            assert_eq!(check(&made.0).len(), expected, "from {from} to {to}");
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
    fn a_database_that_is_away_explains_nothing() {
        let mut made = evidence();
        made.execution(1, "w-1", 10, 20).execution(1, "w-2", 30, 40);
        let applied = made.fault_on(Touched::Store, 5, 50);
        assert_eq!(check(&made.0).len(), 1);
        made.0.faults[applied].touched = vec![Touched::Queue];
        assert_eq!(check(&made.0), []);
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
