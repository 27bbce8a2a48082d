//! What dispatch finds on the way, for the rooms that keep or mend it.

use std::collections::BTreeMap;

use marabunta_proto::name::Name;

use crate::queue::Missing;
use crate::run::{Fence, RunId};

/// An attempt that its worker has taken charge of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    pub run: RunId,
    pub fence: Fence,
    pub attempt: u32,
    pub worker: Name,
}

/// An attempt that is not where the queue has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Taken from the queue and never sent, as the session had ended, or the answer never came.
    Unsent { worker: Name, run: RunId, fence: Fence },
    /// Sent, and not accepted in time: whether it began is not known. Or the queue may say that the worker has it, which does not any more.
    Unaccepted { worker: Name, run: RunId, fence: Fence },
    /// The queue gave it to this worker, which does not have it.
    Missing { worker: Name, missing: Missing },
    /// The worker has it, and the queue does not know it.
    Unknown { worker: Name, run: RunId, fence: Fence },
}

/// The latest of each attempt.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<(RunId, Fence), Finding>);

impl Findings {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn push(&mut self, finding: Finding) {
        let attempt = match &finding {
            Finding::Unsent { run, fence, .. }
            | Finding::Unaccepted { run, fence, .. }
            | Finding::Unknown { run, fence, .. } => (*run, *fence),
            Finding::Missing { missing: Missing { record, .. }, .. } => match record.fence {
                Some(fence) => (record.run, fence),
                // Nobody was ever given it.
                None => return,
            },
        };
        self.0.insert(attempt, finding);
    }

    pub fn take(&mut self) -> Vec<Finding> {
        std::mem::take(&mut self.0).into_values().collect()
    }
}

impl Extend<Finding> for Findings {
    fn extend<T: IntoIterator<Item = Finding>>(&mut self, findings: T) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn what_is_found_of_an_attempt_again_takes_the_place_of_what_was_found_before() {
        let (worker, run): (Name, _) = ("web-1".parse().unwrap(), RunId::new(DateTime::UNIX_EPOCH, 0));
        let unknown = |fence| Finding::Unknown { worker: worker.clone(), run, fence: Fence(fence) };
        let latest = Finding::Unaccepted { worker: worker.clone(), run, fence: Fence(1) };
        let mut findings = Findings::default();
        findings.extend([unknown(1), unknown(2), unknown(1), latest.clone()]);
        assert_eq!(findings.take(), [latest, unknown(2)]);
        assert!(findings.is_empty());
    }
}
