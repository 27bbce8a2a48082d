//! A peer that is no proper worker: it says that it lives, for ever, and at some moment stops reading its socket.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use marabunta::connect::{self, Connection};
use marabunta_proto::v1::{Heartbeat, Hello, WorkerMessage, worker_message::Message};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{interval, sleep};
use tokio_stream::wrappers::ReceiverStream;

use super::valve::{Traffic, Valve};

/// How often it says so.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// See the module. On drop its connection is closed.
#[derive(Debug)]
pub struct Deaf {
    valve: Valve,
    state: Arc<State>,
    _task: JoinSet<()>,
}

#[derive(Debug, Default)]
struct State {
    connected: AtomicBool,
    closed: AtomicBool,
}

impl Deaf {
    /// Connects as `deaf-00042`, with the labels of a member and room for a hundred runs.
    pub fn start(number: usize, server: &connect::Config) -> Self {
        let (valve, state) = (Valve::default(), Arc::<State>::default());
        let dialer = valve.dialer(Ipv4Addr::new(127, 88, 250, 1), Arc::<Traffic>::default());
        let server = connect::Config { dialer: Some(dialer), ..server.clone() };
        let mut task = JoinSet::new();
        task.spawn(speak(number, server, state.clone()));
        Self { valve, state, _task: task }
    }

    /// From now on nothing that the server sends is read.
    pub fn stop_reading(&self) {
        self.valve.shut(true);
    }

    pub fn is_connected(&self) -> bool {
        self.state.connected.load(Ordering::Acquire)
    }

    /// The server has closed the connection: it takes nothing more.
    pub fn was_closed(&self) -> bool {
        self.state.closed.load(Ordering::Acquire)
    }
}

async fn speak(number: usize, server: connect::Config, state: Arc<State>) {
    let (sender, receiver) = mpsc::channel(1);
    let hello = Hello {
        protocols: vec![1],
        name: format!("deaf-{number:05}"),
        instance: "deaf".to_owned(),
        labels: [("fleet".to_owned(), "deaf".to_owned())].into(),
        slots: 100,
        credit: 100,
        ..Hello::default()
    };
    sender.try_send(say(Message::Hello(hello))).expect("the channel is empty");
    let connection = Connection::open(&server).expect("the URL was used before");
    let mut dispatch = connection.dispatch();
    let Ok(answer) = dispatch.connect(ReceiverStream::new(receiver)).await else { return };
    let mut frames = answer.into_inner();
    if frames.message().await.is_err() {
        return;
    }
    state.connected.store(true, Ordering::Release);
    let mut ticks = interval(HEARTBEAT);
    for sequence in 1.. {
        ticks.tick().await;
        let sent = sender.send(say(Message::Heartbeat(Heartbeat { sequence })));
        // What a closed connection cannot take stays in the channel: that it does is how it is noticed, as nothing is read.
        tokio::select! {
            sent = sent => if sent.is_err() { break },
            () = sleep(HEARTBEAT * 2) => break,
        }
    }
    state.closed.store(true, Ordering::Release);
    drop(frames);
}

fn say(message: Message) -> WorkerMessage {
    WorkerMessage { message: Some(message) }
}
