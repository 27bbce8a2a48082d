//! The door itself: connections, time limits and the end.

use std::time::Duration;

use futures_util::{Stream, StreamExt as _};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::service::TowerToHyperService;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::listen::Connection;
use crate::metrics::PanicIn;
use crate::panics::Panics;

/// How many connections are served at once; further ones wait.
const CONNECTIONS: usize = 1024;
/// How long a request's headers may take, and how long an idle connection is kept.
const HEADERS: Duration = Duration::from_secs(20);

/// Serves these connections until `stop`; then lets requests under way end.
pub async fn serve<S>(connections: S, router: axum::Router, panics: Panics, stop: CancellationToken)
where
    S: Stream<Item = std::io::Result<Connection>> + Send,
{
    let mut connections = std::pin::pin!(connections);
    let mut open = JoinSet::new();
    loop {
        let next = tokio::select! {
            () = stop.cancelled() => break,
            Some(done) = open.join_next() => {
                note(done, &panics);
                continue;
            }
            next = connections.next(), if open.len() < CONNECTIONS => next,
        };
        match next {
            Some(Ok(connection)) => _ = open.spawn(one(connection, router.clone(), stop.clone())),
            Some(Err(error)) => debug!(%error, "connection lost"),
            None => break,
        }
    }
    while let Some(done) = open.join_next().await {
        note(done, &panics);
    }
}

async fn one(connection: Connection, router: axum::Router, stop: CancellationToken) {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(64 << 10);
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(64).keep_alive_interval(HEADERS);
    let serving = builder.serve_connection(TokioIo::new(connection), TowerToHyperService::new(router));
    let mut serving = std::pin::pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        debug!(%error, "HTTP connection broken");
    }
}

fn note(done: Result<(), tokio::task::JoinError>, panics: &Panics) {
    if let Err(error) = done {
        panics.count(PanicIn::Connection);
        tracing::error!(%error, "an HTTP connection's task broke");
    }
}
