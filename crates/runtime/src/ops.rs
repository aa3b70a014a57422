//! Health and metrics of a process that runs no gateway.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::Shutdown;

/// Answers `/healthz` while the process lives, `/readyz` until it drains, and `/metrics`.
pub fn router(shutdown: Shutdown) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route(
            "/readyz",
            get(move || {
                let draining = shutdown.is_set();
                async move {
                    if draining { (StatusCode::SERVICE_UNAVAILABLE, "draining\n") } else { (StatusCode::OK, "ready\n") }
                }
            }),
        )
        .route("/metrics", get(|| async { crate::telemetry::metrics_text() }))
}
