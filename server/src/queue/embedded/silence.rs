//! Sessions that nobody hears of any more, and what is in flight for their workers.

use tokio::time::Instant;

use super::state::State;
use crate::queue::{Record, Session, Silent};
use marabunta_proto::name::Name;

/// The most sessions that one call reaps.
const BATCH: usize = 500;

impl State {
    pub fn reap(&mut self, now: Instant) -> Vec<Silent> {
        let paused = self.reaped.is_none_or(|last| now - last > self.limits.pause);
        self.reaped = Some(now);
        if paused {
            self.sessions.spare_all(now + self.limits.life);
        }
        let mut silent = Vec::new();
        for overdue in self.sessions.overdue(now, self.limits.offer, BATCH) {
            let Session { worker, id, .. } = overdue.session;
            let holding = self.held_by(&worker, now);
            if holding.is_empty() {
                self.sessions.forget(&worker);
            }
            if overdue.first || !holding.is_empty() {
                silent.push(Silent {
                    worker,
                    session: id,
                    since: now - overdue.deadline,
                    ended: overdue.ended,
                    holding,
                });
            }
        }
        silent
    }

    fn held_by(&self, worker: &Name, now: Instant) -> Vec<Record> {
        let runs = self.in_flight.get(worker).into_iter().flatten();
        runs.map(|run| self.record(&self.runs[run], now)).collect()
    }
}
