//! One stream to one server: Hello, Welcome, then whatever either has to say until the stream ends. The session reads and proves
//! life; what it hears it tells the daemon, which alone decides.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use marabunta_proto::v1::{
    Heartbeat, Hello, ServerMessage, Welcome, WorkerMessage, server_message::Message as Heard,
    worker_message::Message as Said,
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::{
    attempts::Lease,
    health::Pulse,
    outbox::Outbox,
    wire::{self, PROTOCOL},
};
use crate::connect::Connection;

/// How long a server may take from Hello to Welcome.
const WELCOME: Duration = Duration::from_secs(10);
/// Intervals of silence after which the stream counts as dead.
const SILENCE: u32 = 3;
/// Bytes of one message from a server.
const LARGEST: usize = 4 << 20;
/// Messages on their way into the stream. When it is full they wait in the [`Outbox`], and a heartbeat is left out: then the server
/// does not read, and its silence ends the stream.
const SENDING: usize = 16;

/// Names a session among those of this daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId(pub u64);

/// What the daemon holds of a session. Dropping it ends the stream.
#[derive(Debug)]
pub struct Session {
    pub id: SessionId,
    /// What there is to tell; counted from Hello.
    pub outbox: Outbox,
    pub connection: Connection,
    /// Hello was sent: from here on this session is the one that counts assignments.
    pub greeted: bool,
    sender: mpsc::Sender<WorkerMessage>,
    _task: JoinSet<()>,
}

/// What happened in a session.
#[derive(Debug)]
pub enum Event {
    /// The server can be reached and is told Hello now.
    HelloWanted(oneshot::Sender<Hello>),
    Welcome,
    Assign(Vec<marabunta_proto::v1::Assignment>),
    Cancel(Vec<Lease>),
    Abandon(Vec<Lease>),
    Reconnect {
        reason: String,
    },
    Superseded {
        server: String,
    },
    /// The last one.
    Lost(End),
}

/// How a session ends.
#[derive(Debug, thiserror::Error)]
pub enum End {
    #[error("{0}")]
    Cut(String),
    /// The server is there, and nobody knows for how long it says nothing.
    #[error("the server was silent for {0:?}")]
    Silent(Duration),
}

/// Where sessions tell their events. Bounded: a session that waits here does not read, and proves no life.
pub type Events = mpsc::Sender<(SessionId, Event)>;

impl Session {
    /// Opens a stream over this connection.
    pub fn open(
        id: SessionId,
        connection: Connection,
        events: Events,
        pulse: watch::Sender<Option<Pulse>>,
    ) -> Self {
        let (sender, receiver) = mpsc::channel(SENDING);
        let stream = Stream { id, connection: connection.clone(), sender: sender.clone(), events, pulse };
        let mut task = JoinSet::new();
        task.spawn(stream.run(receiver));
        Self { id, outbox: Outbox::new(0), connection, greeted: false, sender, _task: task }
    }

    /// Tells what comes first, if the stream takes it now.
    pub fn speak(&mut self) {
        if let Ok(permit) = self.sender.try_reserve()
            && let Some(message) = self.outbox.next()
        {
            permit.send(message);
        }
    }

    /// Waits until the stream takes one more message.
    pub fn ready(&self) -> impl Future<Output = Option<mpsc::OwnedPermit<WorkerMessage>>> + use<> {
        let reserved = self.sender.clone().reserve_owned();
        async { reserved.await.ok() }
    }
}

struct Stream {
    id: SessionId,
    connection: Connection,
    sender: mpsc::Sender<WorkerMessage>,
    events: Events,
    pulse: watch::Sender<Option<Pulse>>,
}

impl Stream {
    async fn run(self, receiver: mpsc::Receiver<WorkerMessage>) {
        let end = match self.connect(receiver).await {
            Ok((frames, heartbeat)) => self.listen(frames, heartbeat).await,
            Err(error) => End::Cut(error),
        };
        self.tell(Event::Lost(end)).await;
    }

    /// Up to Welcome. Returns how often to prove life.
    async fn connect(
        &self,
        receiver: mpsc::Receiver<WorkerMessage>,
    ) -> Result<(Streaming<ServerMessage>, Duration), String> {
        let (events, id) = (self.events.clone(), self.id);
        // Made when the connection stands, not before: it must name what is held at that moment.
        let hello = stream::once(async move {
            let (reply, hello) = oneshot::channel();
            events.send((id, Event::HelloWanted(reply))).await.ok()?;
            Some(WorkerMessage { message: Some(Said::Hello(hello.await.ok()?)) })
        });
        let said = hello.filter_map(std::future::ready).chain(ReceiverStream::new(receiver));
        let mut dispatch = self.connection.dispatch().max_decoding_message_size(LARGEST);
        let response = dispatch.connect(said).await.map_err(|status| words(&status))?;
        let mut frames = response.into_inner();
        let first =
            timeout(WELCOME, frames.message()).await.map_err(|_| "the server sent no Welcome".to_owned())?;
        let Some(ServerMessage { message: Some(Heard::Welcome(welcome)) }) =
            first.map_err(|status| words(&status))?
        else {
            return Err("the server's first message was not a Welcome".to_owned());
        };
        let heartbeat = heartbeat(&welcome)?;
        tracing::info!(server = welcome.server, session = welcome.session, ?heartbeat, "connected");
        self.pulse.send_replace(Some(Pulse { heard: Instant::now(), heartbeat }));
        self.tell(Event::Welcome).await;
        Ok((frames, heartbeat))
    }

    /// Until the stream ends; returns how.
    async fn listen(&self, mut frames: Streaming<ServerMessage>, heartbeat: Duration) -> End {
        let (mut sequence, mut heard) = (0, Instant::now());
        let mut ticks = interval(heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {
                    sequence += 1;
                    let message = Said::Heartbeat(Heartbeat { sequence });
                    if self.sender.try_send(WorkerMessage { message: Some(message) }).is_err() {
                        tracing::warn!(sequence, "the server does not read: a heartbeat is left out");
                    }
                }
                frame = frames.message() => {
                    heard = Instant::now();
                    match frame {
                        Ok(Some(frame)) => self.hear(frame.message).await,
                        Ok(None) => return End::Cut("the server closed the stream".to_owned()),
                        Err(status) => return End::Cut(words(&status)),
                    }
                    self.pulse.send_replace(Some(Pulse { heard, heartbeat }));
                }
                // Last: a frame that is there already counts, however long this process was stopped.
                () = sleep_until(heard + heartbeat * SILENCE) => {
                    return End::Silent(heartbeat * SILENCE);
                }
            }
        }
    }

    async fn hear(&self, message: Option<Heard>) {
        let leases = |leases: Vec<bytes::Bytes>| leases.into_iter().map(Lease).collect();
        let event = match message {
            Some(Heard::Assign(assign)) => Event::Assign(assign.assignments),
            Some(Heard::Cancel(cancel)) => Event::Cancel(leases(cancel.leases)),
            Some(Heard::Abandon(abandon)) => Event::Abandon(leases(abandon.leases)),
            Some(Heard::Reconnect(reconnect)) => Event::Reconnect { reason: reconnect.reason },
            Some(Heard::Superseded(superseded)) => Event::Superseded { server: superseded.server },
            Some(Heard::HeartbeatAck(_)) => return,
            Some(Heard::Welcome(_)) => return tracing::warn!("the server sent Welcome twice"),
            None => return tracing::debug!("ignored a message that this version does not know"),
        };
        self.tell(event).await;
    }

    async fn tell(&self, event: Event) {
        // Closed once the daemon has ended; this task is then dropped anyway.
        if self.events.send((self.id, event)).await.is_err() {
            tracing::debug!("an event came after the end of the worker");
        }
    }
}

fn heartbeat(welcome: &Welcome) -> Result<Duration, String> {
    if welcome.protocol != PROTOCOL {
        return Err(format!("the server chose protocol {}; this worker speaks {PROTOCOL}", welcome.protocol));
    }
    let interval = welcome.heartbeat.map(wire::duration).unwrap_or_default();
    if interval.is_zero() || interval > Duration::from_secs(3_600) {
        return Err(format!(
            "the server asked for a heartbeat every {interval:?}; it must be more than 0 and at most 1 h"
        ));
    }
    Ok(interval)
}

fn words(status: &tonic::Status) -> String {
    format!("{}: {}", status.code(), crate::connect::chain(status))
}
