//! The life of a server.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::backend::{self, BackendError, Kept};
use super::crew::Crew;
use super::rooms::{self, House};
use super::{identity, readiness};
use crate::clock::StoreClock;
use crate::config::Config;
use crate::http;
use crate::listen::{Renewal, Room, Tls, TlsError, TlsFiles, accept};
use crate::metrics::{Metrics, PanicIn};
use crate::recover::rebuild::RebuildError;
use crate::rpc::{self, Access, Tokens, TokensError};
use crate::store::StoreError;

/// Where the doors are, bound by whoever calls.
pub struct Listeners {
    pub grpc: TcpListener,
    pub http: TcpListener,
}

/// Why a server did not start, or ended by itself.
#[derive(Debug, Error)]
pub enum AppError {
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Tokens(#[from] TokensError),
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error("fill the queue from the store: {0}")]
    Rebuild(#[from] RebuildError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("look at a listener: {0}")]
    Listener(#[from] std::io::Error),
    /// A part that must go on has ended; the rest was stopped in order.
    #[error("{0}")]
    Broken(String),
}

/// What is left for the writers once all else has stopped.
const LAST: Duration = Duration::from_secs(5);

/// Serves until `shutdown`, then stops in order: readiness, what begins work, sessions, doors, what mends, writers, store.
pub async fn run(
    config: Config,
    listeners: Listeners,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), AppError> {
    let server = identity::server_id();
    let mut renewal = Renewal::default();
    let entry = Entry::read(&config, &mut renewal)?;
    let metrics = Arc::new(Metrics::new());
    let (limits, panics) = (config.limits.clone(), metrics.panics.clone());
    let kept = backend::open(config.backend.clone(), limits, server.clone(), panics).await?;
    let clock = StoreClock::new(kept.store.now().await?);
    let settled = rooms::settle(&kept, &server, clock.clone(), metrics);
    settled.check().await?;
    let mut house = rooms::build(&config, settled, clock);
    let (ready, readiness) = watch::channel("starting".to_owned());
    house.early.keep("readiness", PanicIn::Readiness, {
        let (store, queue, ready) = (kept.store.clone(), kept.queue.clone(), ready.clone());
        move |stop| readiness::run(store.clone(), queue.clone(), ready.clone(), stop)
    });
    house.early.spawn("renewal of certificates and tokens", renewal.run(house.early.stop.clone()));
    info!(%server, version = env!("CARGO_PKG_VERSION"), backend = kept.shown, "started");
    let accepting = TaskTracker::new();
    let mut doors = open_doors(listeners, entry, &house, readiness, &accepting)?;

    let broken = tokio::select! {
        () = shutdown => None,
        broken = house.early.broken() => Some(broken),
        broken = house.sessions.broken() => Some(broken),
        broken = house.late.broken() => Some(broken),
        broken = doors.broken() => Some(broken),
    };
    match &broken {
        None => info!("stopping"),
        Some(what) => error!("{what}, which it must not: stopping"),
    }
    ready.send_replace(broken.clone().unwrap_or_else(|| "the server is stopping".into()));
    // What is broken keeps nobody waiting: whoever watches over the server starts another.
    let grace = if broken.is_some() { Duration::ZERO } else { config.drain_timeout };
    stop(house, doors, accepting, kept, grace).await;
    broken.map_or(Ok(()), |what| Err(AppError::Broken(what)))
}

/// What the doors ask of those who come.
struct Entry {
    grpc: Option<watch::Receiver<Tls>>,
    http: Option<watch::Receiver<Tls>>,
    callers: Access,
    workers: Access,
}

impl Entry {
    fn read(config: &Config, renewal: &mut Renewal) -> Result<Self, AppError> {
        // Probes come from balancers, which have no certificate.
        let anybody = config.tls.clone().map(|files| TlsFiles { client_ca: None, ..files });
        Ok(Self {
            grpc: tls(renewal, config.tls.clone(), &["h2"])?,
            http: tls(renewal, anybody, &["h2", "http/1.1"])?,
            callers: access(renewal, config.token_file.clone())?,
            workers: access(renewal, config.worker_token_file.clone())?,
        })
    }
}

fn tls(
    renewal: &mut Renewal,
    files: Option<TlsFiles>,
    protocols: &'static [&str],
) -> Result<Option<watch::Receiver<Tls>>, TlsError> {
    files.map(|files| renewal.read(files.paths(), move || Tls::load(&files, protocols))).transpose()
}

fn access(renewal: &mut Renewal, file: Option<PathBuf>) -> Result<Access, TokensError> {
    let tokens = file.map(|file| renewal.read([file.clone()], move || Tokens::load(&file)));
    Ok(Access { tokens: tokens.transpose()? })
}

fn open_doors(
    listeners: Listeners,
    entry: Entry,
    house: &House,
    readiness: watch::Receiver<String>,
    accepting: &TaskTracker,
) -> Result<Crew, AppError> {
    let panics = &house.rooms.metrics.panics;
    let mut doors = Crew::new(panics);
    let stop = doors.stop.clone();
    let shown = |tls: &Option<watch::Receiver<Tls>>| if tls.is_some() { "TLS" } else { "plaintext" };
    info!(address = %listeners.grpc.local_addr()?, security = shown(&entry.grpc), "gRPC door open");
    info!(address = %listeners.http.local_addr()?, security = shown(&entry.http), "HTTP door open");

    let room = Room::make();
    let connections = accept(accepting, listeners.http, entry.http, room.http, panics.clone(), stop.clone());
    let probes = http::Probes { readiness: readiness.clone() };
    let router = http::router(probes, house.page.clone(), panics.clone());
    doors.spawn("HTTP door", http::serve(connections, router, panics.clone(), stop.clone()));

    let connections = accept(accepting, listeners.grpc, entry.grpc, room.grpc, panics.clone(), stop.clone());
    let health = rpc::Health { readiness, stop: stop.clone() };
    let rooms = house.rooms.clone();
    let door =
        rpc::Door { rooms, callers: entry.callers, workers: entry.workers, health, stop: stop.clone() };
    doors.spawn("gRPC door", async move {
        if let Err(error) = door.serve(connections, stop).await {
            error!(%error, "the gRPC door broke");
        }
    });
    Ok(doors)
}

async fn stop(house: House, doors: Crew, accepting: TaskTracker, kept: Kept, grace: Duration) {
    let House { early, sessions, late, writers, readers, rooms, page: _ } = house;
    let begun = Instant::now();
    let deadline = begun + grace;
    let mut forced = early.finish(begun + LAST).await;
    // The owner keeps the grace by itself, and needs a moment to take leave.
    forced.extend(sessions.finish(deadline + LAST).await);
    forced.extend(doors.finish(deadline.max(Instant::now() + LAST)).await);
    drop(rooms);
    forced.extend(late.finish(Instant::now() + LAST).await);
    for (name, tracker) in [("accept loops", accepting), ("streams", readers), ("writers", writers)] {
        tracker.close();
        if timeout_at(Instant::now() + LAST, tracker.wait()).await.is_err() {
            forced.push(name);
        }
    }
    if timeout_at(Instant::now() + LAST, kept.store.close()).await.is_err() {
        forced.push("store");
    }
    let took = begun.elapsed();
    if forced.is_empty() {
        info!(?took, "stopped: all calls had ended and all is written");
    } else {
        warn!(?took, ?forced, "stopped by force: not all had ended in time");
    }
}
