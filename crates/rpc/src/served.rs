//! The server side of every call, in process and over TCP: restores the caller's context around the handler.

use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use tokio::time::Instant;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::{Code, Status};
use tower::Service;
use tracing::Instrument;

use crate::call::{Call, scope};
use crate::chance::Chance;
use crate::error::{code_name, error, status};
use crate::guard::{deadline_exceeded, guard};
use crate::metadata::{read_call, read_timeout};
use crate::meter::{Meter, is_failure};
use crate::methods::{Method, Methods, Side, method_name};
use crate::policy::retry::head_code;
use crate::slow::{OK, SlowCalls};
use crate::snapshot::EndpointState;

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
    meter: Meter,
    slow: SlowCalls,
}

impl Served {
    pub(crate) fn new(service: &str, routes: Routes, chance: Arc<Chance>, slow: SlowCalls) -> Self {
        let service: Arc<str> = service.into();
        let meter = Meter::new(Instant::now());
        let methods = Methods::new(Arc::clone(&service), Side::Callee);
        // Without prepare() axum's router clones its whole table for each call.
        Served { routes: routes.prepare(), shared: Arc::new(Shared { service, methods, chance, meter, slow }) }
    }

    /// Returns what is known of the calls.
    pub(crate) fn state(&self, now: Instant) -> EndpointState {
        self.shared.meter.state(&self.shared.service, now)
    }

    /// Answers one request of a trusted peer.
    pub(crate) async fn handle(self, mut request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        // Extensions of the caller's process would reach the handler only where it is near: they never travel.
        request.extensions_mut().clear();
        // Metadata: a call that does not say who asks, or not so that it can be read, is refused before anything runs.
        let mut call = match read_call(request.headers()) {
            Ok(call) => call,
            Err(error) => return status(error).into_http(),
        };
        if call.trace.is_none() {
            call.trace = call.trace.next_hop(&self.shared.chance);
        }
        let trace_id = call.trace.trace_id;
        let remaining = read_timeout(request.headers()).unwrap_or(DEADLINE_UNASKED);
        call.deadline = Some(started + remaining);
        if remaining.is_zero() {
            return status(deadline_exceeded()).into_http();
        }
        // Metrics: outside the guard, so that deadlines and panics are counted.
        let shared = Arc::clone(&self.shared);
        let known = shared.methods.find(request.uri().path());
        let under_way = shared.meter.begin();
        let watch = Watch { shared: &shared, known: known.as_ref(), trace_id, started, ended: false };
        let new_path = known.is_none().then(|| request.uri().path().to_owned());
        let response = self.guarded(request, call).await;
        watch.end();
        let code = head_code(response.headers()).unwrap_or(Code::Ok);
        let method = match (known, new_path) {
            (Some(method), _) => method,
            // Paths of no method come from anywhere; they share one name.
            (None, Some(path)) if code != Code::Unimplemented => shared.methods.get(&path),
            (None, _) => shared.methods.other(),
        };
        let now = Instant::now();
        let took = now.saturating_duration_since(started);
        method.count(code, took);
        under_way.end(now, took, is_failure(code));
        let outcome = || match code {
            Code::Ok => OK.into(),
            _ => {
                Status::from_header_map(response.headers()).map_or(code_name(code).into(), |status| error(status).code)
            }
        };
        shared.slow.note(trace_id, started, took, || (format!("{}.{}", shared.service, method.name()), outcome()));
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

/// Notices that nobody waits for a call any more: its future is dropped where it stands.
struct Watch<'a> {
    shared: &'a Shared,
    known: Option<&'a Arc<Method>>,
    trace_id: u128,
    started: Instant,
    ended: bool,
}

impl Watch<'_> {
    fn end(mut self) {
        self.ended = true;
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let name = || format!("{}.{}", self.shared.service, self.known.map_or("other", |method| method.name()));
        let describe = || (name(), code_name(Code::Cancelled).into());
        self.shared.slow.note(self.trace_id, self.started, self.started.elapsed(), describe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::write_call;

    #[tokio::test(start_paused = true)]
    async fn a_call_without_identity_is_refused_in_process_as_well() {
        let served = Served::new("probe", Routes::default(), Arc::new(Chance::new(Some(1))), SlowCalls::default());
        let request = || Request::builder().uri("/mallard.probe.v1.ProbeService/Get").body(Body::empty()).unwrap();
        let answer = served.clone().handle(request()).await;
        let refused = error(tonic::Status::from_header_map(answer.headers()).unwrap());
        assert_eq!((refused.kind, &*refused.code), (mallard_types::Kind::Unauthenticated, "identity_missing"));
        let mut request = request();
        write_call(request.headers_mut(), &Call::default());
        let answer = served.handle(request).await;
        assert_eq!(head_code(answer.headers()), Some(Code::Unimplemented), "an anonymous one is looked at");
    }
}
