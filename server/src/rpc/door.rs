//! The door itself: services, limits, and the end of it all.

use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use marabunta_proto::{DESCRIPTORS, v1};
use tokio_util::sync::CancellationToken;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;
use tonic_health::pb::health_server::HealthServer;

use super::caught::Caught;
use super::dispatch::DispatchService;
use super::runs::RunsService;
use super::tasks::TasksService;
use super::workers::WorkersService;
use super::{Access, Health};
use crate::clock::StoreClock;
use crate::dispatch::Dispatch;
use crate::follow::Follow;
use crate::listen::Connection;
use crate::metrics::Metrics;
use crate::panics::Panics;
use crate::plan::Tasks;
use crate::report::Report;
use crate::store::Store;
use crate::submit::Submit;
use crate::workers::Workers;

/// The services, by their full names.
pub(super) const SERVICES: [&str; 4] =
    ["marabunta.v1.Runs", "marabunta.v1.Tasks", "marabunta.v1.Workers", "marabunta.v1.Dispatch"];

/// The most bytes of one message: a report or a batch of requests; whoever has more sends several.
const MESSAGE: usize = 8 << 20;
/// How many calls one connection has under way; further ones wait.
const CALLS: u32 = 1024;
/// A connection that says nothing is asked whether it is there, and closed without an answer.
const KEEPALIVE: Duration = Duration::from_secs(20);
const KEEPALIVE_ANSWER: Duration = Duration::from_secs(10);
/// The most bytes of all headers of a call.
const HEADERS: u32 = 32 << 10;

/// What the door hands calls to.
#[derive(Clone)]
pub struct Rooms {
    pub submit: Submit,
    pub follow: Follow,
    pub tasks: Tasks,
    pub workers: Workers,
    pub dispatch: Dispatch,
    pub report: Report,
    pub metrics: Arc<Metrics>,
    /// For payloads.
    pub store: Store,
    pub clock: StoreClock,
}

/// The gRPC door.
pub struct Door {
    pub rooms: Rooms,
    pub callers: Access,
    pub workers: Access,
    pub health: Health,
    /// Ends the streams that would go on for ever.
    pub stop: CancellationToken,
}

impl Door {
    /// Serves these connections until `stop`; then takes no further calls, and waits for those under way.
    pub async fn serve<S>(
        self,
        connections: S,
        stop: CancellationToken,
    ) -> Result<(), tonic::transport::Error>
    where
        S: Stream<Item = std::io::Result<Connection>> + Send,
    {
        let Self { rooms, callers, workers, health, stop: streams } = self;
        let reflection = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        const BUILT_IN: &str = "the descriptors were made by the build";
        let panics = rooms.metrics.panics.clone();
        let runs = RunsService {
            submit: rooms.submit.clone(),
            follow: rooms.follow,
            store: rooms.store.clone(),
            stop: streams,
        };
        let tasks = TasksService {
            tasks: rooms.tasks.clone(),
            submit: rooms.submit,
            store: rooms.store.clone(),
            clock: rooms.clock.clone(),
        };
        let dispatch = DispatchService {
            dispatch: rooms.dispatch,
            workers: rooms.workers.clone(),
            planner: rooms.tasks.planner.clone(),
            report: rooms.report,
            metrics: rooms.metrics,
            store: rooms.store,
            clock: rooms.clock,
        };
        let runs = v1::runs_server::RunsServer::new(runs).max_decoding_message_size(MESSAGE);
        let tasks = v1::tasks_server::TasksServer::new(tasks).max_decoding_message_size(MESSAGE);
        let registry = v1::workers_server::WorkersServer::new(WorkersService { workers: rooms.workers });
        let dispatch = v1::dispatch_server::DispatchServer::new(dispatch).max_decoding_message_size(MESSAGE);
        Server::builder()
            .max_concurrent_streams(CALLS)
            .http2_keepalive_interval(Some(KEEPALIVE))
            .http2_keepalive_timeout(Some(KEEPALIVE_ANSWER))
            .http2_max_header_list_size(HEADERS)
            .add_service(guarded(runs, &callers, &panics))
            .add_service(guarded(tasks, &callers, &panics))
            .add_service(guarded(registry, &callers, &panics))
            .add_service(guarded(dispatch, &workers, &panics))
            .add_service(guarded(reflection().build_v1().expect(BUILT_IN), &callers, &panics))
            .add_service(guarded(reflection().build_v1alpha().expect(BUILT_IN), &callers, &panics))
            .add_service(Caught { service: HealthServer::new(health), panics })
            .serve_with_incoming_shutdown(connections, stop.cancelled_owned())
            .await
    }
}

/// A service that lets in whom `access` does, and whose panics end one call each.
fn guarded<S>(service: S, access: &Access, panics: &Panics) -> Caught<InterceptedService<S, Access>> {
    Caught { service: InterceptedService::new(service, access.clone()), panics: panics.clone() }
}
