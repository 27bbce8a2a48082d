//! I12: fences only grow; and no attempt is executed twice, unless Redis forgot that it ever was.
//!
//! A worker that hung may begin an attempt after a later one has begun elsewhere: that alone is no violation.

use std::time::Duration;

use super::super::evidence::Evidence;
use super::{Invariant, Violation};

/// How long before it begins an attempt may have been given, at the most.
const ON_ITS_WAY: Duration = Duration::from_secs(15);

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let attempts = evidence.records.attempts.windows(2);
    let back = attempts.filter(|pair| {
        pair[0].run == pair[1].run && (pair[0].fence >= pair[1].fence || pair[0].number == pair[1].number)
    });
    let executions = evidence.testimony.executions.windows(2);
    let again = executions.filter(|pair| {
        let same = pair[0].run == pair[1].run && pair[0].attempt == pair[1].attempt;
        same && !evidence.forgot(pair[0].start.minus(ON_ITS_WAY), pair[1].start)
    });
    back.map(|pair| {
        let says = format!(
            "has fence {} in attempt {} and {} in attempt {}",
            pair[0].fence, pair[0].number, pair[1].fence, pair[1].number
        );
        Violation::new(Invariant::Fences, pair[0].run, says)
    })
    .chain(again.map(|pair| {
        let says = format!("began attempt {} twice", pair[1].attempt);
        Violation::new(Invariant::Fences, pair[0].run, says)
    }))
    .collect()
}

#[cfg(test)]
mod tests {
    use marabunta_proto::v1::Outcome;

    use super::super::hand_made::evidence;
    use super::*;

    #[test]
    fn a_fence_that_does_not_grow_is_found() {
        for (fence, expected) in [(101, 0), (100, 1), (99, 1)] {
            let mut made = evidence();
            made.attempt(1, 1, 100, Outcome::Lost).attempt(1, 2, fence, Outcome::Succeeded);
            made.attempt(2, 1, 5, Outcome::Succeeded);
            assert_eq!(check(&made.0).len(), expected, "fence {fence}");
        }
    }

    #[test]
    fn an_attempt_that_is_executed_twice_is_found() {
        let mut made = evidence();
        made.execution(1, "w-1", 10, 20).execution(1, "w-2", 30, 40);
        assert_eq!(check(&made.0), []);
        made.0.testimony.executions[1].attempt = 1;
        assert_eq!(check(&made.0).len(), 1);
        made.forget(25);
        assert_eq!(check(&made.0), []);
    }
}
