//! I3: a result counts only with the fence of the latest attempt. Once a later attempt has begun, that of an earlier one is refused.

use super::super::evidence::Evidence;
use super::{Invariant, Violation};

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let mut violations = Vec::new();
    for told in evidence.told.iter().filter(|told| told.acknowledged) {
        let executions = evidence.testimony.of(told.run).iter();
        // Before it was told, so that nobody can have taken it first.
        let mut later =
            executions.filter(|later| u32::from(later.attempt) > told.attempt && later.start < told.asked);
        if let Some(later) = later.next()
            && !evidence.forgot(later.start, told.answered)
        {
            let says = format!(
                "was acknowledged at {} to have succeeded in attempt {}, after attempt {} had begun at {}",
                told.answered, told.attempt, later.attempt, later.start
            );
            violations.push(Violation::new(Invariant::Twice, told.run, says));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::super::hand_made::evidence;
    use super::*;

    #[test]
    fn the_latest_attempt_may_be_acknowledged_and_an_earlier_one_not() {
        for (attempt, acknowledged, expected) in [(2, true, 0), (1, false, 0), (1, true, 1)] {
            let mut made = evidence();
            made.execution(1, "w-1", 1, 2).execution(1, "w-2", 3, 4).told(1, attempt, acknowledged);
            assert_eq!(check(&made.0).len(), expected, "attempt {attempt}, acknowledged: {acknowledged}");
        }
    }

    #[test]
    fn one_that_was_told_before_the_next_began_may_be_acknowledged() {
        let mut made = evidence();
        made.execution(1, "w-1", 1, 2).execution(1, "w-2", 30, 40).told(1, 1, true);
        assert_eq!(check(&made.0), []);
    }
}
