//! What a scenario saw and whether that will do.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::audit::Audit;

/// One thing that must hold.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// What must hold, as a sentence.
    pub what: String,
    pub seen: String,
    pub holds: bool,
    /// It judges a time, or memory: what a machine that does other things too may fall short of.
    pub measured: bool,
}

/// All of a scenario.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    pub verdicts: Vec<Verdict>,
    /// What was accepted against what was executed, at the end.
    pub audit: Audit,
    /// How long it took until all were back, each time that they had to come back.
    pub back: Vec<Duration>,
    /// Figures, by their names.
    pub figures: Map<String, Value>,
}

impl Outcome {
    /// Of what came of it.
    pub fn judge(&mut self, what: impl Into<String>, seen: impl ToString, holds: bool) {
        self.note(Verdict { what: what.into(), seen: seen.to_string(), holds, measured: false });
    }

    /// Of a time, or of memory.
    pub fn measure(&mut self, what: impl Into<String>, seen: impl ToString, holds: bool) {
        self.note(Verdict { what: what.into(), seen: seen.to_string(), holds, measured: true });
    }

    fn note(&mut self, verdict: Verdict) {
        let holds = verdict.holds;
        progress(&format!("{}: {}: {}", if holds { "good" } else { "BAD" }, verdict.what, verdict.seen));
        self.verdicts.push(verdict);
    }

    pub fn figure(&mut self, name: &str, value: impl Into<Value>) {
        let value = value.into();
        progress(&format!("{name}: {value}"));
        self.figures.insert(name.to_owned(), value);
    }

    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.holds)
    }

    /// As [`holds`](Self::holds), without what was measured.
    pub fn is_right(&self) -> bool {
        self.verdicts.iter().all(|verdict| verdict.holds || verdict.measured)
    }

    pub fn json(&self) -> Value {
        let verdict = |one: &Verdict| json!({ "what": one.what, "seen": one.seen, "holds": one.holds });
        let verdicts: Vec<_> = self.verdicts.iter().map(verdict).collect();
        json!({ "holds": self.holds(), "verdicts": verdicts, "figures": self.figures })
    }
}

/// Says on standard error how far a scenario is.
pub fn progress(line: &str) {
    eprintln!("{line}");
}

/// Seconds with two digits, for figures.
pub fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 100.0).round() / 100.0
}
