//! I9: after quiet all places are empty.

use super::super::evidence::Evidence;
use super::{Invariant, Violation};

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let waited = evidence.quiet.waited;
    let left = evidence.quiet.left.iter();
    let open = evidence.records.open.iter();
    left.map(|left| Violation::new(Invariant::Quiet, 0, format!("after {waited:.0?} {left}")))
        .chain(open.map(|run| Violation::new(Invariant::Quiet, *run, "is open")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::hand_made::evidence;
    use super::*;

    #[test]
    fn what_is_left_is_found() {
        let mut made = evidence();
        made.done(1);
        assert_eq!(check(&made.0), []);
        made.0.records.open.push(7);
        made.0.quiet.left.push("1 runs are ready in the queue".to_owned());
        assert_eq!(check(&made.0).len(), 2);
    }
}
