//! What a named fault brought up.

use std::collections::BTreeMap;
use std::time::Duration;

use super::checker::{Verdict, Violation};

/// A time that was measured and what it may be at the most.
#[derive(Clone, Debug)]
pub struct Bar {
    /// What took this time, as in "a new run completes".
    pub what: &'static str,
    /// `None`: it never came.
    pub took: Option<Duration>,
    pub limit: Duration,
}

impl Bar {
    pub fn holds(&self) -> bool {
        self.took.is_some_and(|took| took < self.limit)
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Until the fault was noticed and acted on.
    pub detection: Option<Bar>,
    /// Until all was well again.
    pub recovery: Option<Bar>,
    pub verdict: Verdict,
    /// What else was demanded and is not so.
    pub unmet: Vec<String>,
    /// What else took too long, or too much: a machine that does other things too may fall short of it.
    pub exceeded: Vec<String>,
    /// What was seen, for people.
    pub seen: Vec<String>,
}

impl Finding {
    pub fn of(verdict: Verdict) -> Self {
        let unmet = verdict.panics.clone();
        Self { detection: None, recovery: None, verdict, unmet, exceeded: Vec::new(), seen: Vec::new() }
    }

    pub fn detected(mut self, what: &'static str, took: Option<Duration>, limit: u64) -> Self {
        self.detection = Some(Bar { what, took, limit: Duration::from_secs(limit) });
        self
    }

    pub fn recovered(mut self, what: &'static str, took: Option<Duration>, limit: u64) -> Self {
        self.recovery = Some(Bar { what, took, limit: Duration::from_secs(limit) });
        self
    }

    /// Something that must be so.
    pub fn demand(mut self, is_so: bool, what: impl Into<String>) -> Self {
        if !is_so {
            self.unmet.push(what.into());
        }
        self
    }

    /// A time, or memory, that must be within a bound.
    pub fn measure(mut self, is_so: bool, what: impl Into<String>) -> Self {
        if !is_so {
            self.exceeded.push(what.into());
        }
        self
    }

    /// No run was executed more than once, not even with an explanation.
    pub fn nothing_again(self) -> Self {
        let again = self.verdict.again;
        self.demand(again == 0, format!("{again} executions are not the first of their run"))
    }

    pub fn seen(mut self, what: impl Into<String>) -> Self {
        self.seen.push(what.into());
        self
    }

    /// Order and outcome are right, whatever the times.
    pub fn is_right(&self) -> bool {
        self.verdict.violations.is_empty() && self.unmet.is_empty()
    }

    /// What was measured is right.
    pub fn is_in_time(&self) -> bool {
        self.bars().all(Bar::holds) && self.exceeded.is_empty()
    }

    /// All is right.
    pub fn passes(&self) -> bool {
        self.is_right() && self.is_in_time()
    }

    pub fn bars(&self) -> impl Iterator<Item = &Bar> {
        self.detection.iter().chain(&self.recovery)
    }

    /// What is not as it must be, a line each; of violations of one kind the first and how many there are.
    pub fn complaints(&self) -> Vec<String> {
        let mut kinds: BTreeMap<_, Vec<&Violation>> = BTreeMap::new();
        for violation in &self.verdict.violations {
            kinds.entry(violation.kind()).or_default().push(violation);
        }
        let line = |of: &Vec<&Violation>| match of.len() {
            1 => of[0].to_string(),
            count => format!("{} ({count} times)", of[0]),
        };
        let mut lines: Vec<String> = kinds.values().map(line).collect();
        lines.extend(self.unmet.iter().chain(&self.exceeded).cloned());
        let late = self.bars().filter(|bar| !bar.holds());
        lines.extend(late.map(|bar| match bar.took {
            Some(took) => format!("{} after {took:.1?}, and may take {:?}", bar.what, bar.limit),
            None => format!("{}: never", bar.what),
        }));
        lines
    }
}
