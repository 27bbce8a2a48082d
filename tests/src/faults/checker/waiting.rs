//! I11: a fault on one host does not delay another, and none delays nothing. A run that somebody could begin is begun.
//!
//! It waited for nothing if for so long, before it was begun or something was broken,
//!
//! - nothing was broken, or had been lately, that it may need: servers, Redis, the database, a worker that may have it;
//! - one of its workers had a free slot all the time, as its tasks tell;
//! - and that worker began nothing that was asked for before it: then it may have waited its turn.

use std::collections::HashMap;
use std::time::Duration;

use super::super::evidence::Evidence;
use super::super::history::{Fault, Submission, Touched};
use super::super::moment::Moment;
use super::super::testimony::{Execution, Word};
use super::super::workload::Shape;
use super::{Invariant, Violation};

/// Much longer than a slow machine needs, and half of the pause of the sweep that finds what every hint has missed.
const LONG: Duration = Duration::from_secs(15);
/// How long a fault may act on after it was healed: what is only in the store is looked for each 30 s, when it is 10 s old.
const RECOVERY: Duration = Duration::from_secs(60);

pub fn check(evidence: &Evidence) -> Vec<Violation> {
    let workers = Workers::of(evidence);
    let executions = evidence.testimony.executions.iter();
    let deaths: Vec<&Execution> = executions.filter(|one| one.word == Some(Word::Dies)).collect();
    let mut violations = Vec::new();
    for (submission, shape) in evidence.accepted() {
        let Some(begun) = begun(evidence, submission.run) else { continue };
        // Not every worker has every handler.
        if begun.since(submission.answered) < LONG || shape.handler.is_some() {
            continue;
        }
        // What is broken later may have been what got it begun: so the time before each fault counts, too.
        let broken = evidence.faults.iter().map(|fault| fault.applied);
        let spans = broken.chain([begun]).filter(|end| *end <= begun).map(|end| (end.minus(LONG), end));
        let mut spans = spans.filter(|(from, _)| *from >= submission.answered);
        let waited = spans.find_map(|(from, to)| {
            let well = !is_troubled(evidence, &deaths, shape, from, to);
            let free = |worker: &&String| workers.is_free(worker, submission, from, to);
            let worker = if well { shape.workers.iter().find(free) } else { None };
            worker.map(|worker| (worker, to))
        });
        if let Some((worker, to)) = waited {
            let says = format!(
                "was accepted at {} and not begun at {to}, though {worker} was free and nothing was broken",
                submission.answered
            );
            violations.push(Violation::new(Invariant::Waiting, submission.run, says));
        }
    }
    violations
}

/// When somebody began it; the last moment, if nobody has. `None`: it ended without that, which is judged elsewhere.
fn begun(evidence: &Evidence, run: u128) -> Option<Moment> {
    let first = evidence.testimony.of(run).first().map(|first| first.start);
    first.or_else(|| evidence.records.of(run).is_none().then_some(evidence.gathered))
}

/// Something that it may need is broken, or has not recovered.
fn is_troubled(evidence: &Evidence, deaths: &[&Execution], shape: &Shape, from: Moment, to: Moment) -> bool {
    let may_have_it = |name: &String| shape.workers.contains(name);
    let matters = |fault: &&Fault| {
        let elsewhere = |part: &Touched| matches!(part, Touched::Worker(name) if !may_have_it(name));
        fault.touched.is_empty() || !fault.touched.iter().all(elsewhere)
    };
    // The fault that ends the span is not in it.
    let before = to.minus(Duration::from_micros(1));
    let dies = |execution: &&Execution| {
        execution.start < to
            && execution.start.plus(RECOVERY) >= from
            && shape.workers.iter().any(|name| name == evidence.testimony.worker(execution))
    };
    evidence.faults.iter().filter(matters).any(|fault| fault.during(from, before, RECOVERY))
        || deaths.iter().any(dies)
}

/// What each worker did, as its tasks tell.
struct Workers<'a>(HashMap<&'a str, Work>);

#[derive(Default)]
struct Work {
    /// When it began something, and when that was asked for, in this order.
    begun: Vec<(Moment, Moment)>,
    /// From when to when all of its slots were taken.
    full: Vec<(Moment, Moment)>,
}

impl<'a> Workers<'a> {
    fn of(evidence: &'a Evidence) -> Self {
        let asked: HashMap<u128, Moment> =
            evidence.submissions.iter().map(|submission| (submission.run, submission.asked)).collect();
        let mut changes: HashMap<&str, Vec<(Moment, i64)>> = HashMap::new();
        let mut workers: HashMap<&str, Work> =
            evidence.slots.keys().map(|name| (name.as_str(), Work::default())).collect();
        let next = evidence.testimony.executions.iter().skip(1).map(Some).chain([None]);
        for (execution, next) in evidence.testimony.executions.iter().zip(next) {
            let name = evidence.testimony.worker(execution);
            let Some(work) = workers.get_mut(name) else { continue };
            // A firing was due at some moment before it began: as if it had come first.
            let asked = asked.get(&execution.run).copied().unwrap_or_default();
            work.begun.push((execution.start, asked));
            // One that told of no end was over when it was begun again, and may go on where it was not.
            let again =
                next.filter(|next| next.run == execution.run).map_or(Moment::NEVER, |next| next.start);
            let end = if execution.word.is_some() { execution.end } else { again };
            changes.entry(name).or_default().extend([(execution.start, 1), (end, -1)]);
        }
        for (name, work) in &mut workers {
            work.begun.sort_unstable();
            let changes = changes.remove(name).unwrap_or_default();
            work.full = full(changes, i64::from(evidence.slots[*name]));
        }
        Self(workers)
    }

    /// It could have begun this run at any moment from `from` to `to`.
    fn is_free(&self, worker: &str, submission: &Submission, from: Moment, to: Moment) -> bool {
        let Some(work) = self.0.get(worker) else { return false };
        let at_once = work.full.iter().skip(work.full.partition_point(|(_, until)| *until < from));
        let full = at_once.take_while(|(since, _)| *since < to).next().is_some();
        let began = &work.begun[work.begun.partition_point(|(start, _)| *start < from)..];
        let mut began = began.iter().take_while(|(start, _)| *start < to);
        !full && !began.any(|(_, asked)| *asked < submission.answered)
    }
}

/// The spans in which as many executions are there as there are slots.
fn full(mut changes: Vec<(Moment, i64)>, slots: i64) -> Vec<(Moment, Moment)> {
    changes.sort_unstable();
    let mut spans = Vec::new();
    let (mut taken, mut since) = (0, None);
    for (at, change) in changes {
        taken += change;
        match since {
            None if taken >= slots => since = Some(at),
            Some(from) if taken < slots => {
                spans.push((from, at));
                since = None;
            }
            _ => {}
        }
    }
    spans.extend(since.map(|from| (from, Moment::NEVER)));
    spans
}

#[cfg(test)]
mod tests {
    use super::super::hand_made::{Made, SECOND, evidence};
    use super::*;

    /// Accepted at once and begun by `w-1` so many seconds later; both workers have one slot.
    fn begun_after(seconds: u64) -> Made {
        let mut made = evidence();
        made.0.slots = ["w-1", "w-2"].map(|name| (name.to_owned(), 1)).into();
        made.accepted(1, 0).execution(1, "w-1", seconds * SECOND, (seconds + 1) * SECOND);
        made
    }

    #[test]
    fn a_run_that_waits_for_nothing_is_found() {
        for (seconds, expected) in [(1, 0), (14, 0), (16, 1), (100, 1)] {
            assert_eq!(check(&begun_after(seconds).0).len(), expected, "{seconds} s");
        }
    }

    #[test]
    fn a_run_that_is_never_begun_is_found() {
        let mut made = begun_after(1);
        made.0.testimony.executions.clear();
        assert_eq!(check(&made.0), []);
        made.0.gathered = Moment(20 * SECOND);
        assert_eq!(check(&made.0).len(), 1);
    }

    #[test]
    fn a_fault_explains_it_while_it_is_there_and_until_all_has_recovered() {
        // From when to when something is broken, for a run that is begun after 200 s.
        for (from, to, expected) in
            [(190, 191, 1), (0, 10, 1), (0, 130, 0), (0, 200, 0), (10, 130, 0), (20, 130, 1)]
        {
            let mut made = begun_after(200);
            made.fault("w-1", from * SECOND, to * SECOND);
            assert_eq!(check(&made.0).len(), expected, "broken from {from} s to {to} s");
        }
    }

    #[test]
    fn a_fault_on_a_worker_that_may_not_have_it_explains_nothing() {
        for (part, expected) in [
            (Touched::Worker("w-3".to_owned()), 1),
            (Touched::Worker("w-2".to_owned()), 0),
            (Touched::Server(0), 0),
        ] {
            let mut made = begun_after(20);
            made.fault_on(part.clone(), 1, 30 * SECOND);
            assert_eq!(check(&made.0).len(), expected, "{part:?}");
        }
    }

    #[test]
    fn a_task_that_kills_its_worker_is_a_fault() {
        let mut made = begun_after(20);
        made.execution(2, "w-1", 2 * SECOND, 3 * SECOND);
        made.0.testimony.executions[1].word = Some(Word::Dies);
        assert_eq!(check(&made.0), []);
    }

    #[test]
    fn it_may_wait_for_a_slot_but_not_while_another_worker_is_free() {
        let mut made = begun_after(20);
        made.execution(2, "w-1", 0, 19 * SECOND);
        assert_eq!(check(&made.0).len(), 1, "w-2 is free");
        made.execution(3, "w-2", 2, 0);
        assert_eq!(check(&made.0), []);
    }

    #[test]
    fn it_may_wait_its_turn_but_not_be_passed_by() {
        for (asked, expected) in [(0, 0), (10 * SECOND, 1)] {
            let mut made = begun_after(20);
            made.0.shapes[0].workers.pop();
            made.0.slots.insert("w-1".to_owned(), 2);
            made.accepted(2, 0).execution(2, "w-1", 12 * SECOND, 13 * SECOND);
            made.0.submissions[1].asked = Moment(asked);
            assert_eq!(check(&made.0).len(), expected, "asked for at {asked}");
        }
    }
}
