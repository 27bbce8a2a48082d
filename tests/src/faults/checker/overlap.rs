//! I5: a host never runs the same run twice at once, whatever befalls it.

use super::super::evidence::Evidence;
use super::{Invariant, Violation};

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let executions = &evidence.testimony.executions;
    let doubled = executions.iter().filter(|execution| execution.doubled);
    // What told of its end was alive until then; of what did not, only the lock can tell.
    let both = executions.windows(2).filter(|pair| {
        pair[0].run == pair[1].run
            && pair[0].worker == pair[1].worker
            && pair[0].word.is_some()
            && pair[1].start < pair[0].end
            && !pair[1].doubled
    });
    doubled
        .chain(both.map(|pair| &pair[1]))
        .map(|execution| {
            let worker = evidence.testimony.worker(execution);
            let says = format!("began on {worker} at {} while it was alive there", execution.start);
            Violation::new(Invariant::Overlap, execution.run, says)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::hand_made::evidence;
    use super::*;

    #[test]
    fn one_after_another_on_a_host_and_at_once_on_two_is_no_overlap() {
        let mut made = evidence();
        made.execution(1, "w-1", 10, 20).execution(1, "w-1", 20, 30).execution(1, "w-2", 25, 40);
        assert_eq!(check(&made.0), []);
    }

    #[test]
    fn two_at_once_on_a_host_overlap() {
        let mut made = evidence();
        made.execution(1, "w-1", 10, 30).execution(1, "w-1", 20, 40);
        assert_eq!(check(&made.0).len(), 1);
    }

    #[test]
    fn one_that_found_the_lock_held_overlaps() {
        let mut made = evidence();
        made.execution(1, "w-1", 10, 0).execution(1, "w-1", 20, 40);
        assert_eq!(check(&made.0), []);
        made.0.testimony.executions[1].doubled = true;
        assert_eq!(check(&made.0).len(), 1);
    }
}
