//! Whether the server lives, and whether it is ready.

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::watch;

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

Tasks, runs and workers: gRPC, package marabunta.v1, with reflection; or the program marabunta.
";

/// The routes of the door.
pub fn router(probes: Probes) -> Router {
    Router::new()
        .route("/", get(async || INDEX))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .layer(DefaultBodyLimit::max(1 << 20))
        .with_state(probes)
}

async fn ready(State(probes): State<Probes>) -> (StatusCode, String) {
    match probes.readiness.borrow().as_str() {
        "" => (StatusCode::OK, "ready\n".into()),
        reason => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}
