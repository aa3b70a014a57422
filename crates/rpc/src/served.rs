//! The server side of every call, in process and over TCP: restores the caller's context around the handler.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;
use tonic::Code;
use tonic::body::Body;
use tonic::service::Routes;
use tower::Service;
use tracing::Instrument;

use crate::call::{Call, scope};
use crate::chance::Chance;
use crate::error::status;
use crate::guard::{deadline_exceeded, guard};
use crate::metadata::{read_call, read_timeout};
use crate::methods::{Methods, Side, method_name};
use crate::retry::head_code;

/// Deadline of a request that came without one, as only foreign clients send.
const DEADLINE_UNASKED: Duration = Duration::from_secs(60);

/// A mounted service.
#[derive(Clone)]
pub(crate) struct Served {
    routes: Routes,
    shared: Arc<Shared>,
}

struct Shared {
    service: Arc<str>,
    methods: Methods,
    chance: Arc<Chance>,
}

impl Served {
    pub(crate) fn new(service: &str, routes: Routes, chance: Arc<Chance>) -> Self {
        let service: Arc<str> = service.into();
        let methods = Methods::new(Arc::clone(&service), Side::Callee);
        // Without prepare() axum's router clones its whole table for each call.
        Served { routes: routes.prepare(), shared: Arc::new(Shared { service, methods, chance }) }
    }

    /// Answers one request; `trusted` tells whether the peer may say who the caller is.
    pub(crate) async fn handle(self, mut request: Request<Body>, trusted: bool) -> Response<Body> {
        let started = Instant::now();
        // Extensions of the caller's process would reach the handler only where it is near: they never travel.
        request.extensions_mut().clear();
        // Metadata: an unreadable one is refused before anything runs.
        let mut call = match read_call(request.headers(), trusted) {
            Ok(call) => call,
            Err(error) => return status(error).into_http(),
        };
        if call.trace.is_none() {
            call.trace = call.trace.next_hop(&self.shared.chance);
        }
        let remaining = read_timeout(request.headers()).unwrap_or(DEADLINE_UNASKED);
        call.deadline = Some(started + remaining);
        if remaining.is_zero() {
            return status(deadline_exceeded()).into_http();
        }
        // Metrics: outside the guard, so that deadlines and panics are counted.
        let shared = Arc::clone(&self.shared);
        let known = shared.methods.find(request.uri().path());
        let new_path = known.is_none().then(|| request.uri().path().to_owned());
        let response = self.guarded(request, call).await;
        let code = head_code(response.headers()).unwrap_or(Code::Ok);
        let method = match (known, new_path) {
            (Some(method), _) => method,
            // Paths of no method come from anywhere; they share one name.
            (None, Some(path)) if code != Code::Unimplemented => shared.methods.get(&path),
            (None, _) => shared.methods.other(),
        };
        method.count(code, started.elapsed());
        response
    }

    /// Runs the handler in the caller's context; a missed deadline and a panic become errors.
    async fn guarded(mut self, request: Request<Body>, call: Call) -> Response<Body> {
        let deadline = call.deadline;
        let span = tracing::info_span!(
            "rpc",
            service = &*self.shared.service,
            method = method_name(request.uri().path()),
            trace_id = format_args!("{:032x}", call.trace.trace_id),
        );
        let handler = self.routes.call(request);
        match guard(deadline, scope(call, handler).instrument(span)).await {
            Ok(Ok(response)) => response,
            Ok(Err(never)) => match never {},
            Err(broken) => status(broken.error()).into_http(),
        }
    }
}
