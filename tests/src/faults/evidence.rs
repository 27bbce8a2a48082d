//! All that is known when an installation has been broken and is quiet again.

use std::collections::HashMap;
use std::time::Duration;

use super::counted::Counted;
use super::history::{Fault, Outcome, Sighting, Submission, Told};
use super::moment::Moment;
use super::quiet::Quiet;
use super::records::Records;
use super::sessions::Sessions;
use super::testimony::{Execution, Testimony, Word};
use super::workload::Shape;

/// A task that fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// The task's name.
    pub task: String,
    /// What its firings are: target, workers, deed.
    pub shape: Shape,
    /// How far one firing is from the next.
    pub every: Duration,
    /// From when on and until when it was there for sure, in microseconds since 1970 by the database's clock.
    pub from: i64,
    pub until: i64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    pub shapes: Vec<Shape>,
    pub schedules: Vec<Schedule>,
    pub submissions: Vec<Submission>,
    pub sightings: Vec<Sighting>,
    /// Of workers that note what they are told.
    pub told: Vec<Told>,
    pub faults: Vec<Fault>,
    pub testimony: Testimony,
    pub records: Records,
    pub sessions: Sessions,
    pub counted: Counted,
    /// What each server logged.
    pub logs: Vec<String>,
    pub quiet: Quiet,
    /// How many runs each worker of the arena may have at once.
    pub slots: HashMap<String, u32>,
    /// When all of it was gathered.
    pub gathered: Moment,
}

impl Evidence {
    /// What was accepted, with what was asked for.
    pub fn accepted(&self) -> impl Iterator<Item = (&Submission, &Shape)> {
        let accepted = self.submissions.iter().filter(|submission| submission.outcome == Outcome::Ok);
        accepted.map(|submission| (submission, &self.shapes[usize::from(submission.shape)]))
    }

    /// Redis lost what it held at some moment from `from` to `to`.
    pub fn forgot(&self, from: Moment, to: Moment) -> bool {
        let mut forgetting = self.faults.iter().filter(|fault| fault.forgets);
        forgetting.any(|fault| fault.during(from, to, Duration::ZERO))
    }

    /// When the first run that was asked for after a moment had ended well, counted from that moment.
    pub fn first_end_after(&self, moment: Moment) -> Option<Duration> {
        let ended = |submission: &&Submission| submission.asked >= moment && submission.run != 0;
        let runs = self.submissions.iter().filter(ended);
        let ends = runs.flat_map(|submission| self.testimony.of(submission.run));
        let ends = ends.filter(|execution| execution.word == Some(Word::Done)).map(|execution| execution.end);
        ends.min().map(|end| end.since(moment))
    }

    /// How long after a moment the last of these workers began something new.
    pub fn all_at_work_after(&self, moment: Moment, workers: &[String]) -> Option<Duration> {
        let first = |worker: &String| {
            let of = |execution: &&Execution| {
                execution.start >= moment && self.testimony.worker(execution) == worker
            };
            self.testimony.executions.iter().filter(of).map(|execution| execution.start.since(moment)).min()
        };
        workers.iter().map(first).collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// How long after a moment the last of the `any(..)` runs that `worker` had under way then was begun again. `None`: one never was, or
    /// there was none.
    pub fn begun_again_after(&self, moment: Moment, worker: &str) -> Option<Duration> {
        let anywhere = self.accepted().filter(|(_, shape)| shape.target.starts_with("any"));
        let spans = anywhere.filter_map(|(submission, _)| {
            let executions = self.testimony.of(submission.run);
            let under_way = |execution: &&Execution| {
                execution.start < moment
                    && execution.end > moment
                    && self.testimony.worker(execution) == worker
            };
            executions.iter().find(under_way)?;
            Some(executions.iter().find(|later| later.start > moment).map(|later| later.start.since(moment)))
        });
        spans.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// Executions beyond the first of their runs.
    pub fn executed_again(&self) -> usize {
        self.testimony.executions.windows(2).filter(|pair| pair[0].run == pair[1].run).count()
    }

    /// The most often that an operation was asked for.
    pub fn most_tries(&self) -> u16 {
        self.submissions.iter().map(|submission| submission.tries).max().unwrap_or_default()
    }
}
