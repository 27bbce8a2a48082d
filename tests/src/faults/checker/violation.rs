//! What must not be.

use std::fmt;

use uuid::Uuid;

/// The invariants that testimony, history and records can judge, by the numbers of ARCHITECTURE.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// I1: no accepted run is lost, per class.
    Lost,
    /// I2: an acknowledged result is durable.
    Durable,
    /// I3: one accepted result for each fence, one end for each run, one run for each operation.
    Twice,
    /// I4: executions are explained.
    Executions,
    /// I5: a host never runs the same run twice at once.
    Overlap,
    /// I6: one firing per task and fire time, none silently missing.
    Firings,
    /// I7: attempts and losses are bounded.
    Bounds,
    /// I8: a run goes only to a worker it names or that matches.
    Place,
    /// I9: after quiet all places are empty.
    Quiet,
    /// I11: what could be begun is begun, whatever befalls others.
    Waiting,
    /// I12: fences only grow.
    Fences,
}

impl Invariant {
    pub fn number(self) -> u8 {
        match self {
            Self::Lost => 1,
            Self::Durable => 2,
            Self::Twice => 3,
            Self::Executions => 4,
            Self::Overlap => 5,
            Self::Firings => 6,
            Self::Bounds => 7,
            Self::Place => 8,
            Self::Quiet => 9,
            Self::Waiting => 11,
            Self::Fences => 12,
        }
    }
}

/// One violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: Invariant,
    /// The run it is about; 0 where it is about none.
    pub run: u128,
    pub says: String,
}

impl Violation {
    pub fn new(invariant: Invariant, run: u128, says: impl Into<String>) -> Self {
        Self { invariant, run, says: says.into() }
    }

    /// What it has in common with others: all but names, times and numbers.
    pub fn kind(&self) -> (Invariant, String) {
        let words = self.says.split_whitespace().filter(|word| !word.contains(|c: char| c.is_ascii_digit()));
        (self.invariant, words.collect::<Vec<_>>().join(" "))
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "I{}: ", self.invariant.number())?;
        if self.run != 0 {
            write!(f, "run {} ", Uuid::from_u128(self.run))?;
        }
        f.write_str(&self.says)
    }
}
