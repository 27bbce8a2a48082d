//! I6: one firing per task and fire time, and none silently missing: what did not take place is in the history as skipped.

use std::collections::HashMap;

use super::super::evidence::{Evidence, Schedule};
use super::super::records::Record;
use super::{Invariant, Violation};

/// How far a row may be from its fire time: not at all, but rows of `@every` begin where the task does.
const MICROS: i64 = 1_000_000;

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    evidence.schedules.iter().flat_map(|schedule| of(evidence, schedule)).collect()
}

fn of(evidence: &Evidence, schedule: &Schedule) -> Vec<Violation> {
    let violation =
        |run, says: String| Violation::new(Invariant::Firings, run, format!("{} {says}", schedule.task));
    let mut violations = Vec::new();
    let mut fired: HashMap<(i64, u16), &Record> = HashMap::new();
    let rows =
        evidence.records.ended.iter().filter(|record| evidence.records.name(record.task) == schedule.task);
    for record in rows {
        if let Some(other) = fired.insert((record.due, record.place), record) {
            let says = format!("fired twice for {}: also as {:032x}", moment(record.due), other.run);
            violations.push(violation(record.run, says));
        }
    }
    let each = schedule.shape.target.starts_with("all");
    let expected = if each { schedule.shape.workers.len() } else { 1 };
    let mut firings: HashMap<i64, usize> = HashMap::new();
    for (due, _) in fired.keys() {
        *firings.entry(*due).or_default() += 1;
    }
    let step = i64::try_from(schedule.every.as_micros()).expect("a schedule fires within a life");
    let first = (schedule.from + step - 1) / step * step;
    let mut due = first;
    while due < schedule.until {
        let found = firings.get(&due).copied().unwrap_or_default();
        if found != expected {
            violations.push(violation(0, format!("has {found} of {expected} firings for {}", moment(due))));
        }
        due += step;
    }
    for (due, _) in firings.iter().filter(|(due, _)| *due % step.min(MICROS) != 0) {
        violations
            .push(violation(0, format!("fired for {}, which its schedule does not name", moment(*due))));
    }
    violations
}

fn moment(micros: i64) -> String {
    chrono::DateTime::from_timestamp_micros(micros)
        .map_or_else(|| micros.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use marabunta_proto::v1::{Reason, RunState};

    use super::super::super::workload::Shape;
    use super::super::hand_made::{Made, evidence};
    use super::*;

    /// A task that fires each second from 10 s to 13 s, for one place.
    fn fires() -> Made {
        let mut made = evidence();
        made.0.schedules.push(Schedule {
            task: "tick".to_owned(),
            shape: Shape { target: "w-1".to_owned(), ..Shape::default() },
            every: Duration::from_secs(1),
            from: 9_500_000,
            until: 13_000_000,
        });
        made
    }

    fn firing(made: &mut Made, run: u128, due: i64, state: RunState) {
        made.record(run, state, Reason::Unspecified);
        let record = made.0.records.ended.iter_mut().find(|record| record.run == run).unwrap();
        (record.task, record.due) = (1, due * 1_000_000);
    }

    #[test]
    fn each_second_has_one_firing_that_took_place_or_was_skipped() {
        let mut made = fires();
        firing(&mut made, 1, 10, RunState::Done);
        firing(&mut made, 2, 11, RunState::Skipped);
        firing(&mut made, 3, 12, RunState::Error);
        assert_eq!(check(&made.0), []);
    }

    #[test]
    fn one_that_is_missing_is_found() {
        let mut made = fires();
        firing(&mut made, 1, 10, RunState::Done);
        firing(&mut made, 3, 12, RunState::Done);
        assert_eq!(check(&made.0).len(), 1);
    }

    #[test]
    fn one_that_fired_twice_is_found() {
        let mut made = fires();
        for (run, due) in [(1, 10), (2, 11), (3, 12), (4, 12)] {
            firing(&mut made, run, due, RunState::Done);
        }
        assert_eq!(check(&made.0).len(), 1);
    }
}
