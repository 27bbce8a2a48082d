//! Who asks for runs: an open loop at a rate, so that a slow installation is not asked less.
//!
//! Each operation has an idempotency key and is asked for again, at the next server, as the API documents: after UNAVAILABLE and whenever no
//! answer came. What stays without an answer is unknown, never failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use marabunta_proto::v1::runs_client::RunsClient;
use marabunta_proto::v1::{
    CancelRunRequest, Durability, Policy, SubmitRequest, SubmitResponse, submit_request::What,
};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tonic::{Code, Status};
use uuid::Uuid;

use super::deed::Deed;
use super::history::{Outcome, Submission};
use super::moment::Moment;
use super::witness::HANDLER;

/// How long a call may take before it is asked again. Longer than a server needs at its worst, shorter than its outages.
const DEADLINE: Duration = Duration::from_secs(2);
/// How long it may take whose very answer is of interest: longer than a server waits for a database that is away.
const PATIENT: Duration = Duration::from_secs(20);
/// How long an operation is asked for before it stays unknown.
const PATIENCE: Duration = Duration::from_secs(60);
/// The wait before the second try; doubled up to a second.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// Operations under way at once. Beyond it none is begun until one has ended: a load that never answers is not worth memory.
const UNDER_WAY: usize = 4_000;

/// Operations of a burst under way at once.
const AT_ONCE: usize = 64;

/// A kind of run that is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    /// `w-1`, `any(role=web)`, `all(role=web)`.
    pub target: String,
    /// The workers that may run it.
    pub workers: Vec<String>,
    pub durable: bool,
    /// [`HANDLER`] unless set.
    pub handler: Option<String>,
    pub deed: Deed,
    pub retries: u32,
    /// As the API has it unless set.
    pub max_lost: Option<u32>,
    /// Of an attempt; none unless set.
    pub timeout: Option<Duration>,
    /// How long it may wait to be begun; for ever unless set.
    pub expires: Option<Duration>,
    /// It is asked to be cancelled so long after it was accepted.
    pub cancel: Option<Duration>,
}

/// Where operations get their numbers and servers are found, for all workloads of an arena.
#[derive(Clone, Debug)]
pub struct Door {
    servers: Arc<[Channel]>,
    next: Arc<AtomicU32>,
    /// A part of every key, so that two arenas on one store are two.
    nonce: Arc<str>,
}

/// A load that is going on. Its submissions come with [`stop`](Self::stop).
#[derive(Debug)]
pub struct Load {
    stop: CancellationToken,
    owner: JoinSet<Vec<Submission>>,
}

impl Door {
    /// `servers` are tried in turn.
    pub fn new(servers: &[String]) -> Self {
        let channel = |url: &String| {
            let endpoint = Channel::from_shared(url.clone()).expect("a server has a URL");
            endpoint.connect_timeout(DEADLINE).connect_lazy()
        };
        Self::through(servers.iter().map(channel).collect())
    }

    /// The same by channels that are open already.
    pub fn through(servers: Vec<Channel>) -> Self {
        let nonce = Uuid::new_v4().simple().to_string();
        Self { servers: servers.into(), next: AtomicU32::new(1).into(), nonce: nonce.into() }
    }

    /// Asks for `rate` runs a second, the shapes in turn, until it is stopped. `base` is the place of the first shape among all of the arena.
    pub fn load(&self, base: u16, shapes: Vec<Shape>, rate: f64) -> Load {
        let stop = CancellationToken::new();
        let mut owner = JoinSet::new();
        owner.spawn(run(self.clone(), base, shapes.into(), rate, stop.clone()));
        Load { stop, owner }
    }

    /// Asks for `count` runs as fast as they are taken, the shapes in turn, and waits for the outcomes.
    pub async fn burst(&self, base: u16, shapes: &[Shape], count: usize) -> Vec<Submission> {
        let mut asking = JoinSet::new();
        let mut submissions = Vec::new();
        let shapes = (base..).zip(shapes).collect::<Vec<_>>();
        for (at, shape) in shapes.iter().cycle().take(count) {
            if asking.len() == AT_ONCE {
                submissions.extend(asking.join_next().await.map(joined).into_iter().flatten());
            }
            asking.spawn(self.clone().submit(*at, (*shape).clone(), CancellationToken::new()));
        }
        submissions.extend(asking.join_all().await.into_iter().flatten());
        submissions
    }

    /// Asks for `count` runs of a shape, once each, and gives what was answered beside what the history is to know of it.
    pub async fn ask(&self, at: u16, shape: &Shape, count: usize) -> Vec<(Submission, Result<(), Status>)> {
        let asking = (0..count).map(async |_| {
            let op = self.next.fetch_add(1, Ordering::Relaxed);
            let (asked, request) = (Moment::now(), shape.request(op, &self.nonce));
            let answer = timeout(PATIENT, self.channel(op as usize).submit(request)).await;
            let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer")));
            let (outcome, run) = match &answer {
                Ok(answer) => (Outcome::Ok, runs(answer.get_ref())[0]),
                Err(status) if is_refusal(status) => (Outcome::Fail, 0),
                Err(_) => (Outcome::Unknown, 0),
            };
            let answered = Moment::now();
            (Submission { run, asked, answered, op, shape: at, tries: 1, outcome }, answer.map(drop))
        });
        join_all(asking).await
    }

    fn channel(&self, turn: usize) -> RunsClient<Channel> {
        RunsClient::new(self.servers[turn % self.servers.len()].clone())
    }

    /// One operation from its first try to its outcome.
    async fn submit(self, at: u16, shape: Shape, stop: CancellationToken) -> Vec<Submission> {
        let op = self.next.fetch_add(1, Ordering::Relaxed);
        let request = shape.request(op, &self.nonce);
        let asked = Moment::now();
        let end = Instant::now() + PATIENCE;
        let (mut tries, mut wait) = (0, FIRST_WAIT);
        let submission = |tries, outcome, run| Submission {
            run,
            asked,
            answered: Moment::now(),
            op,
            shape: at,
            tries,
            outcome,
        };
        loop {
            let mut client = self.channel(op as usize + usize::from(tries));
            tries += 1;
            let answer = timeout(DEADLINE, client.submit(request.clone())).await;
            match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer"))) {
                Ok(answer) => {
                    let runs = runs(answer.get_ref());
                    let answered = runs.iter().map(|run| submission(tries, Outcome::Ok, *run)).collect();
                    if let Some(after) = shape.cancel {
                        sleep(after).await;
                        self.cancel(op, &runs).await;
                    }
                    return answered;
                }
                Err(status) if is_refusal(&status) => return vec![submission(tries, Outcome::Fail, 0)],
                Err(_) if Instant::now() > end || stop.is_cancelled() && tries > 20 => {
                    return vec![submission(tries, Outcome::Unknown, 0)];
                }
                Err(_) => sleep(wait).await,
            }
            wait = (wait * 2).min(Duration::from_secs(1));
        }
    }
}

impl Door {
    /// Asks each server once to cancel these; where none answers, they go on.
    async fn cancel(&self, op: u32, runs: &[u128]) {
        for run in runs {
            let id = Uuid::from_u128(*run).to_string();
            for turn in 0..self.servers.len() {
                let mut client = self.channel(op as usize + turn);
                let asked = client.cancel(CancelRunRequest { id: id.clone() });
                if let Ok(Ok(_)) = timeout(DEADLINE, asked).await {
                    break;
                }
            }
        }
    }
}

impl Load {
    /// Stops asking, waits for what was asked, and gives all of it.
    pub async fn stop(mut self) -> Vec<Submission> {
        self.stop.cancel();
        let submissions = self.owner.join_next().await.expect("a load has one owner");
        submissions.expect("the owner of a load does not panic")
    }
}

impl Shape {
    fn request(&self, op: u32, nonce: &str) -> SubmitRequest {
        let deed = Deed { op: op.into(), ..self.deed.clone() };
        let timeout = self.timeout.map(|span| span.try_into().expect("no time-out is so long"));
        let expires = self.expires.map(|span| span.try_into().expect("nothing waits so long"));
        let (retries, max_lost) = (self.retries, self.max_lost);
        let policy = Policy { retries, max_lost, timeout, expires, ..Policy::default() };
        SubmitRequest {
            target: self.target.clone(),
            what: Some(What::Handler(self.handler.as_deref().unwrap_or(HANDLER).to_owned())),
            payload: serde_json::to_string(&deed).expect("a deed is JSON"),
            policy: Some(policy),
            durability: if self.durable { Durability::Durable } else { Durability::Fast }.into(),
            idempotency_key: format!("{nonce}-{op}"),
            ..SubmitRequest::default()
        }
    }
}

async fn run(
    door: Door,
    base: u16,
    shapes: Arc<[Shape]>,
    rate: f64,
    stop: CancellationToken,
) -> Vec<Submission> {
    let mut submissions = Vec::new();
    let mut asking = JoinSet::new();
    let mut tick = interval(Duration::from_secs_f64(1.0 / rate));
    // What a stall of this process has missed is made up for at once, as far as there is room.
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut turn = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(answered) = asking.join_next() => submissions.extend::<Vec<Submission>>(joined(answered)),
            _ = tick.tick(), if asking.len() < UNDER_WAY => {
                let at = turn % shapes.len();
                turn += 1;
                let shape = base + u16::try_from(at).expect("there are few shapes");
                asking.spawn(door.clone().submit(shape, shapes[at].clone(), stop.clone()));
            }
        }
    }
    while let Some(answered) = asking.join_next().await {
        submissions.extend(joined(answered));
    }
    submissions
}

fn joined(answered: Result<Vec<Submission>, tokio::task::JoinError>) -> Vec<Submission> {
    answered.expect("an operation does not panic")
}

fn runs(answer: &SubmitResponse) -> Vec<u128> {
    let id = |id: &str| id.parse::<Uuid>().expect("a run has a UUID").as_u128();
    answer.runs.iter().map(|run| id(&run.id)).collect()
}

/// The codes by which the API says that nothing was accepted and that asking again would not help.
fn is_refusal(status: &Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::FailedPrecondition | Code::ResourceExhausted)
}
