//! The metrics, for whoever scrapes them.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::error;

use crate::metrics::Page;

pub(super) async fn metrics(State(page): State<Page>) -> Response {
    match page.text().await {
        Ok(text) => ([(header::CONTENT_TYPE, Page::FORMAT)], text).into_response(),
        Err(error) => {
            error!(%error, "failed to write the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
