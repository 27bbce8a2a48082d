//! I12: fences only grow, and so do the numbers of attempts that tasks are told.

use super::super::evidence::Evidence;
use super::{Invariant, Violation};

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let attempts = evidence.records.attempts.windows(2);
    let back = attempts.filter(|pair| {
        pair[0].run == pair[1].run && (pair[0].fence >= pair[1].fence || pair[0].number == pair[1].number)
    });
    let executions = evidence.testimony.executions.windows(2);
    let again = executions.filter(|pair| pair[0].run == pair[1].run && pair[0].attempt >= pair[1].attempt);
    back.map(|pair| {
        let says = format!(
            "has fence {} in attempt {} and {} in attempt {}",
            pair[0].fence, pair[0].number, pair[1].fence, pair[1].number
        );
        Violation::new(Invariant::Fences, pair[0].run, says)
    })
    .chain(again.map(|pair| {
        let says = format!("began attempt {} after attempt {}", pair[1].attempt, pair[0].attempt);
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
    fn an_attempt_that_does_not_grow_is_found() {
        let mut made = evidence();
        made.execution(1, "w-1", 10, 20).execution(1, "w-2", 30, 40);
        assert_eq!(check(&made.0), []);
        made.0.testimony.executions[1].attempt = 1;
        assert_eq!(check(&made.0).len(), 1);
    }
}
