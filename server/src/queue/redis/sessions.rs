//! The sessions of workers. Each shard knows all of them, so that a claim and its session are in one place.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::time::Duration;

use super::BATCH;
use super::enter::millis;
use super::link::{Request, garbled};
use super::queue::RedisQueue;
use super::record::{Raw, read_record};
use crate::queue::{Beat, Hint, Missing, Opened, Phase, QueueError, Record, Session, SessionId, Silent};
use crate::run::{Fence, RunId};
use marabunta_proto::name::Name;

/// `{ superseded, same, adopted, missing, stale, unknown }`; the first is `{ session, server, instance }`, the last two are numbers from 1.
type RawOpened = (Option<(String, String, String)>, String, Vec<Raw>, Vec<Raw>, Vec<usize>, Vec<usize>);

/// `{ worker, session, since, ended, holding }`.
type RawSilent = (String, String, u64, bool, Vec<Raw>);

impl RedisQueue {
    pub(super) async fn open_session(
        &self,
        session: Session,
        mut holding: Vec<(RunId, Fence)>,
    ) -> Result<Opened, QueueError> {
        // Of two attempts of one run the later counts.
        holding.sort_unstable_by_key(|(_, fence)| Reverse(*fence));
        let mut held: Vec<Vec<(RunId, Fence)>> = vec![Vec::new(); usize::from(self.shards)];
        for (run, fence) in holding {
            held[usize::from(run.shard() % self.shards)].push((run, fence));
        }
        let parts: Vec<RawOpened> = self
            .each(|shard| {
                let mut call = self.call(&self.scripts.open, shard);
                call.arg(millis(self.limits.life)).arg(session.worker.as_str()).arg(session.id.to_string());
                call.arg(&session.server).arg(&session.instance);
                for (run, fence) in &held[usize::from(shard)] {
                    call.arg(run.to_string()).arg(fence.0);
                }
                Request::Script(call)
            })
            .await?;
        let mut opened = Opened::default();
        for ((superseded, same, adopted, missing, stale, unknown), held) in parts.into_iter().zip(held) {
            let those = |numbers: Vec<usize>| {
                numbers.into_iter().filter_map(|n| held.get(n.checked_sub(1)?).copied()).collect::<Vec<_>>()
            };
            if let Some((id, server, instance)) = superseded {
                opened.superseded = Some(read_session(session.worker.clone(), &id, server, instance)?);
            }
            for raw in adopted {
                opened.adopted.push(read_record(raw)?);
            }
            for raw in missing {
                opened.missing.push(missed(read_record(raw)?, &same));
            }
            opened.stale.extend(those(stale));
            opened.unknown.extend(those(unknown));
        }
        Ok(opened)
    }

    pub(super) async fn renew_sessions(
        &self,
        sessions: Vec<(Name, SessionId)>,
    ) -> Result<Vec<bool>, QueueError> {
        let mut live = Vec::with_capacity(sessions.len());
        for batch in sessions.chunks(BATCH) {
            let parts: Vec<Vec<bool>> = self
                .each(|shard| {
                    let mut call = self.call(&self.scripts.renew, shard);
                    call.arg(millis(self.limits.life));
                    for (worker, id) in batch {
                        call.arg(worker.as_str()).arg(id.to_string());
                    }
                    Request::Script(call)
                })
                .await?;
            // One shard that lost it is enough: it must be opened there again.
            live.extend(
                (0..batch.len()).map(|index| parts.iter().all(|part| part.get(index) == Some(&true))),
            );
        }
        Ok(live)
    }

    pub(super) async fn doubt_sessions(&self) -> Result<(), QueueError> {
        self.each::<()>(|shard| {
            let mut call = self.call(&self.scripts.doubt, shard);
            call.arg(millis(self.limits.life));
            Request::Script(call)
        })
        .await?;
        self.tell_all(&Hint::Interrupted).await
    }

    pub(super) async fn close_session(&self, worker: Name, session: SessionId) -> Result<(), QueueError> {
        self.each::<()>(|shard| {
            let mut call = self.call(&self.scripts.close, shard);
            call.arg(millis(self.limits.grace)).arg(worker.as_str()).arg(session.to_string());
            Request::Script(call)
        })
        .await?;
        Ok(())
    }

    pub(super) async fn beat_of(&self, life: Duration) -> Result<Beat, QueueError> {
        let mut call = self.call(&self.scripts.beat, 0);
        call.arg(millis(life)).arg(&self.server);
        call.key(self.keys.named(0, "servers"));
        let (alive, gone) = self.link.run(&Request::Script(call)).await?;
        Ok(Beat { alive, gone })
    }

    pub(super) async fn reap_sessions(&self) -> Result<Vec<Silent>, QueueError> {
        let limits = &self.limits;
        let parts: Vec<Vec<RawSilent>> = self
            .each(|shard| {
                let mut call = self.call(&self.scripts.reap, shard);
                call.arg(millis(limits.life)).arg(millis(limits.pause)).arg(millis(limits.offer)).arg(BATCH);
                Request::Script(call)
            })
            .await?;
        let mut silent: BTreeMap<(Name, SessionId), Silent> = BTreeMap::new();
        for (worker, session, since, ended, holding) in parts.into_iter().flatten() {
            let wrong = || garbled("silent session");
            let worker: Name = worker.parse().map_err(|_| wrong())?;
            let session = SessionId(session.parse().map_err(|_| wrong())?);
            let since = Duration::from_millis(since);
            let known = silent.entry((worker.clone(), session));
            let known = known.or_insert(Silent { worker, session, since, ended, holding: Vec::new() });
            for raw in holding {
                known.holding.push(read_record(raw)?);
            }
        }
        Ok(silent.into_values().collect())
    }

    /// Any shard knows them all; the first is asked.
    pub(super) async fn live_sessions(&self, workers: Vec<Name>) -> Result<Vec<Option<Session>>, QueueError> {
        if workers.is_empty() {
            return Ok(Vec::new());
        }
        let mut look = redis::pipe();
        look.cmd("HMGET").arg(self.keys.named(0, "sessions"));
        workers.iter().for_each(|worker| _ = look.arg(worker.as_str()));
        let (lines,): (Vec<Option<String>>,) = self.link.run(&Request::Commands(look)).await?;
        let read = |(worker, line): (Name, Option<String>)| match line {
            None => Ok(None),
            Some(line) => read_live(worker, &line),
        };
        workers.into_iter().zip(lines).map(read).collect()
    }
}

/// `session stage deadline server instance`; `None` unless it is live.
fn read_live(worker: Name, line: &str) -> Result<Option<Session>, QueueError> {
    let words: Vec<&str> = line.splitn(5, ' ').collect();
    match words[..] {
        [id, "L", _, server, instance] => read_session(worker, id, server.into(), instance.into()).map(Some),
        [_, "C" | "G" | "S", _, _, _] => Ok(None),
        _ => Err(garbled("session")),
    }
}

fn read_session(worker: Name, id: &str, server: String, instance: String) -> Result<Session, QueueError> {
    let id = SessionId(id.parse().map_err(|_| garbled("session"))?);
    Ok(Session { worker, id, server, instance })
}

/// `same`: the session before, if it was of the same instance.
fn missed(record: Record, same: &str) -> Missing {
    let unbegun = matches!(&record.phase, Phase::InFlight { session, accepted: false, .. } if session.to_string() == same);
    Missing { record, begun: !unbegun }
}
