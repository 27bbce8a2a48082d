//! One worker's stream, as it is read: whatever ends it ends the session.

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use marabunta_proto::name::Name;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, error, info};

use super::FromWorker;
use super::event::{Event, Link};
use crate::metrics::{PanicIn, SessionEnd};
use crate::panics::Panics;

/// How often a worker sends Heartbeat.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// A session that was silent for this long is over.
const SILENCE: Duration = Duration::from_secs(15);
/// How many messages may wait for a worker to read them. One that lets more pile up is deaf, and its session is closed.
pub(super) const OUTBOX: usize = 128;

/// Hands what the worker says to the owner, which slows this worker alone when it has no room, and tells it when the stream has ended.
pub(super) async fn read<S, E>(
    worker: Name,
    link: Link,
    incoming: S,
    events: mpsc::Sender<Event>,
    panics: Panics,
) where
    S: Stream<Item = Result<FromWorker, E>>,
    E: Display,
{
    let session = link.id;
    let passed_on = pass_on(&worker, link, incoming, &events);
    let cause = panics.catch(PanicIn::Session, passed_on).await.unwrap_or_else(|| {
        error!(%worker, %session, "reading its stream panicked: session closed");
        Some(SessionEnd::Fault)
    });
    if let Some(cause) = cause {
        // The owner being gone means that all its sessions are.
        events.send(Event::Ended { worker, session, cause }).await.ok();
    }
}

/// Why the stream ended; `None`: the owner is gone.
async fn pass_on<S, E>(
    worker: &Name,
    link: Link,
    incoming: S,
    events: &mpsc::Sender<Event>,
) -> Option<SessionEnd>
where
    S: Stream<Item = Result<FromWorker, E>>,
    E: Display,
{
    let mut incoming = pin!(incoming);
    let Link { id, stop } = link;
    Some(loop {
        let next = tokio::select! {
            () = stop.cancelled() => break SessionEnd::Ended,
            next = timeout(SILENCE, incoming.next()) => next,
        };
        let message = match next {
            Ok(Some(Ok(message))) => message,
            Ok(Some(Err(error))) => {
                info!(%worker, session = %id, %error, "stream broken");
                break SessionEnd::Broken;
            }
            Ok(None) => {
                debug!(%worker, session = %id, "stream ended");
                break SessionEnd::Ended;
            }
            Err(_) => {
                info!(%worker, session = %id, "silent for {} s: stream given up", SILENCE.as_secs());
                break SessionEnd::Silent;
            }
        };
        if events.send(Event::Said { worker: worker.clone(), session: id, message }).await.is_err() {
            return None;
        }
    })
}
