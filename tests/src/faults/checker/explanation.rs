//! What explains that an attempt, which nobody says has failed, was followed by another: a fault on its own worker, on the server that had its
//! session or took its report, or on the queue, at a time and for as long as the rules of the leases need to give a run away.
//!
//! ```text
//! claimed --> begins --> ends --> its end is acknowledged
//!    '---------- what befalls it counts ----------'   unless the next has begun before
//! ```
//!
//! | what befalls it | what it explains |
//! |---|---|
//! | its worker dies after it began | what is begun 8 s later, or once the worker is back without it |
//! | its worker is told to stop | the same, if it did not come to its end in the time that it had |
//! | its worker, or that one's server, is there and says nothing | when it begins: what was not accepted in 5 s; later: 15 s of silence since the last heartbeat, of which there is one in 5 s, and 8 s to come back, of which it needs some |
//! | the worker's connections end | what is begun 8 s later, if it cannot come back, for that long or for something else that is struck |
//! | Redis forgets | anything, until the store knows of its end |
//!
//! Nothing is explained by a server that dies or stops, as its workers come to another with what they run; nor by a Redis that dies with its
//! file or says nothing, nor by a database that is away, as workers report until their end is taken.

use std::time::Duration;

use super::super::evidence::Evidence;
use super::super::history::{Fault, How, Touched};
use super::super::moment::Moment;
use super::super::testimony::{Execution, Word};

/// How long a delivery waits to be accepted.
const ACCEPT: Duration = Duration::from_secs(5);
/// How long a worker whose stream has ended has to come back.
const GRACE: Duration = Duration::from_secs(8);
/// How soon after its last word a worker is given up, at the earliest: 15 s less one heartbeat.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a worker waits at most before it tries again to connect.
const RECONNECT: Duration = Duration::from_secs(5);
/// How long an end may be on its way where nothing is wrong: a worker waits up to 5 s before it reports again.
const REPORT: Duration = Duration::from_secs(10);
/// How long the store may not know of an end that the queue has and whose server died with the row: one round of the reconciler, and the age
/// that it looks at.
const RECONCILED: Duration = Duration::from_secs(60);
/// By so much the moments of different processes, and what they do at once, may be apart.
const SLACK: Duration = Duration::from_secs(1);

/// Whether a fault explains that the attempt after this one was begun at this moment.
pub fn explains(evidence: &Evidence, attempt: &Execution, next: Moment) -> bool {
    let trial = Trial::of(evidence, attempt, next);
    evidence.faults.iter().any(|fault| trial.blames(fault)) || trial.died_with_another()
}

/// Whether its worker was struck so that this attempt may have been given up for lost by this moment.
pub fn lost_with_worker(evidence: &Evidence, attempt: &Execution, by: Moment) -> bool {
    let trial = Trial::of(evidence, attempt, by);
    let own = |fault: &&Fault| fault.touches_worker(trial.worker());
    attempt.word == Some(Word::Dies)
        || evidence.faults.iter().filter(own).any(|fault| trial.blames(fault))
        || trial.died_with_another()
}

struct Trial<'a> {
    evidence: &'a Evidence,
    attempt: &'a Execution,
    /// When the next one began, or would have.
    next: Moment,
    /// When this one was given to its worker.
    claimed: Moment,
    /// By when its end was acknowledged for sure.
    acknowledged: Moment,
}

impl<'a> Trial<'a> {
    fn of(evidence: &'a Evidence, attempt: &'a Execution, next: Moment) -> Self {
        let known = evidence.records.attempts_of(attempt.run).iter().find(|known| {
            known.number == u32::from(attempt.attempt)
                && evidence.records.name(known.worker) == evidence.testimony.worker(attempt)
        });
        let earliest = attempt.start.min(next);
        let claimed = known.map(|known| known.claimed).filter(|claimed| *claimed <= earliest);
        let claimed = claimed.unwrap_or_else(|| earliest.minus(ACCEPT));
        let acknowledged = acknowledged(evidence, attempt);
        Self { evidence, attempt, next, claimed, acknowledged }
    }

    fn worker(&self) -> &str {
        self.evidence.testimony.worker(self.attempt)
    }

    /// Up to when what befalls it counts.
    fn until(&self) -> Moment {
        self.acknowledged.min(self.next)
    }

    fn blames(&self, fault: &Fault) -> bool {
        if !fault.during(self.claimed, self.until(), Duration::ZERO) {
            return fault.forgets && self.is_forgotten_by(fault);
        }
        let worker = fault.touches_worker(self.worker());
        match fault.how {
            _ if fault.forgets => true,
            How::Gone => worker && self.dies_by(fault),
            How::Told => worker && self.dies_by(fault) && !self.came_to_an_end(),
            How::Away => worker && self.is_kept_away_by(fault),
            How::Silent => (worker || self.has_its_server(fault)) && self.is_given_up_for(fault),
        }
    }

    /// It was at work when its process ended.
    fn dies_by(&self, fault: &Fault) -> bool {
        fault.healed >= self.attempt.start
            && fault.applied.plus(SLACK) >= self.attempt.start
            && self.next.plus(SLACK) >= fault.healed.min(fault.applied.plus(GRACE))
    }

    fn came_to_an_end(&self) -> bool {
        !matches!(self.attempt.word, None | Some(Word::Stopped))
    }

    fn is_kept_away_by(&self, fault: &Fault) -> bool {
        let back_by = fault.applied.plus(GRACE);
        let other = |other: &&Fault| {
            let blocks =
                other.how == How::Silent && other.touches_a_server() || other.touches(&Touched::Queue);
            blocks && other.during(fault.applied, back_by, RECONNECT)
        };
        let kept =
            fault.lasted() + RECONNECT >= GRACE || self.evidence.faults.iter().any(|fault| other(&fault));
        kept && self.next.plus(SLACK) >= back_by
    }

    fn is_given_up_for(&self, fault: &Fault) -> bool {
        let late = |after: Duration| self.next.plus(SLACK) >= fault.applied.plus(after);
        let unaccepted = fault.applied <= self.attempt.start.plus(SLACK)
            && fault.lasted() + SLACK >= ACCEPT
            && late(ACCEPT);
        let silent = fault.lasted() + RECONNECT >= SILENCE + GRACE && late(SILENCE + GRACE);
        unaccepted || silent
    }

    /// The server, or the one whose way to Redis it is, had the worker's session then, or recorded the attempt's end.
    fn has_its_server(&self, fault: &Fault) -> bool {
        let sessions = &self.evidence.sessions;
        let held = sessions.of(self.worker(), self.claimed, self.until());
        held.chain(self.took_its_report()).any(|server| {
            fault.touches(&Touched::Server(server)) || fault.touches(&Touched::WayToQueue(server))
        })
    }

    fn took_its_report(&self) -> Option<usize> {
        let attempts = self.evidence.records.attempts_of(self.attempt.run).iter();
        let own = attempts.filter(|known| known.number == u32::from(self.attempt.attempt));
        own.filter_map(|known| {
            self.evidence.sessions.servers.get(self.evidence.records.name(known.server)).copied()
        })
        .next()
    }

    /// Its end was acknowledged, as the queue had it, and on its way to the store when the queue forgot it.
    fn is_forgotten_by(&self, fault: &Fault) -> bool {
        let mut faults = self.evidence.faults.iter();
        let died = faults.any(|server| {
            server.ends_a_server() && server.during(self.attempt.end, self.acknowledged, Duration::ZERO)
        });
        died && fault.during(self.claimed, self.acknowledged.plus(RECONCILED).min(self.next), Duration::ZERO)
    }

    /// Another attempt killed the process in which it ran.
    fn died_with_another(&self) -> bool {
        let own = self.attempt;
        own.word.is_none()
            && self.evidence.testimony.executions.iter().any(|other| {
                other.word == Some(Word::Dies) && (other.worker, other.pid) == (own.worker, own.pid)
            })
    }
}

/// When an end was acknowledged at the latest: once nothing that it needs was struck for long enough.
fn acknowledged(evidence: &Evidence, attempt: &Execution) -> Moment {
    let worker = evidence.testimony.worker(attempt);
    let mut by = attempt.end.plus(REPORT);
    loop {
        let hindered = evidence.faults.iter().filter(|fault| {
            fault.during(attempt.end, by, Duration::ZERO)
                && (fault.touches_worker(worker)
                    || fault.touches_a_server()
                    || fault.touches_the_store()
                    || fault.touches(&Touched::Queue))
        });
        match hindered.map(|fault| fault.healed.plus(REPORT)).max() {
            Some(later) if later > by => by = later,
            _ => return by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::hand_made::{Made, SECOND, evidence};
    use super::*;

    /// A run that `w-1` begins at 100 s, and ends at 110 s unless `ends` is false, and `w-2` at `next`; the session is with server 0.
    fn twice(ends: bool, next: u64) -> Made {
        let mut made = evidence();
        made.execution(1, "w-1", 100 * SECOND, if ends { 110 * SECOND } else { 0 });
        made.execution(1, "w-2", next * SECOND, (next + 1) * SECOND);
        made.session("w-1", 1, 0).session("w-1", 0, 50 * SECOND);
        made
    }

    fn is_explained(made: &Made) -> bool {
        let executions = made.0.testimony.of(1);
        explains(&made.0, &executions[0], executions[1].start)
    }

    fn struck(made: &mut Made, part: Touched, how: How, from: u64, to: u64) {
        let fault = made.fault_on(part, from * SECOND, to * SECOND);
        made.0.faults[fault].how = how;
    }

    fn worker(name: &str) -> Touched {
        Touched::Worker(name.to_owned())
    }

    #[test]
    fn nothing_is_explained_without_a_fault() {
        assert!(!is_explained(&twice(true, 130)));
    }

    #[test]
    fn a_worker_that_dies_explains_what_begins_after_its_grace_or_its_return() {
        let table = [
            ("w-1", 105, 106, 107, true),
            ("w-1", 105, 130, 113, true),
            ("w-1", 105, 130, 108, false),
            ("w-2", 105, 106, 107, false),
            ("w-1", 90, 95, 107, false),
        ];
        for (name, from, to, next, expected) in table {
            let mut made = twice(false, next);
            struck(&mut made, worker(name), How::Gone, from, to);
            assert_eq!(is_explained(&made), expected, "{name} from {from} to {to}, next at {next}");
        }
    }

    #[test]
    fn a_worker_that_dies_long_after_the_end_of_a_run_explains_nothing() {
        for (at, expected) in [(115, true), (125, false)] {
            let mut made = twice(true, 140);
            struck(&mut made, worker("w-1"), How::Gone, at, at + 1);
            assert_eq!(is_explained(&made), expected, "{at}");
        }
    }

    #[test]
    fn an_end_is_not_acknowledged_while_what_it_needs_is_away() {
        for part in [Touched::Store, Touched::Queue, Touched::Server(2)] {
            let mut made = twice(true, 140);
            struck(&mut made, part, How::Silent, 112, 120);
            assert!(!is_explained(&made));
            struck(&mut made, worker("w-1"), How::Gone, 125, 126);
            assert!(is_explained(&made));
        }
    }

    #[test]
    fn a_worker_that_is_told_to_stop_explains_only_what_did_not_end() {
        for (ends, expected) in [(false, true), (true, false)] {
            let mut made = twice(ends, 140);
            struck(&mut made, worker("w-1"), How::Told, 105, 139);
            assert_eq!(is_explained(&made), expected, "ends: {ends}");
        }
    }

    #[test]
    fn a_worker_that_says_nothing_explains_it_if_that_is_longer_than_its_lease() {
        let table = [
            // It could not accept.
            (100, 106, 107, true),
            (100, 106, 102, false),
            (100, 103, 107, false),
            // It had accepted.
            (104, 111, 130, false),
            (104, 130, 130, true),
            (104, 130, 115, false),
        ];
        for (from, to, next, expected) in table {
            let mut made = twice(false, next);
            struck(&mut made, worker("w-1"), How::Silent, from, to);
            assert_eq!(is_explained(&made), expected, "from {from} to {to}, next at {next}");
        }
    }

    #[test]
    fn a_cut_explains_it_only_if_the_worker_could_not_come_back() {
        for (to, next, expected) in [(105, 120, false), (109, 120, true), (109, 110, false)] {
            let mut made = twice(false, next);
            struck(&mut made, worker("w-1"), How::Away, 104, to);
            assert_eq!(is_explained(&made), expected, "to {to}, next at {next}");
        }
    }

    #[test]
    fn a_cut_explains_it_if_something_else_keeps_the_worker_from_coming_back() {
        let table = [
            (Touched::Server(2), How::Silent, true),
            (Touched::Server(2), How::Gone, false),
            (Touched::Queue, How::Gone, true),
            (Touched::Store, How::Gone, false),
        ];
        for (part, how, expected) in table {
            let mut made = twice(false, 120);
            struck(&mut made, worker("w-1"), How::Away, 104, 104);
            struck(&mut made, part.clone(), how, 100, 115);
            assert_eq!(is_explained(&made), expected, "{part:?} {how:?}");
        }
    }

    #[test]
    fn only_the_server_that_has_the_session_explains_it_and_only_by_hanging() {
        let table = [
            (0, How::Silent, true),
            (1, How::Silent, false),
            (0, How::Gone, false),
            (0, How::Told, false),
            (0, How::Away, false),
        ];
        for (server, how, expected) in table {
            for part in [Touched::Server(server), Touched::WayToQueue(server)] {
                let mut made = twice(false, 130);
                struck(&mut made, part.clone(), how, 104, 124);
                assert_eq!(is_explained(&made), expected, "{part:?} {how:?}");
            }
        }
    }

    #[test]
    fn the_server_that_took_its_report_explains_it() {
        let mut made = twice(true, 130);
        made.attempt(1, 1, 99 * SECOND, marabunta_proto::v1::Outcome::Succeeded);
        struck(&mut made, Touched::Server(0), How::Silent, 108, 128);
        made.0.sessions.opened.clear();
        assert!(is_explained(&made));
        made.0.sessions.servers.insert("host-0".to_owned(), 1);
        assert!(!is_explained(&made));
    }

    #[test]
    fn redis_explains_it_by_forgetting_and_by_nothing_else() {
        for (forgets, from, to, expected) in
            [(true, 105, 105, true), (true, 60, 61, false), (true, 126, 126, false), (false, 104, 124, false)]
        {
            let mut made = twice(true, 130);
            let fault = made.fault_on(Touched::Queue, from * SECOND, to * SECOND);
            made.0.faults[fault].forgets = forgets;
            assert_eq!(is_explained(&made), expected, "forgets {forgets} from {from} to {to}");
        }
    }

    #[test]
    fn what_redis_forgets_counts_from_the_claim_on() {
        for (claimed, expected) in [(90, true), (96, false)] {
            let mut made = twice(true, 130);
            made.attempt(1, 1, claimed * SECOND, marabunta_proto::v1::Outcome::Lost);
            made.forget(93 * SECOND);
            assert_eq!(is_explained(&made), expected, "claimed at {claimed}");
        }
    }

    #[test]
    fn what_redis_forgets_counts_for_longer_if_the_row_of_the_end_died_with_a_server() {
        let mut made = twice(true, 160);
        made.forget(140 * SECOND);
        assert!(!is_explained(&made));
        struck(&mut made, Touched::Server(0), How::Gone, 111, 112);
        assert!(is_explained(&made));
    }

    #[test]
    fn a_database_that_is_away_explains_nothing() {
        for (part, how) in [(Touched::Store, How::Gone), (Touched::WayToStore(0), How::Silent)] {
            let mut made = twice(true, 150);
            struck(&mut made, part, how, 105, 140);
            assert!(!is_explained(&made));
        }
    }

    #[test]
    fn an_attempt_that_kills_its_process_explains_what_died_with_it() {
        for (pid, expected) in [(1, true), (2, false)] {
            let mut made = twice(false, 130);
            made.execution(2, "w-1", 104 * SECOND, 105 * SECOND);
            let other = made.0.testimony.executions.last_mut().unwrap();
            (other.word, other.pid) = (Some(Word::Dies), pid);
            assert_eq!(is_explained(&made), expected, "process {pid}");
        }
    }
}
