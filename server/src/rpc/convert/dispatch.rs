//! What workers and their sessions say to each other.

use marabunta_proto::name::Name;
use marabunta_proto::selector::Traits;
use marabunta_proto::{label, v1};
use tracing::warn;

use super::Invalid;
use super::invalid::at_most;
use super::time::proto_duration;
use super::what::name;
use crate::dispatch::{Assignment, FromWorker, HEARTBEAT, Hello, ToWorker};
use crate::run::{Lease, Payload};

/// The protocol version that this server speaks.
const PROTOCOL: u32 = 1;
/// The longest instance, boot id and version, in bytes.
const WORD: usize = 128;
/// The most slots and handlers of one worker.
const SLOTS: u32 = 100_000;
const HANDLERS: usize = 1000;

/// Why a session cannot begin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FromWire {
    #[error(transparent)]
    Invalid(#[from] Invalid),
    #[error("protocols is {0:?}: this server speaks version {PROTOCOL}")]
    Protocol(Vec<u32>),
}

/// The first message of a stream.
pub fn first(message: Option<v1::WorkerMessage>) -> Result<Hello, FromWire> {
    use v1::worker_message::Message;
    let right = "a session begins with Hello";
    match message.map(|message| message.message) {
        None => Err(Invalid::missing("the first message", right).into()),
        Some(None) => Err(Invalid::value("the first message", "empty", right).into()),
        Some(Some(Message::Hello(hello))) => decode_hello(hello),
        Some(Some(Message::Accepted(_))) => {
            Err(Invalid::value("the first message", "Accepted", right).into())
        }
        Some(Some(Message::Credit(_))) => Err(Invalid::value("the first message", "Credit", right).into()),
        Some(Some(Message::Heartbeat(_))) => {
            Err(Invalid::value("the first message", "Heartbeat", right).into())
        }
    }
}

fn decode_hello(hello: v1::Hello) -> Result<Hello, FromWire> {
    if !hello.protocols.contains(&PROTOCOL) {
        return Err(FromWire::Protocol(hello.protocols.into_iter().take(16).collect()));
    }
    let worker = Name::parse_worker(&hello.name).map_err(|error| Invalid::field("hello.name", error))?;
    if hello.instance.is_empty() {
        return Err(Invalid::text("hello.instance", "", "it must be new at each start of the daemon").into());
    }
    at_most("hello.instance", &hello.instance, WORD)?;
    at_most("hello.boot_id", &hello.boot_id, WORD)?;
    at_most("hello.version", &hello.version, WORD)?;
    if !(1..=SLOTS).contains(&hello.slots) {
        return Err(Invalid::value("hello.slots", hello.slots, format!("1 to {SLOTS} are allowed")).into());
    }
    if hello.handlers.len() > HANDLERS {
        let right = format!("at most {HANDLERS} are allowed");
        return Err(Invalid::value("hello.handlers", format!("{} long", hello.handlers.len()), right).into());
    }
    let handlers = hello.handlers.iter().map(|handler| name("hello.handlers", handler));
    Ok(Hello {
        traits: Traits {
            labels: label::parse_all(hello.labels).map_err(|error| Invalid::field("hello.labels", error))?,
            handlers: handlers.collect::<Result<_, _>>()?,
        },
        slots: hello.slots,
        instance: hello.instance,
        boot_id: hello.boot_id,
        version: hello.version,
        holding: leases(&worker, &hello.holding),
        credit: hello.credit,
        worker,
    })
}

/// A message after the first.
pub fn from_worker(worker: &Name, message: v1::WorkerMessage) -> Result<FromWorker, Invalid> {
    use v1::worker_message::Message;
    match message.message {
        None => Err(Invalid::value("message", "empty", "Accepted, Credit or Heartbeat may follow Hello")),
        Some(Message::Hello(_)) => {
            Err(Invalid::value("message", "a second Hello", "only the first message is one"))
        }
        Some(Message::Accepted(accepted)) => Ok(FromWorker::Accepted(leases(worker, &accepted.leases))),
        Some(Message::Credit(credit)) => {
            Ok(FromWorker::Credit { total: credit.total, ended: leases(worker, &credit.ended) })
        }
        Some(Message::Heartbeat(heartbeat)) => Ok(FromWorker::Heartbeat(heartbeat.sequence)),
    }
}

/// Those that are leases of this worker; what is damaged or another's says nothing.
fn leases(worker: &Name, all: &[bytes::Bytes]) -> Vec<Lease> {
    let mut wrong = 0;
    let leases = all.iter().filter_map(|bytes| match Lease::decode(bytes) {
        Ok(lease) if lease.worker == *worker => Some(lease),
        _ => {
            wrong += 1;
            None
        }
    });
    let leases = leases.collect();
    if wrong > 0 {
        warn!(%worker, wrong, "passed over leases that are damaged or another worker's");
    }
    leases
}

pub fn to_worker(message: ToWorker) -> v1::ServerMessage {
    use v1::server_message::Message;
    let message = match message {
        ToWorker::Welcome { session, server } => {
            let heartbeat = Some(proto_duration(HEARTBEAT));
            Message::Welcome(v1::Welcome { protocol: PROTOCOL, session, server, heartbeat })
        }
        ToWorker::Assign(all) => {
            Message::Assign(v1::Assign { assignments: all.into_iter().map(assignment).collect() })
        }
        ToWorker::HeartbeatAck(sequence) => Message::HeartbeatAck(v1::HeartbeatAck { sequence }),
        ToWorker::Cancel(leases) => Message::Cancel(v1::Cancel { leases: encoded(&leases) }),
        ToWorker::Abandon(leases) => Message::Abandon(v1::Abandon { leases: encoded(&leases) }),
        ToWorker::Reconnect(reason) => Message::Reconnect(v1::Reconnect { reason: reason.to_owned() }),
        ToWorker::Superseded { server } => Message::Superseded(v1::Superseded { server }),
    };
    v1::ServerMessage { message: Some(message) }
}

fn encoded(leases: &[Lease]) -> Vec<bytes::Bytes> {
    leases.iter().map(|lease| lease.encode().into()).collect()
}

fn assignment(Assignment { lease, run }: Assignment) -> v1::Assignment {
    use v1::assignment::Payload as Wire;
    v1::Assignment {
        run: run.id.to_string(),
        handler: run.handler.to_string(),
        timeout: run.policy.timeout.map(proto_duration),
        attempt: lease.attempt,
        lease: lease.encode().into(),
        task: run.task.map_or_else(String::new, |task| task.name.to_string()),
        payload: Some(match run.payload {
            Payload::Inline(data) => Wire::Data(data),
            Payload::Stored(hash) => Wire::Hash(bytes::Bytes::copy_from_slice(hash.as_bytes())),
        }),
    }
}
