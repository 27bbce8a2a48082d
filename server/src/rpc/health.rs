//! The standard health service: SERVING while the server is ready.

use futures_util::{Stream, StreamExt as _};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::door::SERVICES;

/// Answers for the server as a whole and for each service.
pub struct Health {
    /// Empty: ready; else why not.
    pub readiness: watch::Receiver<String>,
    /// Ends the watchers' streams.
    pub stop: CancellationToken,
}

fn answer(problem: &str) -> HealthCheckResponse {
    let status = if problem.is_empty() { ServingStatus::Serving } else { ServingStatus::NotServing };
    HealthCheckResponse { status: status as i32 }
}

#[tonic::async_trait]
impl health_server::Health for Health {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = &request.get_ref().service;
        if !service.is_empty() && !SERVICES.contains(&service.as_str()) {
            return Err(Status::not_found(format!(
                "this server has no service {:?}",
                service.get(..64).unwrap_or(service)
            )));
        }
        Ok(Response::new(answer(&self.readiness.borrow())))
    }

    type WatchStream = std::pin::Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let stop = self.stop.clone();
        let changes = WatchStream::new(self.readiness.clone()).map(|problem| Ok(answer(&problem)));
        Ok(Response::new(Box::pin(changes.take_until(stop.cancelled_owned()))))
    }
}
