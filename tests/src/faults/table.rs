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
    /// Of one that broke off nobody knows these.
    pub runs: Option<usize>,
    pub lost: Option<usize>,
    pub doubled: Option<usize>,
    /// Executions beyond the first of their run that the fault explains.
    pub again: Option<usize>,
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
            runs: None,
            lost: None,
            doubled: None,
            again: None,
            passes: false,
            complaints: Vec::new(),
            took: took.as_secs_f64(),
        };
        match finding {
            Ok(finding) => {
                let seconds = |bar: &Option<Bar>| Some(bar.as_ref()?.took?.as_secs_f64());
                (row.detection, row.recovery) = (seconds(&finding.detection), seconds(&finding.recovery));
                row.seen = finding.seen.join("; ");
                let verdict = &finding.verdict;
                row.runs = Some(verdict.accepted + verdict.firings);
                (row.lost, row.doubled) = (Some(verdict.lost()), Some(verdict.doubled()));
                row.again = Some(verdict.again);
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
            "{:>7}  {:<44} {:<9} {:>7} {:>7} {:>7} {:>5} {:>8} {:>6}  {verdict:<7} {}",
            self.number,
            self.fault,
            self.backend,
            seconds(self.detection),
            seconds(self.recovery),
            count(self.runs),
            count(self.lost),
            count(self.doubled),
            count(self.again),
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
        "{:>7}  {:<44} {:<9} {:>7} {:>7} {:>7} {:>5} {:>8} {:>6}  {:<7} {}",
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
            count(row.runs),
            count(row.lost),
            count(row.doubled),
            count(row.again)
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

fn count(number: Option<usize>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn seconds(time: Option<f64>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{time:.1} s"))
}

#[cfg(test)]
mod tests {
    use super::super::named;
    use super::*;

    #[test]
    fn of_a_fault_that_broke_off_nothing_is_said_to_be_lost_or_not() {
        let broken = Err("broke off: the server did not come up".to_owned());
        let row = Row::new(&named::all()[0], Backend::Embedded, broken, Duration::from_secs(1));
        let line = row.line();
        assert!(line.contains("FAILED") && line.ends_with("the server did not come up"), "{line}");
        let figures = line.split_once("embedded").expect("it names the backend").1;
        let figures: Vec<&str> = figures.split_whitespace().take(6).collect();
        assert_eq!(figures, ["-"; 6]);
    }
}
