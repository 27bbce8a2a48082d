//! I3: one accepted result for each fence, one end for each run; and one run for each operation, however often it was asked for.

use std::collections::{HashMap, HashSet};

use marabunta_proto::v1::{Outcome as Ending, RunState};

use super::super::evidence::Evidence;
use super::super::history::Outcome;
use super::super::moment::Moment;
use super::{Invariant, Violation};

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut violation = |run, says: String| violations.push(Violation::new(Invariant::Twice, run, says));
    for pair in evidence.records.ended.windows(2) {
        if pair[0].run == pair[1].run {
            violation(pair[0].run, "has two ends".to_owned());
        }
    }
    for record in &evidence.records.ended {
        if evidence.records.open.binary_search(&record.run).is_ok() {
            violation(record.run, format!("has ended in state {} and is open", record.state));
        }
    }
    for pair in evidence.records.attempts.windows(2) {
        let succeeded = |at: usize| i32::from(pair[at].outcome) == Ending::Succeeded as i32;
        if pair[0].run == pair[1].run && succeeded(0) {
            let says = format!("succeeded in attempt {} and has attempt {}", pair[0].number, pair[1].number);
            violation(pair[0].run, says);
        }
    }
    for (run, op) in strangers(evidence) {
        violation(run, format!("is a second run of operation {op}"));
    }
    violations
}

/// Runs that came from an operation beside the ones that its submitter knows of.
fn strangers(evidence: &Evidence) -> Vec<(u128, u32)> {
    let mut known: HashMap<u32, (bool, HashSet<u128>)> = HashMap::new();
    let mut forgettable: HashSet<u32> = HashSet::new();
    for submission in &evidence.submissions {
        let shape = &evidence.shapes[usize::from(submission.shape)];
        let (answered, runs) = known.entry(submission.op).or_default();
        *answered |= submission.outcome == Outcome::Ok;
        if submission.run != 0 {
            runs.insert(submission.run);
        }
        // A key of class fast is remembered by Redis alone.
        if !shape.durable && evidence.forgot(submission.asked, Moment::NEVER) {
            forgettable.insert(submission.op);
        }
        // One that is unknown may have any number of runs, but each once.
        if shape.target.starts_with("all") && submission.outcome != Outcome::Ok {
            forgettable.insert(submission.op);
        }
    }
    let mut strangers = Vec::new();
    for execution in &evidence.testimony.executions {
        let Some((answered, runs)) = known.get_mut(&execution.op) else { continue };
        if runs.contains(&execution.run) || forgettable.contains(&execution.op) {
            continue;
        }
        // The first of an operation without an answer is the one that was accepted unseen.
        if *answered || !runs.is_empty() {
            strangers.push((execution.run, execution.op));
        }
        runs.insert(execution.run);
    }
    strangers
}

/// Whether an ended run may be executed at all.
pub fn takes_place(state: u8) -> bool {
    i32::from(state) != RunState::Skipped as i32
}

#[cfg(test)]
mod tests {
    use marabunta_proto::v1::Reason;

    use super::super::hand_made::evidence;
    use super::*;

    #[test]
    fn a_run_has_one_end_and_is_not_open_any_more() {
        let mut made = evidence();
        made.done(1);
        assert_eq!(check(&made.0), []);
        made.0.records.open.push(1);
        assert_eq!(check(&made.0).len(), 1);
        made.0.records.open.clear();
        made.record(1, RunState::Error, Reason::Failed);
        assert_eq!(check(&made.0).len(), 1);
    }

    #[test]
    fn nothing_follows_a_success() {
        let mut made = evidence();
        made.attempt(1, 1, 100, Ending::Lost).attempt(1, 2, 200, Ending::Succeeded);
        assert_eq!(check(&made.0), []);
        made.attempt(1, 3, 300, Ending::Succeeded);
        assert_eq!(check(&made.0).len(), 1);
    }

    #[test]
    fn an_operation_becomes_one_run() {
        let mut made = evidence();
        made.done(1);
        let op = made.0.submissions[0].op;
        made.execution(2, "w-1", 30, 40);
        made.0.testimony.executions[1].op = op;
        assert_eq!(check(&made.0).len(), 1);
    }

    #[test]
    fn an_operation_without_an_answer_becomes_at_most_one_run() {
        let mut made = evidence();
        made.accepted(1, 0);
        (made.0.submissions[0].run, made.0.submissions[0].outcome) = (0, Outcome::Unknown);
        let op = made.0.submissions[0].op;
        made.execution(2, "w-1", 30, 40);
        made.0.testimony.executions[0].op = op;
        assert_eq!(check(&made.0), []);
        made.execution(3, "w-1", 50, 60);
        made.0.testimony.executions[1].op = op;
        assert_eq!(check(&made.0).len(), 1);
    }
}
