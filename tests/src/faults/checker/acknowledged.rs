//! I2: an acknowledged result is durable. What a worker was told to be recorded, and so may have forgotten, stands in the tables.

use marabunta_proto::v1::Outcome;

use super::super::evidence::Evidence;
use super::super::history::Told;
use super::{Invariant, Violation};

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let acknowledged = evidence.told.iter().filter(|told| told.acknowledged);
    let gone = acknowledged.filter(|told| !stands(evidence, told) && !may_be_forgotten(evidence, told));
    gone.map(|told| {
        let says = format!(
            "succeeded in attempt {}, as was acknowledged at {}, and no such attempt is recorded",
            told.attempt, told.answered
        );
        Violation::new(Invariant::Durable, told.run, says)
    })
    .collect()
}

fn stands(evidence: &Evidence, told: &Told) -> bool {
    evidence.records.attempts.iter().any(|attempt| {
        attempt.run == told.run
            && attempt.number == told.attempt
            && i32::from(attempt.outcome) == Outcome::Succeeded as i32
    })
}

/// The result of a fast run is kept by Redis alone for a moment.
fn may_be_forgotten(evidence: &Evidence, told: &Told) -> bool {
    let asked = evidence.accepted().find(|(submission, _)| submission.run == told.run);
    let durable = asked.is_none_or(|(_, shape)| shape.durable)
        || evidence.records.of(told.run).is_some_and(|record| record.durable);
    !durable && evidence.forgot(told.asked, evidence.gathered)
}

#[cfg(test)]
mod tests {
    use super::super::super::moment::Moment;
    use super::super::hand_made::evidence;
    use super::*;

    #[test]
    fn an_acknowledged_success_stands() {
        let table = [(1, Outcome::Succeeded, 0), (1, Outcome::Lost, 1), (2, Outcome::Succeeded, 1)];
        for (number, outcome, expected) in table {
            let mut made = evidence();
            made.done(1).told(1, 1, true).attempt(1, number, 100, outcome);
            assert_eq!(check(&made.0).len(), expected, "attempt {number} {outcome:?}");
        }
    }

    #[test]
    fn one_that_was_not_acknowledged_need_not_stand() {
        let mut made = evidence();
        made.done(1).told(1, 1, false);
        assert_eq!(check(&made.0), []);
    }

    #[test]
    fn one_of_a_fast_run_may_be_forgotten_with_redis_and_one_of_a_durable_run_not() {
        for (durable, expected) in [(false, 0), (true, 1)] {
            let mut made = evidence();
            let shape = made.shape(|shape| shape.durable = durable);
            made.accepted(1, shape).told(1, 1, true).forget(30);
            made.0.gathered = Moment(40);
            assert_eq!(check(&made.0).len(), expected, "durable: {durable}");
        }
    }
}
