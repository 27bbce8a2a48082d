//! Whether the server lives, whether it is ready, and the routes of the door.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::watch;

use super::metrics::metrics;
use crate::metrics::Page;

/// What the probes answer from; asking costs nothing.
#[derive(Clone)]
pub struct Probes {
    /// Empty: ready; else why not.
    pub readiness: watch::Receiver<String>,
}

const INDEX: &str = "\
marabunta-server

/healthz  200 while the process serves
/readyz   200 when store and queue answer and the server is not stopping; else 503 and why
/metrics  what happened here, in the text format of Prometheus

Tasks, runs and workers: gRPC, package marabunta.v1, with reflection; or the program marabunta.
";

/// The routes of the door.
pub fn router(probes: Probes, page: Page) -> Router {
    Router::new()
        .route("/", get(async || INDEX))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .with_state(probes)
        .merge(Router::new().route("/metrics", get(metrics)).with_state(page))
        .layer(DefaultBodyLimit::max(1 << 20))
}

async fn ready(State(probes): State<Probes>) -> (StatusCode, String) {
    match probes.readiness.borrow().as_str() {
        "" => (StatusCode::OK, "ready\n".into()),
        reason => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}
