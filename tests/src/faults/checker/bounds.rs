//! I7: attempts and losses are bounded by what the run allows.

use super::super::evidence::Evidence;
use super::{Invariant, Violation};

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let over = evidence
        .records
        .ended
        .iter()
        .filter(|record| record.lost > record.max_lost + 1 || record.failed > record.retries + 1);
    over.map(|record| {
        let says = format!(
            "failed {} times with {} retries and was lost {} times with {} allowed",
            record.failed, record.retries, record.lost, record.max_lost
        );
        Violation::new(Invariant::Bounds, record.run, says)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::hand_made::evidence;
    use super::*;

    #[test]
    fn the_last_failure_and_the_last_loss_are_the_ones_that_end_it() {
        let mut made = evidence();
        made.done(1);
        let table = [(0, 0, 0), (1, 0, 0), (0, 4, 0), (2, 0, 1), (0, 5, 1)];
        for (failed, lost, expected) in table {
            let record = &mut made.0.records.ended[0];
            (record.failed, record.lost) = (failed, lost);
            assert_eq!(check(&made.0).len(), expected, "failed {failed}, lost {lost}");
        }
    }
}
