//! All invariants at once.

use super::super::evidence::Evidence;
use super::super::history::Outcome;
use super::violation::{Invariant, Violation};
use super::{
    acknowledged, bounds, durable, executions, fences, firings, lost, overlap, place, quiet, stale, told,
    twice, waiting,
};

/// What the checker says of an installation.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Runs that were accepted on demand.
    pub accepted: usize,
    /// Operations that were refused, and that nobody answered.
    pub refused: usize,
    pub unknown: usize,
    /// Firings in the history, skipped ones among them.
    pub firings: usize,
    pub executions: usize,
    /// Executions beyond the first of their run, explained or not.
    pub again: usize,
    /// Runs of class fast that Redis forgot, as is documented, and that were told to be lost.
    pub forgotten: usize,
    pub violations: Vec<Violation>,
    /// Nobody may panic, whatever befalls it.
    pub panics: Vec<String>,
}

impl Verdict {
    pub fn of(evidence: &Evidence) -> Self {
        let violations = [
            lost::check,
            told::check,
            durable::check,
            acknowledged::check,
            twice::check,
            stale::check,
            executions::check,
            overlap::check,
            firings::check,
            bounds::check,
            place::check,
            quiet::check,
            waiting::check,
            fences::check,
        ];
        let with = |outcome| evidence.submissions.iter().filter(|one| one.outcome == outcome).count();
        Self {
            accepted: with(Outcome::Ok),
            refused: with(Outcome::Fail),
            unknown: with(Outcome::Unknown),
            firings: evidence.records.ended.iter().filter(|record| record.task != 0).count(),
            executions: evidence.testimony.executions.len(),
            again: evidence.executed_again(),
            forgotten: lost::forgotten(evidence),
            panics: evidence.counted.panics.clone(),
            violations: violations.iter().flat_map(|check| check(evidence)).collect(),
        }
    }

    /// Accepted and gone, or told to have ended though it did not.
    pub fn lost(&self) -> usize {
        self.count(&[Invariant::Lost, Invariant::Durable])
    }

    /// Done more often than the faults explain.
    pub fn doubled(&self) -> usize {
        self.count(&[Invariant::Twice, Invariant::Executions, Invariant::Overlap])
    }

    fn count(&self, which: &[Invariant]) -> usize {
        self.violations.iter().filter(|violation| which.contains(&violation.invariant)).count()
    }
}
