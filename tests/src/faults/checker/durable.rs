//! I2: an acknowledged result is durable. What somebody was told stands in the tables, and what stands there happened.

use marabunta_proto::v1::RunState;

use super::super::evidence::Evidence;
use super::super::testimony::Word;
use super::{Invariant, Violation};

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let violation = |run, says: String| Violation::new(Invariant::Durable, run, says);
    let mut violations = Vec::new();
    for sighting in &evidence.sightings {
        let told = (sighting.state, sighting.reason);
        let record = evidence.records.of(sighting.run).map(|record| (record.state, record.reason));
        if record != Some(told) {
            let says =
                format!("was told at {} to have ended as {told:?} and stands as {record:?}", sighting.at);
            violations.push(violation(sighting.run, says));
        }
    }
    for record in &evidence.records.ended {
        let done = i32::from(record.state) == RunState::Done as i32;
        let was_done =
            || evidence.testimony.of(record.run).iter().any(|execution| execution.word == Some(Word::Done));
        if done && !was_done() {
            violations.push(violation(record.run, "is said to be done and never was".to_owned()));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use marabunta_proto::v1::Reason;

    use super::super::hand_made::evidence;
    use super::*;

    #[test]
    fn what_was_told_must_stand() {
        let mut made = evidence();
        made.done(1).sighting(1, RunState::Done);
        assert_eq!(check(&made.0), []);
        made.0.records.ended[0].state = 5;
        assert_eq!(check(&made.0).len(), 1);
        made.0.records.ended.clear();
        assert_eq!(check(&made.0).len(), 1);
    }

    #[test]
    fn what_is_said_to_be_done_was_done() {
        let mut made = evidence();
        made.accepted(1, 0).record(1, RunState::Done, Reason::Unspecified);
        assert_eq!(check(&made.0).len(), 1);
        made.execution(1, "w-1", 10, 20);
        assert_eq!(check(&made.0), []);
        made.0.testimony.executions[0].word = Some(Word::Failed);
        assert_eq!(check(&made.0).len(), 1);
    }
}
