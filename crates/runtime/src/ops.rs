//! Health and metrics of a process that runs no gateway.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;

use crate::{Health, Shutdown};

/// Answers `/healthz` while the process lives, `/readyz` while it takes work and nothing of it is down, and `/metrics`.
pub fn router(shutdown: Shutdown, health: Health) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move || std::future::ready(ready(&shutdown, &health))))
        .route("/metrics", get(|| async { crate::telemetry::metrics_text() }))
}

fn ready(shutdown: &Shutdown, health: &Health) -> (StatusCode, String) {
    if shutdown.is_set() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    let failing = health.failing();
    if failing.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("down: {}\n", failing.join(", ")))
}
