//! Serves the demo shop's pictures.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

/// Returns the pages: `/media/demo/{name}.svg`.
pub fn pages() -> axum::Router {
    axum::Router::new().route("/media/demo/{file}", get(picture))
}

async fn picture(Path(file): Path<String>) -> Response {
    match file.strip_suffix(".svg").and_then(super::svg) {
        // A picture depends on its name and the program only.
        Some(svg) => (
            [
                (header::CONTENT_TYPE, "image/svg+xml"),
                (header::CACHE_CONTROL, "public, max-age=86400"),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
                (header::CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"),
            ],
            svg,
        )
            .into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
