//! I1: what is lost is told and counted, so that somebody can be alarmed. The servers count as many runs ended as `error(lost)` as there are.

use super::super::evidence::Evidence;
use super::super::history::{Fault, How};
use super::{Invariant, Violation, lost};

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let recorded = evidence.records.ended.iter().filter(|record| lost::is_lost(record)).count() as f64;
    let counted = evidence.counted.lost;
    // A server that ends takes its counts along, and one that gets no answer from the database does not know what it has to count.
    let uncounted = evidence.faults.iter().any(takes_counts_along);
    if counted == recorded || uncounted && counted < recorded {
        return Vec::new();
    }
    let says = format!("{recorded} runs stand as lost, and the servers count {counted}");
    vec![Violation::new(Invariant::Lost, 0, says)]
}

fn takes_counts_along(fault: &Fault) -> bool {
    matches!(fault.how, How::Gone | How::Told) && fault.touches_a_server() || fault.touches_the_store()
}

#[cfg(test)]
mod tests {
    use marabunta_proto::v1::{Reason, RunState};

    use super::super::super::history::Touched;
    use super::super::hand_made::evidence;
    use super::*;

    #[test]
    fn what_is_lost_is_counted_and_nothing_else() {
        for (counted, expected) in [(1.0, 0), (0.0, 1), (2.0, 1)] {
            let mut made = evidence();
            made.done(1).record(2, RunState::Error, Reason::Lost);
            made.0.counted.lost = counted;
            assert_eq!(check(&made.0).len(), expected, "{counted}");
        }
    }

    #[test]
    fn a_server_that_is_killed_takes_its_counts_along_and_adds_none() {
        let table = [
            (Touched::Server(0), 0.0, 0),
            (Touched::Store, 0.0, 0),
            (Touched::Queue, 0.0, 1),
            (Touched::Server(0), 2.0, 1),
        ];
        for (part, counted, expected) in table {
            let mut made = evidence();
            made.record(2, RunState::Error, Reason::Lost);
            made.0.counted.lost = counted;
            made.fault_on(part.clone(), 5, 6);
            assert_eq!(check(&made.0).len(), expected, "{part:?}, {counted}");
        }
    }
}
