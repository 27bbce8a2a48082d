//! Whether the server lives, whether it is ready, and the routes of the door.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use tokio::sync::watch;

use super::metrics::metrics;
use crate::metrics::{Page, PanicIn};
use crate::panics::Panics;

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
pub fn router(probes: Probes, page: Page, panics: Panics) -> Router {
    Router::new()
        .route("/", get(async || INDEX))
        .route("/healthz", get(async || "alive\n"))
        .route("/readyz", get(ready))
        .with_state(probes)
        .merge(Router::new().route("/metrics", get(metrics)).with_state(page))
        .layer(DefaultBodyLimit::max(1 << 20))
        .layer(from_fn_with_state(panics, caught))
}

/// A request that panics is answered, and its connection stays.
async fn caught(State(panics): State<Panics>, request: Request, next: Next) -> Response {
    let answered = panics.catch(PanicIn::Call, next.run(request)).await;
    answered.unwrap_or_else(|| {
        (StatusCode::INTERNAL_SERVER_ERROR, "the server panicked: see its log\n").into_response()
    })
}

async fn ready(State(probes): State<Probes>) -> (StatusCode, String) {
    match probes.readiness.borrow().as_str() {
        "" => (StatusCode::OK, "ready\n".into()),
        reason => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use axum::body::Body;
    use tonic::codegen::Service as _;

    #[tokio::test]
    async fn a_request_that_panics_is_answered_with_500() {
        let metrics = Metrics::new();
        let broken = async || if INDEX.is_empty() { "" } else { panic!("no page") };
        let mut router: Router = Router::new().route("/", get(broken));
        router = router.layer(from_fn_with_state(metrics.panics.clone(), caught));
        let answer = router.call(Request::new(Body::empty())).await.unwrap();
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(metrics.text().unwrap().contains("marabunta_panics_total{where=\"call\"} 1\n"));
    }
}
