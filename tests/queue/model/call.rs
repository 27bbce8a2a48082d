//! A call as it is made, and its answer in a form in which the answers of any queue can be compared.

use std::collections::{BTreeMap, BTreeSet};

use marabunta_proto::name::Name;
use marabunta_server::queue::{
    Admission, Cancelled, Claim, Claimed, Delivery, Entry, Queue, Session, SessionId, Settled, Settlement,
};
use marabunta_server::run::{Fence, RunId};

use super::reference::{Met, Moment, Shard, Ticked, Uncertain};

#[derive(Debug, Clone)]
pub enum Call {
    Enqueue(Entry),
    Claim(Claim),
    Accept(RunId, Fence),
    Settle(Settlement),
    Cancel(RunId),
    Withdraw(RunId),
    Open(Session, Vec<(RunId, Fence)>),
    Renew(Name, SessionId),
    Close(Name, SessionId),
    Tick,
    Reap,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Enqueued(Admission),
    /// In order, each with the number of its attempt.
    Claimed(Vec<(RunId, u32)>, bool),
    Accepted(bool),
    Settled(Settled),
    Cancelled(Cancelled),
    Withdrawn(bool),
    Opened(Met),
    Renewed(bool),
    Closed,
    Ticked(Ticked),
    Reaped(BTreeMap<(Name, SessionId), BTreeSet<RunId>>),
}

impl Call {
    /// Asks a queue. Of a claim what was delivered is there too, with fences.
    pub async fn ask(self, queue: &dyn Queue) -> (Answer, Vec<Delivery>) {
        let answer = match self {
            Self::Enqueue(entry) => Answer::Enqueued(only(queue.enqueue(vec![entry]).await.unwrap())),
            Self::Claim(claim) => {
                let Claimed { deliveries, more, .. } = only(queue.claim(vec![claim]).await.unwrap());
                let given = deliveries.iter().map(|delivery| (delivery.run, delivery.attempt)).collect();
                return (Answer::Claimed(given, more), deliveries);
            }
            Self::Accept(run, fence) => {
                Answer::Accepted(only(queue.accept(vec![(run, fence)]).await.unwrap()))
            }
            Self::Settle(settlement) => Answer::Settled(only(queue.settle(vec![settlement]).await.unwrap())),
            Self::Cancel(run) => Answer::Cancelled(only(queue.cancel(vec![run]).await.unwrap())),
            Self::Withdraw(run) => Answer::Withdrawn(only(queue.withdraw(vec![run]).await.unwrap())),
            Self::Open(session, holding) => {
                let opened = queue.open(session, holding).await.unwrap();
                let fence = |record: &marabunta_server::queue::Record| record.fence.expect("it was claimed");
                Answer::Opened(Met {
                    superseded: opened.superseded.map(|session| session.id),
                    adopted: opened.adopted.iter().map(|record| (record.run, fence(record))).collect(),
                    missing: opened.missing.iter().map(|one| (one.record.run, one.begun)).collect(),
                    stale: opened.stale,
                    unknown: opened.unknown,
                })
            }
            Self::Renew(worker, id) => Answer::Renewed(only(queue.renew(vec![(worker, id)]).await.unwrap())),
            Self::Close(worker, id) => {
                queue.close(worker, id).await.unwrap();
                Answer::Closed
            }
            Self::Tick => {
                let tick = queue.tick().await.unwrap();
                Answer::Ticked(Ticked {
                    endings: tick.endings.iter().map(|ending| (ending.record.run, ending.cause)).collect(),
                    missed: tick.missed.iter().map(|record| record.run).collect(),
                    released: tick.released.len(),
                    more: tick.next.is_some(),
                })
            }
            Self::Reap => {
                let silent = queue.reap().await.unwrap().into_iter();
                let runs = |holding: Vec<marabunta_server::queue::Record>| {
                    holding.iter().map(|record| record.run).collect()
                };
                Answer::Reaped(silent.map(|one| ((one.worker, one.session), runs(one.holding))).collect())
            }
        };
        (answer.in_any_order(), Vec::new())
    }

    /// What the answer should be, and is from now on so.
    pub fn foretell(&self, shards: &mut [Shard], now: Moment) -> Result<Answer, Uncertain> {
        let count = shards.len();
        let home = |run: RunId| usize::from(run.shard()) % count;
        let answer = match self {
            Self::Enqueue(entry) => Answer::Enqueued(shards[home(entry.run)].enqueue(entry.clone(), now)),
            Self::Claim(claim) => {
                let (mut given, mut more) = (Vec::new(), false);
                // A queue in memory looks for another in the place of one that has expired.
                let refill = shards[0].clock.slack.is_zero();
                let mut left = claim.max;
                for shard in shards {
                    let ready = shard.ready(&claim.place).len() as u32;
                    // More is said by what was ready: of a session that is not live too, in several shards.
                    let max = if count == 1 { claim.max } else { left.min(ready) };
                    let part = Claim { max, ..claim.clone() };
                    let (runs, rest) = if max == 0 && count > 1 {
                        (Vec::new(), false)
                    } else {
                        shard.claim(&part, refill, now)?
                    };
                    left -= max.min(left);
                    more |= if count == 1 { rest } else { ready > max };
                    let attempts = runs.iter().map(|run| shard.record(*run).expect("it is open").attempt);
                    given.extend(runs.iter().copied().zip(attempts));
                }
                Answer::Claimed(given, more)
            }
            Self::Accept(run, fence) => Answer::Accepted(shards[home(*run)].accept(*run, *fence)),
            Self::Settle(settlement) => Answer::Settled(shards[home(settlement.run)].settle(settlement, now)),
            Self::Cancel(run) => Answer::Cancelled(shards[home(*run)].cancel(*run, now)),
            Self::Withdraw(run) => Answer::Withdrawn(shards[home(*run)].withdraw(*run)),
            Self::Open(session, holding) => {
                let mut met = Met::default();
                for (index, shard) in shards.iter_mut().enumerate() {
                    let here: Vec<_> =
                        holding.iter().copied().filter(|(run, _)| home(*run) == index).collect();
                    let part = shard.open(session.clone(), &here, now);
                    met.superseded = met.superseded.or(part.superseded);
                    met.adopted.extend(part.adopted);
                    met.missing.extend(part.missing);
                    met.stale.extend(part.stale);
                    met.unknown.extend(part.unknown);
                }
                Answer::Opened(met)
            }
            Self::Renew(worker, id) => {
                let parts: Vec<bool> = shards.iter_mut().map(|shard| shard.renew(worker, *id, now)).collect();
                Answer::Renewed(parts.into_iter().all(|live| live))
            }
            Self::Close(worker, id) => {
                shards.iter_mut().for_each(|shard| shard.close(worker, *id, now));
                Answer::Closed
            }
            Self::Tick => {
                let mut ticked = Ticked::default();
                for shard in shards {
                    let part = shard.tick(now)?;
                    ticked.endings.extend(part.endings);
                    ticked.missed.extend(part.missed);
                    ticked.released += part.released;
                    ticked.more |= part.more;
                }
                Answer::Ticked(ticked)
            }
            Self::Reap => {
                let mut silent: BTreeMap<_, BTreeSet<RunId>> = BTreeMap::new();
                for shard in shards {
                    for (worker, id, holding) in shard.reap(now)? {
                        silent.entry((worker, id)).or_default().extend(holding);
                    }
                }
                Answer::Reaped(silent)
            }
        };
        Ok(answer.in_any_order())
    }
}

impl Answer {
    /// Lists whose order says nothing, sorted.
    fn in_any_order(mut self) -> Self {
        match &mut self {
            Self::Opened(met) => {
                met.adopted.sort_unstable();
                met.missing.sort_unstable();
                met.stale.sort_unstable();
                met.unknown.sort_unstable();
            }
            Self::Ticked(ticked) => {
                ticked.endings.sort_unstable_by_key(|(run, _)| *run);
                ticked.missed.sort_unstable();
            }
            // How long it is until it is due is not compared.
            Self::Cancelled(_) => {}
            _ => {}
        }
        self
    }
}

fn only<T>(mut answers: Vec<T>) -> T {
    assert_eq!(answers.len(), 1, "one answer to one question");
    answers.remove(0)
}
