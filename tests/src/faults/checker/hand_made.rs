//! Evidence that tests make by hand.

use marabunta_proto::v1::{Outcome as Ending, Reason, RunState};

use super::super::evidence::Evidence;
use super::super::history::{Fault, How, Outcome, Sighting, Submission, Told, Touched};
use super::super::moment::Moment;
use super::super::records::{Attempt, Record, Records};
use super::super::sessions::Opened;
use super::super::testimony::{Execution, Word};
use super::super::workload::Shape;

pub const SECOND: u64 = 1_000_000;

pub struct Made(pub Evidence);

/// One shape, for `w-1` and `w-2`, and nothing else.
pub fn evidence() -> Made {
    let mut made = Made(Evidence::default());
    made.0.records.names = vec![String::new(), "tick".to_owned()];
    made.shape(|_| {});
    made
}

impl Made {
    /// One more shape; gives its place.
    pub fn shape(&mut self, change: impl FnOnce(&mut Shape)) -> u16 {
        let workers = ["w-1", "w-2"].map(str::to_owned).to_vec();
        let mut shape = Shape { target: "any(role=web)".to_owned(), workers, ..Shape::default() };
        change(&mut shape);
        self.0.shapes.push(shape);
        u16::try_from(self.0.shapes.len() - 1).unwrap()
    }

    /// Accepted, executed once and recorded.
    pub fn done(&mut self, run: u128) -> &mut Self {
        self.accepted(run, 0).execution(run, "w-1", 10, 20).record(run, RunState::Done, Reason::Unspecified)
    }

    pub fn accepted(&mut self, run: u128, shape: u16) -> &mut Self {
        let op = u32::try_from(run).unwrap() + 1_000;
        let (asked, answered) = (Moment(1), Moment(2));
        self.0.submissions.push(Submission {
            run,
            asked,
            answered,
            op,
            shape,
            tries: 1,
            outcome: Outcome::Ok,
        });
        self
    }

    /// Of a run whose attempts are executed by `w-1`; it was given to it at the moment that its fence says.
    pub fn attempt(&mut self, run: u128, number: u32, fence: u64, outcome: Ending) -> &mut Self {
        let claimed = Moment(fence);
        let name = |records: &mut Records, name: &str| {
            let known = records.names.iter().position(|known| known == name);
            let place = known.unwrap_or_else(|| {
                records.names.push(name.to_owned());
                records.names.len() - 1
            });
            u16::try_from(place).unwrap()
        };
        let (worker, server) = (name(&mut self.0.records, "w-1"), name(&mut self.0.records, "host-0"));
        let outcome = outcome as u8;
        self.0.records.attempts.push(Attempt { run, fence, claimed, number, worker, server, outcome });
        self.0.records.attempts.sort_by_key(|attempt| (attempt.run, attempt.number));
        self
    }

    /// A session that this server opened at this moment.
    pub fn session(&mut self, worker: &str, server: usize, at: u64) -> &mut Self {
        let sessions = &mut self.0.sessions;
        sessions.servers.insert(format!("host-{server}"), server);
        sessions.opened.push(Opened { worker: worker.to_owned(), at: Moment(at), server });
        sessions.opened.sort_by(|one, other| (&one.worker, one.at).cmp(&(&other.worker, other.at)));
        self
    }

    /// From `start` to `end` in microseconds; an end of 0 is none.
    pub fn execution(&mut self, run: u128, worker: &str, start: u64, end: u64) -> &mut Self {
        let testimony = &mut self.0.testimony;
        let known = testimony.workers.iter().position(|name| name == worker);
        let worker = known.unwrap_or_else(|| {
            testimony.workers.push(worker.to_owned());
            testimony.workers.len() - 1
        });
        let attempt = testimony.executions.iter().filter(|other| other.run == run).count() + 1;
        let (end, word) = if end == 0 { (Moment::NEVER, None) } else { (Moment(end), Some(Word::Done)) };
        testimony.executions.push(Execution {
            run,
            start: Moment(start),
            end,
            op: u32::try_from(run).unwrap() + 1_000,
            pid: 1,
            attempt: u16::try_from(attempt).unwrap(),
            worker: u16::try_from(worker).unwrap(),
            word,
            doubled: false,
        });
        testimony.executions.sort_by_key(|execution| (execution.run, execution.start));
        self
    }

    pub fn record(&mut self, run: u128, state: RunState, reason: Reason) -> &mut Self {
        self.0.records.ended.push(Record {
            run,
            due: 0,
            ended: Moment(1_000 * SECOND),
            task: 0,
            place: 0,
            failed: 0,
            lost: 0,
            retries: 0,
            max_lost: 3,
            state: state as u8,
            reason: reason as u8,
            durable: false,
        });
        self.0.records.ended.sort_by_key(|record| record.run);
        self
    }

    pub fn sighting(&mut self, run: u128, state: RunState) -> &mut Self {
        self.0.sightings.push(Sighting { run, at: Moment(25), state: state as u8, reason: 0 });
        self
    }

    /// A success of `w-1`, told from 25 to 26.
    pub fn told(&mut self, run: u128, attempt: u32, acknowledged: bool) -> &mut Self {
        let (asked, answered) = (Moment(25), Moment(26));
        self.0.told.push(Told { run, attempt, asked, answered, acknowledged });
        self
    }

    pub fn fault(&mut self, worker: &str, from: u64, to: u64) -> usize {
        self.fault_on(Touched::Worker(worker.to_owned()), from, to)
    }

    pub fn fault_on(&mut self, part: Touched, from: u64, to: u64) -> usize {
        let (applied, healed) = (Moment(from), Moment(to));
        let what = "kill -9".to_owned();
        let how = How::Gone;
        self.0.faults.push(Fault { what, touched: vec![part], forgets: false, how, applied, healed });
        self.0.faults.len() - 1
    }

    pub fn forget(&mut self, at: u64) {
        let fault = self.fault_on(Touched::Queue, at, at);
        self.0.faults[fault].forgets = true;
    }
}
