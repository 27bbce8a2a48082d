//! Who submits: each request under an idempotency key, again and again until its fate is known.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use marabunta::connect::{self, Connection};
use marabunta_proto::v1::{
    Durability, SubmitBatchRequest, SubmitRequest, submit_request::What, submit_result::Result as Answer,
};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use uuid::Uuid;

use super::member::{self, HANDLER};

/// How long one call may take before its outcome is unknown, and it is made again.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a flow submits.
const STEP: Duration = Duration::from_millis(100);

/// A run that was accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    pub target: String,
    pub at: Instant,
}

/// What to submit.
#[derive(Clone, Debug)]
pub struct Wish {
    pub target: String,
    pub milliseconds: u64,
    pub durability: Durability,
}

/// All that was accepted, and what was not.
#[derive(Debug)]
pub struct Load {
    servers: Vec<connect::Config>,
    accepted: Mutex<HashMap<String, Accepted>>,
    refused: Mutex<HashMap<String, u64>>,
    tries: AtomicU64,
}

/// A flow under way. Ends when it is stopped, with what it has begun.
#[derive(Debug)]
pub struct Flow {
    stop: tokio::sync::watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl Load {
    pub fn new(servers: Vec<connect::Config>) -> Arc<Self> {
        let (accepted, refused, tries) = Default::default();
        Arc::new(Self { servers, accepted, refused, tries })
    }

    /// Submits these, a thousand at a time; returns the ids of those that were accepted, once the fate of each is known.
    pub async fn submit(&self, wishes: Vec<Wish>) -> Vec<String> {
        let mut ids = Vec::with_capacity(wishes.len());
        for part in wishes.chunks(1000) {
            let requests: Vec<_> = part.iter().map(request).collect();
            let answers = self.call(SubmitBatchRequest { requests }).await;
            let at = Instant::now();
            for (wish, answer) in part.iter().zip(answers) {
                match answer {
                    Ok(id) => {
                        self.accepted().insert(id.clone(), Accepted { target: wish.target.clone(), at });
                        ids.push(id);
                    }
                    Err(why) => *self.refused().entry(why).or_default() += 1,
                }
            }
        }
        ids
    }

    /// Submits `rate` runs a second, of which `wish` gives one each.
    pub fn flow(self: &Arc<Self>, rate: u32, wish: impl Fn(u64) -> Wish + Send + 'static) -> Flow {
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let load = self.clone();
        let running = tokio::spawn(async move {
            let (mut number, mut owed, mut ticks) = (0, 0.0, interval(STEP));
            // What could not be submitted while the servers were away is left out, not caught up with.
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !*stopped.borrow() {
                ticks.tick().await;
                owed += f64::from(rate) * STEP.as_secs_f64();
                let wishes: Vec<Wish> = (0..owed as u64).map(|turn| wish(number + turn)).collect();
                owed -= wishes.len() as f64;
                number += wishes.len() as u64;
                load.submit(wishes).await;
            }
        });
        Flow { stop, running }
    }

    /// All that was accepted so far.
    pub fn all(&self) -> HashMap<String, Accepted> {
        self.accepted().clone()
    }

    pub fn count(&self) -> usize {
        self.accepted().len()
    }

    /// Refusals by their reason.
    pub fn refusals(&self) -> HashMap<String, u64> {
        self.refused().clone()
    }

    /// Calls that had to be made again.
    pub fn retries(&self) -> u64 {
        self.tries.load(Ordering::Relaxed)
    }

    async fn call(&self, request: SubmitBatchRequest) -> Vec<Result<String, String>> {
        let mut turn = 0;
        loop {
            let server = &self.servers[turn % self.servers.len()];
            let mut runs = Connection::open(server).expect("the URL was used before").runs();
            if let Ok(Ok(answer)) = timeout(PATIENCE, runs.submit_batch(request.clone())).await {
                let results = answer.into_inner().results;
                // A refusal that asks to come back is no fate: all are asked for again, by the same keys.
                let passing = |one: &Option<Answer>| matches!(one, Some(Answer::Refused(refusal)) if refusal.code == tonic::Code::Unavailable as i32);
                if !results.iter().any(|result| passing(&result.result)) {
                    return results.into_iter().map(|result| fate(result.result)).collect();
                }
            }
            turn += 1;
            self.tries.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(200)).await;
        }
    }

    fn accepted(&self) -> MutexGuard<'_, HashMap<String, Accepted>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<String, u64>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flow {
    /// Stops it and waits until the fate of all that it submitted is known.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        self.running.await.expect("a flow does not panic");
    }
}

impl Wish {
    /// For one member.
    pub fn of(number: usize, milliseconds: u64) -> Self {
        Self { target: member::name(number), milliseconds, durability: Durability::Fast }
    }

    /// In turn one for a member, one for any of a tenth of them, and one for any at all, and of each every other one durable.
    pub fn mixed(turn: u64, members: usize, milliseconds: u64) -> Self {
        // A multiplier without a common divisor visits all.
        let number = (turn as usize).wrapping_mul(7919) % members;
        let target = match turn % 3 {
            0 => member::name(number),
            1 => format!("any(shard={})", number % 10),
            _ => "any(fleet=ants)".to_owned(),
        };
        let durability = if turn.is_multiple_of(2) { Durability::Fast } else { Durability::Durable };
        Self { target, milliseconds, durability }
    }
}

fn request(wish: &Wish) -> SubmitRequest {
    SubmitRequest {
        target: wish.target.clone(),
        what: Some(What::Handler(HANDLER.to_owned())),
        payload: wish.milliseconds.to_string(),
        durability: wish.durability.into(),
        idempotency_key: Uuid::new_v4().to_string(),
        ..SubmitRequest::default()
    }
}

fn fate(answer: Option<Answer>) -> Result<String, String> {
    match answer {
        Some(Answer::Accepted(accepted)) => {
            let run = accepted.runs.into_iter().next();
            run.map(|run| run.id).ok_or_else(|| "accepted without a run".to_owned())
        }
        Some(Answer::Refused(refusal)) => Err(format!("{:?}", tonic::Code::from_i32(refusal.code))),
        None => Err("no answer".to_owned()),
    }
}
