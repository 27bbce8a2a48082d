//! What the members really executed, in memory: the truth that the servers' account is held against.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// One life of a member: from its start to its death.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Life {
    pub member: usize,
    /// Counted from 1.
    pub number: u32,
}

/// One execution of a run.
#[derive(Clone, Debug)]
pub struct Execution {
    pub life: Life,
    /// As the assignment numbered it.
    pub attempt: u32,
    pub began: Instant,
    /// `None`: it is under way, was told to stop, or its member died with it.
    pub ended: Option<Instant>,
    /// When it was told to stop before its end, and did.
    pub stopped: Option<Instant>,
}

/// All executions, by run.
#[derive(Debug, Default)]
pub struct Testimony {
    runs: Mutex<HashMap<String, Vec<Execution>>>,
}

impl Testimony {
    /// Says which execution of the run it is, for [`ended`](Self::ended).
    pub fn began(&self, run: &str, attempt: u32, life: Life) -> usize {
        let execution = Execution { life, attempt, began: Instant::now(), ended: None, stopped: None };
        let mut runs = self.runs();
        let executions = runs.entry(run.to_owned()).or_default();
        executions.push(execution);
        executions.len() - 1
    }

    pub fn ended(&self, run: &str, execution: usize) {
        if let Some(execution) = self.runs().get_mut(run).and_then(|all| all.get_mut(execution)) {
            execution.ended = Some(Instant::now());
        }
    }

    pub fn stopped(&self, run: &str, execution: usize) {
        if let Some(execution) = self.runs().get_mut(run).and_then(|all| all.get_mut(execution)) {
            execution.stopped = Some(Instant::now());
        }
    }

    /// Of one run, in the order in which they began.
    pub fn of(&self, run: &str) -> Vec<Execution> {
        self.runs().get(run).cloned().unwrap_or_default()
    }

    /// How many executions began.
    pub fn count(&self) -> usize {
        self.runs().values().map(Vec::len).sum()
    }

    /// How many runs were executed to the end, as far as their members know.
    pub fn finished(&self) -> usize {
        self.runs().values().filter(|all| all.iter().any(|one| one.ended.is_some())).count()
    }

    /// Runs that nobody has submitted, as far as `known` tells.
    pub fn strangers(&self, known: impl Fn(&str) -> bool) -> Vec<String> {
        self.runs().keys().filter(|run| !known(run)).cloned().collect()
    }

    fn runs(&self) -> MutexGuard<'_, HashMap<String, Vec<Execution>>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
