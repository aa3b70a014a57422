//! The HTTP application: the REST edge, and the few paths that are not REST.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use mallard_admission::{Door, Issuer};
use mallard_cache::{Cache, Options};
use mallard_gateway_core::edge::{REQUEST_ID, harden, request_id};
use mallard_gateway_core::{Edge, docs, openapi, problem};
use mallard_rpc::Surface;
use mallard_runtime::Context;
use mallard_types::Error;

/// How long the document of the keys is used.
const KEYS_FRESH: Duration = Duration::from_secs(1);
const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the paths that are not REST need.
struct Site {
    ctx: Context,
    edge: Arc<Edge>,
    door: Arc<Door>,
    /// Made when it is asked for the first time.
    description: OnceLock<Bytes>,
    /// The document of the keys, so that nobody can keep identity busy with it.
    keys: Cache<(), String>,
}

/// Makes the application.
pub fn router(ctx: Context, edge: Arc<Edge>, door: Arc<Door>) -> Router {
    let keys = Cache::new("jwks", Options::new(1, KEYS_FRESH));
    let site = Arc::new(Site { ctx, edge: Arc::clone(&edge), door, description: OnceLock::new(), keys });
    let mut router = Router::new()
        .route("/healthz", get(|| async { page(StatusCode::OK, TEXT, "ok\n") }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(description))
        .route("/.well-known/jwks.json", get(jwks));
    for path in docs::PATHS {
        router = router.route(path, get(move || async move { docs::file(path).unwrap_or_default() }));
    }
    router
        .method_not_allowed_fallback(|request: Request| async move { refuse_verb(&request) })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&site), name_request))
        .with_state(site)
        .fallback(move |request: Request| Arc::clone(&edge).handle(request))
}

/// Refuses a verb on a path that only reads, in the form of every other refusal.
fn refuse_verb(request: &Request) -> Response {
    let error = Error::invalid("method_not_allowed", format!("{} is not possible here, only GET", request.method()))
        .details(serde_json::json!({ "allow": "GET,HEAD" }));
    let id = request_id(request.headers()).unwrap_or_default();
    refusal(&error, &id)
}

fn refusal(error: &Error, request_id: &str) -> Response {
    let reply = problem::reply(error, request_id);
    let mut response = page(reply.status, JSON, reply.body);
    response.headers_mut().extend(reply.headers);
    response
}

impl Site {
    /// Holds the address lists against the paths beside the routes: what the mall measures is for its operators. Whether it is
    /// alive anybody may ask, or a balancer outside the lists would take it for dead.
    fn check_address(&self, parts: &http::request::Parts) -> Result<(), Error> {
        match parts.uri.path() {
            "/healthz" | "/readyz" => Ok(()),
            "/metrics" => self.edge.check_address(parts, Surface::Admin),
            _ => self.edge.check_address(parts, Surface::Store),
        }
    }
}

/// Gives the answers beside REST the id of their request, too.
async fn name_request(State(site): State<Arc<Site>>, mut request: Request, next: axum::middleware::Next) -> Response {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let id =
        request_id(request.headers()).unwrap_or_else(|| format!("req_ops_{}", NEXT.fetch_add(1, Ordering::Relaxed)));
    let value = HeaderValue::from_str(&id).ok();
    if let Some(value) = &value {
        request.headers_mut().insert(REQUEST_ID, value.clone());
    }
    let (parts, body) = request.into_parts();
    let mut response = match site.check_address(&parts) {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(error) => refusal(&error, &id),
    };
    if let Some(value) = value {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

fn page(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    harden(headers);
    response
}

/// Ready means: not draining, no background work of the process is down, good tokens can be told from revoked ones, and there
/// is a policy.
async fn ready(State(site): State<Arc<Site>>) -> Response {
    if site.ctx.shutdown().is_set() {
        return page(StatusCode::SERVICE_UNAVAILABLE, TEXT, "draining\n");
    }
    let failing = site.ctx.health().failing();
    if !failing.is_empty() {
        return page(StatusCode::SERVICE_UNAVAILABLE, TEXT, format!("down: {}\n", failing.join(", ")));
    }
    match site.door.complete().await {
        Ok(()) => page(StatusCode::OK, TEXT, "ready\n"),
        Err(_) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT, "identity does not answer\n"),
    }
}

async fn metrics(State(site): State<Arc<Site>>) -> Response {
    page(StatusCode::OK, PROMETHEUS, site.ctx.metrics_text())
}

async fn description(State(site): State<Arc<Site>>) -> Response {
    let text = site
        .description
        .get_or_init(|| openapi::document(site.edge.routes(), env!("CARGO_PKG_VERSION")).to_string().into());
    page(StatusCode::OK, JSON, text.clone())
}

async fn jwks(State(site): State<Arc<Site>>, headers: HeaderMap) -> Response {
    let issuer = Issuer::new(&site.ctx);
    match site.keys.get_or_load((), || mallard_admission::jwks(&issuer)).await {
        Ok(text) => page(StatusCode::OK, JSON, text),
        Err(error) => {
            let request_id = request_id(&headers).unwrap_or_else(|| site.ctx.id("req"));
            tracing::warn!(%error, request_id, "the keys could not be read");
            let mut response = refusal(&error, &request_id);
            if let Ok(value) = HeaderValue::from_str(&request_id) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            response
        }
    }
}
