//! Ends that are told twice, or too late.

use std::fs;
use std::time::Duration;

use marabunta_proto::v1::dispatch_client::DispatchClient;
use marabunta_proto::v1::{
    Accepted, Assignment, AttemptEnd, Heartbeat, Hello, Outcome, ReportRequest, Verdict, WorkerMessage,
    server_message, worker_message,
};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use uuid::Uuid;

use super::super::arena::{ALL, Arena};
use super::super::deed::Deed;
use super::super::finding::Finding;
use super::super::history::Touched;
use super::super::links::Links;
use super::super::moment::Moment;
use super::super::testimony::Word;
use super::super::witness::HANDLER;
use crate::support::{Backend, Link};

const STALE: &str = "marabunta_reports_total{verdict=\"stale\"}";
const PATIENCE: Duration = Duration::from_secs(30);

/// A worker that speaks the protocol by hand, so that it can say what no worker of ours would.
struct Hand {
    say: mpsc::Sender<WorkerMessage>,
    hear: tonic::Streaming<marabunta_proto::v1::ServerMessage>,
}

impl Hand {
    const NAME: &str = "hand";

    async fn connect(url: &str, credit: u64) -> Self {
        // Room for all that is said before anything is heard.
        let (say, said) = mpsc::channel(16);
        let hello = Hello {
            protocols: vec![1],
            name: Self::NAME.to_owned(),
            instance: Uuid::new_v4().to_string(),
            slots: u32::try_from(credit).expect("it takes few"),
            handlers: vec![HANDLER.to_owned()],
            version: "by hand".to_owned(),
            credit,
            ..Hello::default()
        };
        let mut hand =
            DispatchClient::new(Channel::from_shared(url.to_owned()).expect("a URL").connect_lazy());
        say.send(message(worker_message::Message::Hello(hello))).await.expect("it has room");
        let hear = hand.connect(ReceiverStream::new(said)).await.expect("the server takes it").into_inner();
        Self { say, hear }
    }

    /// The next assignments, accepted.
    async fn take(&mut self, count: usize) -> Vec<Assignment> {
        let mut taken = Vec::new();
        let mut sequence = 0;
        while taken.len() < count {
            let next = timeout(PATIENCE, self.hear.message()).await.expect("something is assigned");
            let next = next.expect("the stream stands").expect("the stream goes on");
            if let Some(server_message::Message::Assign(assign)) = next.message {
                let leases = assign.assignments.iter().map(|one| one.lease.clone()).collect();
                self.tell(worker_message::Message::Accepted(Accepted { leases })).await;
                taken.extend(assign.assignments);
            }
            sequence += 1;
            self.tell(worker_message::Message::Heartbeat(Heartbeat { sequence })).await;
        }
        taken
    }

    async fn tell(&self, said: worker_message::Message) {
        self.say.send(message(said)).await.expect("the stream stands");
    }
}

fn message(message: worker_message::Message) -> WorkerMessage {
    WorkerMessage { message: Some(message) }
}

/// Both servers are told the same ends at the same time, and each of them says that it has them.
pub async fn told_twice_at_once(backend: Backend) -> Finding {
    const RUNS: usize = 20;
    let mut arena = Arena::on(backend).servers(2).witnesses(1).start().await;
    let mut hand = Hand::connect(&arena.servers()[0].url(), RUNS as u64).await;
    let mut shapes = [true, false].map(|durable| arena.shape("w-1", durable, &Deed::default()));
    for shape in &mut shapes {
        (shape.target, shape.workers) = (Hand::NAME.to_owned(), vec![Hand::NAME.to_owned()]);
    }
    let fault = arena.history.apply("ends told twice at once", [Touched::Worker(Hand::NAME.to_owned())]);
    arena.burst(&shapes, RUNS).await;
    let taken = hand.take(RUNS).await;
    let mut wrong = Vec::new();
    for one in taken {
        let run: Uuid = one.run.parse().expect("a run has a UUID");
        let Some(marabunta_proto::v1::assignment::Payload::Data(data)) = &one.payload else {
            panic!("a small payload comes along")
        };
        let deed: Deed = serde_json::from_slice(data).expect("a deed is JSON");
        let witness = arena.witness(Hand::NAME, run.as_u128(), one.attempt, deed.op);
        witness.begin();
        witness.say(Word::Done);
        let end =
            AttemptEnd { lease: one.lease, outcome: Outcome::Succeeded.into(), ..AttemptEnd::default() };
        let doors: Vec<String> = arena.servers().iter().map(|server| server.url()).cycle().take(4).collect();
        let told =
            futures_util::future::join_all(doors.into_iter().map(|door| report(door, end.clone()))).await;
        wrong.extend(told.into_iter().filter(|verdict| *verdict != Verdict::Recorded));
    }
    drop(hand);
    arena.history.heal(fault);
    let (evidence, verdict) = arena.conclude().await;
    let attempts = evidence.records.attempts.len();
    Finding::of(verdict)
        .demand(wrong.is_empty(), format!("some ends were answered {wrong:?}"))
        .demand(attempts == RUNS, format!("{attempts} attempts of {RUNS} runs are recorded"))
        .seen(format!("{RUNS} ends, each told 4 times at once"))
        .nothing_again()
}

async fn report(url: String, end: AttemptEnd) -> Verdict {
    let channel = Channel::from_shared(url).expect("a URL").connect_lazy();
    let request = ReportRequest { ends: vec![end], ..ReportRequest::default() };
    let answer =
        DispatchClient::new(channel).report(request).await.expect("a server takes reports").into_inner();
    answer.ends().next().expect("one verdict for one end")
}

/// A worker finishes what it has while nobody hears it, others do it again, and then it tells its end.
pub async fn told_too_late(backend: Backend) -> Finding {
    let links = Links::default();
    let detour = links.detour(|link| matches!(link, Link::ToServer(name, _) if name == "w-1"));
    let mut arena = Arena::on(backend).witnesses(2).detour(detour).start().await;
    let (gate, open) = (arena.gate("late"), Deed::default());
    let deed = Deed { gate: Some(gate.clone()), ..open };
    let anywhere = [true, false].map(|durable| arena.shape(&format!("any({ALL})"), durable, &deed));
    let runs = arena.burst(&anywhere, 8).await;
    let stale = arena.counted(STALE).await;
    arena.until("w-1 has some", |testimony, one| testimony.worker(one) == "w-1").await;
    sleep(Duration::from_secs(1)).await;
    let fault = arena.history.apply("nothing passes", [Touched::Worker("w-1".to_owned())]);
    let gone = arena.history.applied(fault);
    links.of_worker("w-1").iter().for_each(|proxy| proxy.black_hole());
    // All end now, and nobody hears of those of w-1.
    fs::remove_file(gate).expect("a gate is opened once");
    let mine: Vec<u128> = {
        let testimony = arena.testimony();
        let of = |run: &u128| testimony.of(*run).iter().any(|one| testimony.worker(one) == "w-1");
        runs.iter().map(|run| run.run).filter(of).collect()
    };
    for run in &mine {
        arena
            .until("w-2 has done what w-1 had", |testimony, one| {
                one.run == *run && testimony.worker(one) == "w-2" && one.word == Some(Word::Done)
            })
            .await;
    }
    let again = Moment::now();
    sleep(Duration::from_secs(2)).await;
    let before: Vec<_> = mine.clone();
    links.of_worker("w-1").iter().for_each(|proxy| proxy.heal());
    arena.counted_more(STALE, stale).await;
    arena.cluster.online("w-1").await;
    arena.history.heal(fault);
    let (evidence, verdict) = arena.conclude().await;
    let audited = before.iter().filter(|run| {
        let attempts = evidence.records.attempts.iter().filter(|attempt| attempt.run == **run);
        attempts.count() == 2
    });
    let audited = audited.count();
    Finding::of(verdict)
        .recovered("others have done what it had", Some(again.since(gone)), 30)
        .demand(!mine.is_empty(), "w-1 had nothing")
        .demand(
            audited == mine.len(),
            format!("of {} runs only {audited} have both attempts in their history", mine.len()),
        )
        .seen(format!("{} ends came too late", mine.len()))
}
