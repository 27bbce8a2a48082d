//! One worker's stream, as it is read: whatever ends it ends the session.

use std::fmt::Display;
use std::pin::pin;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use marabunta_proto::name::Name;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::{debug, info};

use super::FromWorker;
use super::event::{Event, Link};
use crate::metrics::SessionEnd;

/// How often a worker sends Heartbeat.
pub const HEARTBEAT: Duration = Duration::from_secs(5);
/// A session that was silent for this long is over.
const SILENCE: Duration = Duration::from_secs(15);
/// How many messages may wait for a worker to read them. One that lets more pile up is deaf, and its session is closed.
pub(super) const OUTBOX: usize = 128;

/// Hands what the worker says to the owner, which slows this worker alone when it has no room, and tells it when the stream has ended.
pub(super) async fn read<S, E>(worker: Name, link: Link, incoming: S, events: mpsc::Sender<Event>)
where
    S: Stream<Item = Result<FromWorker, E>>,
    E: Display,
{
    let mut incoming = pin!(incoming);
    let Link { id, stop } = link;
    let cause = loop {
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
            return;
        }
    };
    // The owner being gone means that all its sessions are.
    events.send(Event::Ended { worker, session: id, cause }).await.ok();
}
