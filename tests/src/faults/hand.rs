//! A worker that speaks the protocol by hand, so that it can say what no worker of ours would.

use std::time::Duration;

use marabunta_proto::v1::dispatch_client::DispatchClient;
use marabunta_proto::v1::{
    Accepted, Assignment, AttemptEnd, Heartbeat, Hello, Outcome, ReportRequest, ServerMessage, Verdict,
    WorkerMessage, assignment, server_message, worker_message,
};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use uuid::Uuid;

use super::arena::Arena;
use super::deed::Deed;
use super::history::Told;
use super::moment::Moment;
use super::testimony::Witness;
use super::witness::HANDLER;

/// Generous: only a test that fails ever waits so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a report waits for its answer.
const DEADLINE: Duration = Duration::from_secs(2);

/// See the module. Its session ends when it is dropped.
pub struct Hand {
    say: mpsc::Sender<WorkerMessage>,
    hear: tonic::Streaming<ServerMessage>,
}

impl Hand {
    pub const NAME: &str = "hand";

    /// A new daemon, which holds nothing.
    pub async fn connect(url: &str, credit: u64) -> Self {
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
        say.send(message(worker_message::Message::Hello(hello))).await.expect("it has room");
        let hear = dispatch(url).connect(ReceiverStream::new(said)).await;
        Self { say, hear: hear.expect("the server takes it").into_inner() }
    }

    /// The next assignments, accepted.
    pub async fn take(&mut self, count: usize) -> Vec<Assignment> {
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

/// Who testifies for an assignment, as its task would.
pub fn witness(arena: &Arena, one: &Assignment) -> Witness {
    let Some(assignment::Payload::Data(data)) = &one.payload else { panic!("a small payload comes along") };
    let deed: Deed = serde_json::from_slice(data).expect("a deed is JSON");
    arena.witness(Hand::NAME, run(one), one.attempt, deed.op)
}

/// Tells a server that an attempt has succeeded. No answer in time is no acknowledgement.
pub async fn report(url: &str, one: &Assignment) -> Told {
    let end =
        AttemptEnd { lease: one.lease.clone(), outcome: Outcome::Succeeded.into(), ..AttemptEnd::default() };
    let request = ReportRequest { ends: vec![end], ..ReportRequest::default() };
    let asked = Moment::now();
    let answer = timeout(DEADLINE, dispatch(url).report(request)).await;
    let verdict = answer.ok().map(|answer| {
        answer.expect("a server takes reports").into_inner().ends().next().expect("one verdict for one end")
    });
    Told {
        run: run(one),
        attempt: one.attempt,
        asked,
        answered: Moment::now(),
        acknowledged: verdict == Some(Verdict::Recorded),
    }
}

fn run(one: &Assignment) -> u128 {
    one.run.parse::<Uuid>().expect("a run has a UUID").as_u128()
}

fn dispatch(url: &str) -> DispatchClient<Channel> {
    DispatchClient::new(Channel::from_shared(url.to_owned()).expect("a URL").connect_lazy())
}

fn message(message: worker_message::Message) -> WorkerMessage {
    WorkerMessage { message: Some(message) }
}
