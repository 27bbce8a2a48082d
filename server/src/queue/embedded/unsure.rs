//! Runs that were perhaps claimed a moment before the queue was lost: whoever has one says so when it connects. So they are held back while
//! the workers come back, however many they are and however long that takes them.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use crate::run::RunId;

/// A worker tries every 5 s at least, and a try may take as long.
const AFTER_THE_LATEST: Duration = Duration::from_secs(10);
/// How often it is looked whether somebody has come.
const LOOK: Duration = Duration::from_secs(1);

/// Which runs, and until when.
#[derive(Default)]
pub(super) struct Unsure {
    runs: HashSet<RunId>,
    /// When a worker came back last.
    latest: Option<Instant>,
    /// Then they are let go, whoever comes.
    end: Option<Instant>,
}

impl Unsure {
    /// A run that is due in a while, and is held back until `end` at the most.
    pub fn add(&mut self, run: RunId, end: Instant) {
        self.runs.insert(run);
        self.end.get_or_insert(end);
    }

    /// A worker has come back: others may be on their way.
    pub fn connected(&mut self, now: Instant) {
        if !self.runs.is_empty() {
            self.latest = Some(now);
        }
    }

    /// Until when this run, which is due, is to wait; `None`: it is let go. Before anybody has come, those who have one cannot have said so.
    pub fn holds(&mut self, run: RunId, now: Instant) -> Option<Instant> {
        let end = self.end?;
        if end <= now {
            *self = Self::default();
            return None;
        }
        let until = self.latest.map_or(now + LOOK, |latest| latest + AFTER_THE_LATEST);
        let held = until > now && self.runs.contains(&run);
        if !held {
            self.runs.remove(&run);
        }
        held.then(|| until.min(end))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(number: u8) -> RunId {
        format!("00000000-0000-8000-8000-{number:012}").parse().unwrap()
    }

    #[test]
    fn a_run_is_held_back_while_workers_come_back_and_not_for_ever() {
        let (mut unsure, run, other) = (Unsure::default(), run(1), run(2));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        unsure.connected(start);
        unsure.add(run, at(60));
        assert_eq!(unsure.holds(other, at(1)), None, "of another it is known that nobody has it");
        unsure.connected(at(8));
        assert_eq!(unsure.holds(run, at(10)), Some(at(18)));
        unsure.connected(at(17));
        assert_eq!(unsure.holds(run, at(18)), Some(at(27)));
        unsure.connected(at(55));
        assert_eq!(unsure.holds(run, at(56)), Some(at(60)));
        assert_eq!(unsure.holds(run, at(60)), None);
        unsure.connected(at(61));
        assert_eq!(unsure.holds(run, at(61)), None);
    }

    #[test]
    fn a_run_is_held_back_as_long_as_nobody_could_say_anything() {
        let (mut unsure, run) = (Unsure::default(), run(1));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        unsure.add(run, at(60));
        assert_eq!(unsure.holds(run, at(10)), Some(at(11)));
        unsure.connected(at(30));
        assert_eq!(unsure.holds(run, at(31)), Some(at(40)));
        assert_eq!(unsure.holds(run, at(40)), None);
        assert!(unsure.runs.is_empty());
    }
}
