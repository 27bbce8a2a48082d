//! The table of what was seen.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::finding::{Bar, Finding};
use super::named::Named;
use crate::support::Backend;

/// A named fault that was tried on a backend.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub number: &'static str,
    pub fault: &'static str,
    pub backend: &'static str,
    pub seen: String,
    /// In seconds.
    pub detection: Option<f64>,
    /// In seconds.
    pub recovery: Option<f64>,
    pub runs: usize,
    pub lost: usize,
    pub doubled: usize,
    /// Executions beyond the first of their run that the fault explains.
    pub again: usize,
    pub passes: bool,
    /// Why it does not.
    pub complaints: Vec<String>,
    /// How long all of it took, in seconds.
    pub took: f64,
}

impl Row {
    /// `finding` is what came of it, or how it broke off.
    pub fn new(named: &Named, backend: Backend, finding: Result<Finding, String>, took: Duration) -> Self {
        let mut row = Self {
            number: named.number,
            fault: named.name,
            backend: label(backend),
            seen: String::new(),
            detection: None,
            recovery: None,
            runs: 0,
            lost: 0,
            doubled: 0,
            again: 0,
            passes: false,
            complaints: Vec::new(),
            took: took.as_secs_f64(),
        };
        match finding {
            Ok(finding) => {
                let seconds = |bar: &Option<Bar>| Some(bar.as_ref()?.took?.as_secs_f64());
                (row.detection, row.recovery) = (seconds(&finding.detection), seconds(&finding.recovery));
                row.seen = finding.seen.join("; ");
                row.runs = finding.verdict.accepted + finding.verdict.firings;
                (row.lost, row.doubled) = (finding.verdict.lost(), finding.verdict.doubled());
                row.again = finding.verdict.again;
                (row.passes, row.complaints) = (finding.passes(), finding.complaints());
            }
            Err(error) => row.complaints.push(error),
        }
        row
    }

    /// One line, as soon as it is known.
    pub fn line(&self) -> String {
        let verdict = if self.passes { "ok" } else { "FAILED" };
        let mut line = format!(
            "{:>7}  {:<34} {:<9} {:>7} {:>7} {:>7} {:>5} {:>8} {:>6}  {verdict:<7} {}",
            self.number,
            self.fault,
            self.backend,
            seconds(self.detection),
            seconds(self.recovery),
            self.runs,
            self.lost,
            self.doubled,
            self.again,
            self.seen
        );
        for complaint in &self.complaints {
            write!(line, "\n{:>9}{complaint}", "").expect("a String takes everything");
        }
        line
    }
}

/// The line above the rows.
pub fn head() -> String {
    format!(
        "{:>7}  {:<34} {:<9} {:>7} {:>7} {:>7} {:>5} {:>8} {:>6}  {:<7} {}",
        "number",
        "fault",
        "backend",
        "noticed",
        "well",
        "runs",
        "lost",
        "doubled",
        "again",
        "verdict",
        "seen"
    )
}

/// All rows for docs/reliability.md.
pub fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| # | fault | backend | seen | noticed after | well after | runs | lost | doubled | again, explained | verdict |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for row in rows {
        let verdict = if row.passes { "ok" } else { "**failed**" };
        writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {verdict} |",
            row.number,
            row.fault,
            row.backend,
            row.seen,
            seconds(row.detection),
            seconds(row.recovery),
            row.runs,
            row.lost,
            row.doubled,
            row.again
        )
        .expect("a String takes everything");
    }
    text
}

pub fn label(backend: Backend) -> &'static str {
    match backend {
        Backend::Embedded => "embedded",
        Backend::MariaDbRedis => "services",
    }
}

fn seconds(time: Option<f64>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1} s"))
}
