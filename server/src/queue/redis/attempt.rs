//! Attempts: claimed, accepted, settled.

use std::collections::HashMap;

use futures_util::future::try_join_all;

use super::BATCH;
use super::enter::{ExtraKeys, millis};
use super::keys::place_text;
use super::link::{Request, garbled};
use super::queue::RedisQueue;
use super::record::counters_text;
use crate::queue::{Claim, Claimed, Delivery, QueueError, SessionId, Settled, Settlement, Step};
use crate::run::{Fence, Place, RunId};
use marabunta_proto::name::Name;

/// 1: there is more, 2: the session is not the live one; and what was taken: `{ id, fence, attempt, body }`.
type RawClaimed = (u8, Vec<(String, u64, u32, Vec<u8>)>);

impl RedisQueue {
    pub(super) async fn claim_all(&self, claims: Vec<Claim>) -> Result<Vec<Claimed>, QueueError> {
        if self.shards == 1 {
            return self.claim_in(0, &claims).await;
        }
        if claims.is_empty() {
            return Ok(Vec::new());
        }
        // What one shard has is not to be asked of all: that would take more than a session can hold.
        let places: Vec<Place> = claims.iter().map(|claim| claim.place.clone()).collect();
        let (shares, left) = share(&claims, self.ready_in(&places).await?);
        let parts = (0..self.shards).zip(&shares).map(|(shard, share)| self.claim_in(shard, share));
        let parts = try_join_all(parts).await?;
        let more = claims.iter().map(|claim| left.get(&claim.place).is_some_and(|left| *left > 0));
        let mut claimed: Vec<Claimed> = more.map(|more| Claimed { more, ..Claimed::default() }).collect();
        for part in parts {
            for (sum, part) in claimed.iter_mut().zip(part) {
                sum.more |= part.more;
                sum.unknown |= part.unknown;
                sum.deliveries.extend(part.deliveries);
            }
        }
        Ok(claimed)
    }

    async fn claim_in(&self, shard: u16, claims: &[Claim]) -> Result<Vec<Claimed>, QueueError> {
        if claims.iter().all(|claim| claim.max == 0) {
            return Ok(vec![Claimed::default(); claims.len()]);
        }
        let mut claimed = Vec::with_capacity(claims.len());
        let mut rest = claims;
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_of(rest));
            let mut call = self.call(&self.scripts.claim, shard);
            for claim in batch {
                call.arg(place_text(&claim.place)).arg(claim.worker.as_str()).arg(claim.session.to_string());
                call.arg(claim.max.min(BATCH as u32));
            }
            let answers: Vec<RawClaimed> = self.link.run(&Request::Script(call)).await?;
            for (word, deliveries) in answers {
                let deliveries = deliveries.into_iter().map(|(run, fence, attempt, body)| {
                    let run = run.parse().map_err(|_| garbled("delivery"))?;
                    Ok(Delivery { run, fence: Fence(fence), attempt, body: body.into() })
                });
                claimed.push(Claimed {
                    deliveries: deliveries.collect::<Result<_, QueueError>>()?,
                    more: word == 1,
                    unknown: word == 2,
                });
            }
            rest = after;
        }
        Ok(claimed)
    }

    pub(super) async fn accept_all(&self, runs: Vec<(RunId, Fence)>) -> Result<Vec<bool>, QueueError> {
        let request = |shard, runs: &[(RunId, Fence)]| {
            let mut call = self.call(&self.scripts.accept, shard);
            for (run, fence) in runs {
                call.arg(run.to_string()).arg(fence.0);
            }
            Request::Script(call)
        };
        self.scatter(runs, |(run, _)| run.shard(), request, |answers, _| Ok(answers)).await
    }

    pub(super) async fn unaccepted_by(
        &self,
        sessions: Vec<(Name, SessionId)>,
    ) -> Result<Vec<Vec<(RunId, Fence)>>, QueueError> {
        let mut found = Vec::with_capacity(sessions.len());
        for batch in sessions.chunks(BATCH) {
            let parts: Vec<Vec<Vec<String>>> = self
                .each(|shard| {
                    let mut call = self.call(&self.scripts.unaccepted, shard);
                    for (worker, session) in batch {
                        call.arg(worker.as_str()).arg(session.to_string());
                    }
                    Request::Script(call)
                })
                .await?;
            for index in 0..batch.len() {
                let given = parts.iter().filter_map(|part| part.get(index)).flat_map(|one| one.chunks(2));
                found.push(given.map(read_given).collect::<Result<_, _>>()?);
            }
        }
        Ok(found)
    }

    pub(super) async fn settle_all(&self, settlements: Vec<Settlement>) -> Result<Vec<Settled>, QueueError> {
        let request = |shard, settlements: &[Settlement]| {
            let mut call = self.call(&self.scripts.settle, shard);
            call.arg(millis(self.limits.results));
            let mut extra = ExtraKeys::default();
            for settlement in settlements {
                call.arg(settlement.run.to_string());
                match settlement.fence {
                    None => call.arg(""),
                    Some(fence) => call.arg(fence.0),
                };
                match &settlement.step {
                    Step::Again { delay, counters, attempt } => {
                        call.arg("again").arg(millis(*delay)).arg(counters_text(*counters)).arg(attempt)
                    }
                    Step::Remove { result } => {
                        let bucket = extra.number(self.keys.results(shard, settlement.run));
                        call.arg("remove").arg(result.as_deref().unwrap_or_default()).arg(bucket).arg("")
                    }
                };
            }
            extra.declare(&mut call);
            Request::Script(call)
        };
        let read = |answers: Vec<String>, _| answers.iter().map(|answer| read_settled(answer)).collect();
        self.scatter(settlements, |settlement| settlement.run.shard(), request, read).await
    }
}

/// How many of these claims go into one call: so many that they take no more than a batch, and one at least.
fn batch_of(claims: &[Claim]) -> usize {
    let mut sum = 0;
    let fits = claims.iter().take_while(|claim| {
        sum += (claim.max as usize).clamp(1, BATCH);
        sum <= BATCH
    });
    fits.count().max(1)
}

/// Shares claims among shards by how many runs are ready there: of each shard, one claim per claim, and what is left in each place.
fn share(claims: &[Claim], ready: Vec<Vec<u64>>) -> (Vec<Vec<Claim>>, HashMap<Place, u64>) {
    let mut wanted: Vec<u32> = claims.iter().map(|claim| claim.max).collect();
    let mut left_over: HashMap<Place, u64> = HashMap::new();
    let mut shares = Vec::with_capacity(ready.len());
    for counts in ready {
        // Two claims may be for the same place.
        let mut here: HashMap<&Place, u64> = claims.iter().map(|claim| &claim.place).zip(counts).collect();
        let mut share = Vec::with_capacity(claims.len());
        for (claim, wanted) in claims.iter().zip(&mut wanted) {
            let left = here.entry(&claim.place).or_default();
            let max = u32::try_from(*left).unwrap_or(u32::MAX).min(*wanted);
            *wanted -= max;
            *left -= u64::from(max);
            share.push(Claim { max, ..claim.clone() });
        }
        for (place, left) in here {
            *left_over.entry(place.clone()).or_default() += left;
        }
        shares.push(share);
    }
    (shares, left_over)
}

fn read_given(given: &[String]) -> Result<(RunId, Fence), QueueError> {
    let wrong = || garbled("attempt");
    let [run, fence] = given else { return Err(wrong()) };
    Ok((run.parse().map_err(|_| wrong())?, Fence(fence.parse().map_err(|_| wrong())?)))
}

fn read_settled(answer: &str) -> Result<Settled, QueueError> {
    match answer {
        "settled" => Ok(Settled::Settled),
        "already" => Ok(Settled::Already),
        "stale" => Ok(Settled::Stale),
        "unknown" => Ok(Settled::Unknown),
        _ => Err(garbled("settlement")),
    }
}
