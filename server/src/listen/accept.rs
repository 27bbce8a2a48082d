//! The accept loop of one door.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use super::{Connection, Peer, Tls};
use crate::metrics::PanicIn;
use crate::panics::Panics;

/// How many TLS handshakes are under way at once; further connections wait.
const HANDSHAKES: usize = 128;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the loop rests when no connection can be taken, mostly for want of file descriptors.
const REST: Duration = Duration::from_millis(100);

/// Connections of this listener, at most `room` at once, until `stop`; then the listener is closed.
pub fn accept(
    tracker: &TaskTracker,
    listener: TcpListener,
    tls: Option<watch::Receiver<Tls>>,
    room: usize,
    panics: Panics,
    stop: CancellationToken,
) -> impl Stream<Item = std::io::Result<Connection>> + use<> {
    // When the door has no time for them, ready connections wait here, and then the loop.
    let (ready, connections) = mpsc::channel(16);
    tracker.spawn(run(listener, tls, ready, room, panics, stop));
    ReceiverStream::new(connections)
}

async fn run(
    listener: TcpListener,
    tls: Option<watch::Receiver<Tls>>,
    ready: mpsc::Sender<std::io::Result<Connection>>,
    room: usize,
    panics: Panics,
    stop: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(room));
    let mut handshakes = JoinSet::new();
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => return,
            Some(done) = handshakes.join_next() => {
                if let Err(error) = done {
                    panics.count(PanicIn::Connection);
                    warn!(%error, "a TLS handshake broke");
                }
                continue;
            }
            next = take(&listener, &places), if handshakes.len() < HANDSHAKES => next,
        };
        let (stream, peer, place) = match next {
            Ok(next) => next,
            Err(error) => {
                warn!(%error, "failed to accept a connection");
                sleep(REST).await;
                continue;
            }
        };
        match &tls {
            None => {
                if ready.send(Ok(Connection::plain(stream, peer, place))).await.is_err() {
                    return;
                }
            }
            Some(tls) => {
                let (tls, ready) = (tls.borrow().clone(), ready.clone());
                handshakes.spawn(async move {
                    match timeout(HANDSHAKE, tls.handshake(stream, peer, place)).await {
                        // The door has gone: so does the connection.
                        Ok(Ok(connection)) => _ = ready.send(Ok(connection)).await,
                        Ok(Err(error)) => debug!(%error, "TLS handshake failed"),
                        Err(_) => debug!("TLS handshake took too long"),
                    }
                });
            }
        }
    }
}

async fn take(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, Peer, tokio::sync::OwnedSemaphorePermit)> {
    let place = places.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, Peer { address, names: None, expires: None }, place))
}
