//! I8: a run goes only to a worker that it names or that matches.

use std::collections::HashMap;

use super::super::evidence::Evidence;
use super::super::workload::Shape;
use super::{Invariant, Violation};

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    // By operation, which the task itself knows: so it holds for runs whose submitter got no answer too.
    let shape = |at: u16| &evidence.shapes[usize::from(at)];
    let asked: HashMap<u32, &Shape> =
        evidence.submissions.iter().map(|submission| (submission.op, shape(submission.shape))).collect();
    let strays = evidence.testimony.executions.iter().filter(|execution| {
        let worker = evidence.testimony.worker(execution);
        let stray = |shape: &&Shape| !shape.workers.iter().any(|may| may == worker);
        asked.get(&execution.op).is_some_and(stray)
            || evidence.records.of(execution.run).is_some_and(|record| {
                // Where it waited, if that is a worker and not a selector.
                let place = evidence.records.name(record.place);
                evidence.testimony.workers.iter().any(|name| name == place) && place != worker
            })
    });
    strays
        .map(|execution| {
            let says =
                format!("was executed by {}, which may not have it", evidence.testimony.worker(execution));
            Violation::new(Invariant::Place, execution.run, says)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::hand_made::evidence;
    use super::*;

    #[test]
    fn a_run_on_a_worker_that_does_not_match_is_found() {
        let mut made = evidence();
        made.done(1);
        assert_eq!(check(&made.0), []);
        made.0.shapes[0].workers = vec!["w-2".to_owned()];
        assert_eq!(check(&made.0).len(), 1);
    }
}
