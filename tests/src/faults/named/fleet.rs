//! Faults that need members of a fleet rather than workers with a testimony of their own: what a [`fleet`] found, as a finding.

use uuid::Uuid;

use super::super::checker::{Invariant, Verdict, Violation};
use super::super::finding::Finding;
use crate::fleet::scenario::{self, Herd};
use crate::fleet::{Outcome, named};
use crate::support::Backend;

/// The workers of the herd. With a connection each, and one of those to the server, they are what 20,000 descriptors of a process are for.
const HERD: usize = 10_000;

/// 10,000 workers lose their one server at once and come back at once, twice.
pub async fn herd(backend: Backend) -> Finding {
    let herd = Herd { herds: 2, ..Herd::new(backend, HERD) };
    let outcome = scenario::herd(&herd).await;
    let back = outcome.as_ref().ok().and_then(|outcome| outcome.back.iter().max().copied());
    finding(outcome).recovered("all 10,000 are back", back, 90)
}

/// Far too much is queued for a host that never comes.
pub async fn offline_host(backend: Backend) -> Finding {
    finding(named::offline_host(backend).await)
}

/// Two daemons with one name.
pub async fn same_name(backend: Backend) -> Finding {
    finding(named::same_name(backend).await)
}

/// More at once than anybody has credit for, and queues of those who come later.
pub async fn lost_wakeup(backend: Backend) -> Finding {
    finding(named::lost_wakeup(backend).await)
}

fn finding(outcome: anyhow::Result<Outcome>) -> Finding {
    let outcome = outcome.unwrap_or_else(|error| panic!("{error:#}"));
    let mut finding = Finding::of(verdict(&outcome));
    for one in &outcome.verdicts {
        let told = format!("{}: {}", one.what, one.seen);
        finding = if one.measured {
            finding.measure(one.holds, &told).seen(told)
        } else {
            finding.demand(one.holds, told)
        };
    }
    finding
}

fn verdict(outcome: &Outcome) -> Verdict {
    let audit = &outcome.audit;
    let wrong = [
        (Invariant::Lost, &audit.lost, "was accepted and never executed to its end"),
        (Invariant::Executions, &audit.doubled, "was executed again, and nothing had happened to who had it"),
        (Invariant::Overlap, &audit.overlapping, "was executed by one member twice at once"),
        (Invariant::Twice, &audit.strangers, "was executed, and nobody had asked for it"),
    ];
    let violations = wrong.into_iter().flat_map(|(invariant, runs, says)| {
        let id = |run: &String| run.parse::<Uuid>().map_or(0, |id| id.as_u128());
        runs.iter().map(move |run| Violation::new(invariant, id(run), says))
    });
    Verdict {
        accepted: audit.accepted,
        executions: audit.executions,
        again: audit.explained + audit.doubled.len(),
        violations: violations.collect(),
        ..Verdict::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_fleet_says_is_lost_or_doubled_is_so_in_the_finding() {
        let mut outcome = Outcome::default();
        outcome.audit.accepted = 3;
        outcome.audit.lost = vec![Uuid::from_u128(1).to_string()];
        outcome.audit.doubled = vec![Uuid::from_u128(2).to_string()];
        outcome.judge("all is well", "no", false);
        outcome.measure("in time", "late", false);
        let finding = finding(Ok(outcome));
        assert_eq!((finding.verdict.lost(), finding.verdict.doubled()), (1, 1));
        assert_eq!((finding.unmet.len(), finding.exceeded.len()), (1, 1));
        assert!(!finding.is_right() && !finding.is_in_time());
    }
}
