//! One connection from its first request to its last.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::ConnectInfo;
use bytes::Bytes;
use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};
use tower::Service;

use super::HttpConfig;
use super::pulse::{Answering, Limits, Overdue, Pulse, Watched};
use crate::Shutdown;

/// How long a connection without a request stays open when draining begins: its client may be sending one.
const LINGER: Duration = Duration::from_millis(100);

/// What all connections share.
pub(super) struct Server {
    router: Router,
    http: http1::Builder,
    limits: Limits,
    shutdown: Shutdown,
}

impl Server {
    pub(super) fn new(router: Router, config: &HttpConfig, shutdown: Shutdown) -> Server {
        let mut http = http1::Builder::new();
        http.header_read_timeout(None).max_header_size(config.header_bytes_max).max_headers(config.headers_max);
        let idle = Duration::from_millis(config.idle_timeout_ms);
        let headers = Duration::from_millis(config.header_read_timeout_ms);
        Server { router: router.with_state(()), http, limits: Limits { headers, idle, stalled: idle }, shutdown }
    }

    /// Answers the requests of a connection until it ends, takes too long, or the process stops.
    pub(super) async fn run(self: Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let _open = Open::new();
        // A socket that refuses the option still works, only slower.
        let _ = stream.set_nodelay(true);
        let pulse = Arc::new(Pulse::new());
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&pulse)));
        let service = hyper::service::service_fn(|request| self.answer(request, peer, &pulse));
        let mut connection = pin!(self.http.serve_connection(io, service));
        let mut limits = self.limits;
        let mut look = pin!(sleep_until(Instant::now() + limits.headers.min(limits.idle)));
        let mut stop = pin!(self.shutdown.wait());
        let mut draining = false;
        loop {
            tokio::select! {
                biased;
                // Broken by the client: nothing to be done, and not worth a line.
                _ = connection.as_mut() => return,
                () = look.as_mut() => match pulse.check(&limits) {
                    Ok(next) => look.as_mut().reset(next),
                    Err(overdue) => return cut(overdue, peer, draining),
                },
                () = stop.as_mut(), if !draining => {
                    draining = true;
                    if !pulse.is_idle() {
                        connection.as_mut().graceful_shutdown();
                    }
                    limits.idle = LINGER.min(limits.idle);
                    look.as_mut().reset(Instant::now() + limits.idle);
                }
            }
        }
    }

    fn answer(
        &self,
        request: Request<Incoming>,
        peer: SocketAddr,
        pulse: &Arc<Pulse>,
    ) -> impl Future<Output = Result<Response<Answer>, Infallible>> + use<> {
        let answering = pulse.answering();
        let mut request = request.map(Body::new);
        // Who has no name is told apart by address.
        request.extensions_mut().insert(ConnectInfo(peer));
        let answer = self.router.clone().call(request);
        let shutdown = self.shutdown.clone();
        async move {
            let mut response = answer.await?;
            if shutdown.is_set() {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(response.map(|body| Answer { body, _answering: answering }))
        }
    }
}

fn cut(overdue: Overdue, peer: SocketAddr, draining: bool) {
    if draining && overdue == Overdue::Idle {
        return;
    }
    metrics::counter!("mallard_http_connections_cut_total", "why" => overdue.as_str()).increment(1);
    tracing::debug!(%peer, why = overdue.as_str(), "a connection took too long");
}

/// The body of an answer; the request is under way until it is dropped.
struct Answer {
    body: Body,
    _answering: Answering,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Counts an open connection until it is dropped.
struct Open(metrics::Gauge);

impl Open {
    fn new() -> Open {
        let gauge = metrics::gauge!("mallard_http_connections");
        gauge.increment(1);
        Open(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}
