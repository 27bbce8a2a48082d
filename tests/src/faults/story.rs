//! All that is known of one run, for whoever looks for the reason of a violation.

use std::fmt::Write as _;

use uuid::Uuid;

use super::evidence::Evidence;
use super::history::Fault;
use super::moment::Moment;

/// A few lines: what was asked for, its executions, its attempts and its end as they stand, and what was struck in its time.
pub fn of(evidence: &Evidence, run: u128) -> String {
    let mut story = format!("run {}\n", Uuid::from_u128(run));
    tell(evidence, run, &mut story).expect("a String takes everything");
    story
}

fn tell(evidence: &Evidence, run: u128, story: &mut String) -> std::fmt::Result {
    let mut life = (Moment::NEVER, Moment(0));
    for one in evidence.submissions.iter().filter(|one| one.run == run) {
        let shape = &evidence.shapes[usize::from(one.shape)];
        let class = if shape.durable { "durable" } else { "fast" };
        let (asked, answered, tries) = (one.asked, one.answered, one.tries);
        writeln!(
            story,
            "  asked for at {asked}, accepted at {answered} after {tries} tries: {class}, {shape:?}"
        )?;
        life = (asked, answered);
    }
    for one in evidence.testimony.of(run) {
        let (worker, attempt) = (evidence.testimony.worker(one), one.attempt);
        let end = one.word.map_or("told of no end".to_owned(), |word| format!("{word:?} at {}", one.end));
        writeln!(story, "  {worker} began attempt {attempt} at {} and {end}", one.start)?;
        let servers: Vec<usize> = evidence.sessions.of(worker, one.start, one.start).collect();
        writeln!(story, "    with its session on server {servers:?}")?;
        life = (life.0.min(one.start), life.1.max(one.start));
    }
    for one in evidence.records.attempts_of(run) {
        let (worker, server) = (evidence.records.name(one.worker), evidence.records.name(one.server));
        let server = evidence.sessions.servers.get(server);
        let (number, claimed, outcome) = (one.number, one.claimed, one.outcome);
        writeln!(
            story,
            "  attempt {number} of {worker}, claimed at {claimed}: outcome {outcome}, says server {server:?}"
        )?;
    }
    match evidence.records.of(run) {
        Some(record) => writeln!(
            story,
            "  ended at {} in state {} for reason {}, failed {} times, lost {}",
            record.ended, record.state, record.reason, record.failed, record.lost
        )?,
        None if evidence.records.open.contains(&run) => writeln!(story, "  is open in the store")?,
        None => writeln!(story, "  is not in the store")?,
    }
    let meanwhile = |fault: &&Fault| fault.during(life.0, life.1, std::time::Duration::from_secs(30));
    for Fault { what, touched, applied, healed, .. } in evidence.faults.iter().filter(meanwhile) {
        writeln!(story, "  {what} {touched:?} from {applied} to {healed}")?;
    }
    Ok(())
}
