//! The gRPC server of a process: several services on one port, HTTP/2, drained without losing a request.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use http::{Request, Response};
use mallard_types::Error;
use serde::Deserialize;
use subtle::ConstantTimeEq;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpConnectInfo, TcpIncoming};
use tower::Service;

use crate::chance::Chance;
use crate::channel::not_running;
use crate::config::HEADER_LIST_BYTES_MAX;
use crate::error::{PEER_NOT_TRUSTED, status};
use crate::health::{self, Health, package_service};
use crate::metadata::{CLUSTER, SERVICE, text};
use crate::served::Served;
use crate::slow::SlowCalls;

/// Pause between pings of an idle peer, and longest wait for an answer to one.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
/// Requests under way per connection; the peer waits with more.
const STREAMS_MAX: u32 = 1_024;

/// Limits of the gRPC server of a process.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Secret the processes of one cluster share. A peer that sends it is believed who the caller is. Without a
    /// secret peers on loopback are believed. Everybody else is refused.
    pub cluster_secret: String,
    /// Longest wait for requests under way when the server stops, in milliseconds.
    pub drain_max_ms: u64,
    /// Where slow calls are remembered: [`crate::Channels::slow_calls`] of the process.
    #[serde(skip)]
    pub slow_calls: SlowCalls,
}

impl Default for ServerConfig {
    fn default() -> Self {
        ServerConfig { cluster_secret: String::new(), drain_max_ms: 30_000, slow_calls: SlowCalls::default() }
    }
}

impl std::fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerConfig")
            .field("cluster_secret", &if self.cluster_secret.is_empty() { "" } else { "***" })
            .field("drain_max_ms", &self.drain_max_ms)
            .finish_non_exhaustive()
    }
}

/// Serves several services on one port until `shutdown`, then answers the requests under way and returns. The standard
/// health service is among them.
///
/// A request goes to the service its `mallard-service` header names; without one, to the service of its package
/// (`mallard.order.v1` is `order`).
///
/// # Errors
/// When the server cannot run at all; a connection that breaks is none.
pub async fn serve(
    listener: TcpListener,
    services: Vec<(&'static str, Routes)>,
    config: ServerConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error> {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    serve_incoming(incoming, services, config, shutdown).await
}

/// As [`serve`], over connections of any kind. Peers are on loopback only if the connection's info is a
/// [`TcpConnectInfo`] that says so.
///
/// # Errors
/// As [`serve`].
pub async fn serve_incoming<I, IO, IE>(
    incoming: I,
    services: Vec<(&'static str, Routes)>,
    config: ServerConfig,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error>
where
    I: Stream<Item = Result<IO, IE>>,
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    IE: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let port = Port::new(services, &config);
    let health = port.0.health.clone();
    let (draining, drained) = oneshot::channel();
    let stop = async move {
        shutdown.await;
        health.drain();
        // Nobody listens any more only if the server has ended by itself.
        let _ = draining.send(());
    };
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE))
        .http2_keepalive_timeout(Some(KEEP_ALIVE))
        .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX)
        .serve_with_incoming_shutdown(port, incoming, stop);
    let too_late = async {
        match drained.await {
            Ok(()) => tokio::time::sleep(Duration::from_millis(config.drain_max_ms)).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        served = server => served,
        () = too_late => {
            tracing::warn!(drain_max_ms = config.drain_max_ms, "stopped with requests still under way");
            Ok(())
        }
    }
}

/// Everything one port serves.
#[derive(Clone)]
struct Port(Arc<Shared>);

struct Shared {
    services: BTreeMap<&'static str, Served>,
    health: Health,
    cluster_secret: String,
}

impl Port {
    fn new(services: Vec<(&'static str, Routes)>, config: &ServerConfig) -> Self {
        let chance = Arc::new(Chance::new(None));
        let names: Arc<[&'static str]> = services.iter().map(|(name, _)| *name).collect();
        let served = services
            .into_iter()
            .map(|(name, routes)| (name, Served::new(name, routes, Arc::clone(&chance), config.slow_calls.clone())));
        Port(Arc::new(Shared {
            services: served.collect(),
            health: Health::new(names),
            cluster_secret: config.cluster_secret.clone(),
        }))
    }

    async fn handle(self, mut request: Request<Body>) -> Response<Body> {
        let shared = self.0;
        let path = request.uri().path();
        if path.starts_with(health::PREFIX) {
            return shared.health.handle(request).await;
        }
        if !shared.trusts(&request) {
            return status(shared.not_trusted()).into_http();
        }
        let named = text(request.headers(), &SERVICE);
        let service = named.unwrap_or_else(|| package_service(path.trim_start_matches('/')));
        let Some(served) = shared.services.get(service).cloned() else {
            return match named {
                // The caller's discovery is behind: another endpoint may do.
                Some(service) => status(not_running(service)).into_http(),
                None => Status::unimplemented("no such service here").into_http(),
            };
        };
        request.headers_mut().remove(CLUSTER);
        served.handle(request).await
    }
}

impl Shared {
    fn not_trusted(&self) -> Error {
        let why = match self.cluster_secret.is_empty() {
            true => "this process has no cluster secret and trusts its own machine only",
            false => "the caller's process does not know the cluster secret of this one",
        };
        let message = format!("{why}: start both with the same --cluster-secret (MALLARD_CLUSTER_SECRET)");
        Error::unauthenticated(PEER_NOT_TRUSTED, message)
    }

    /// Tells whether the peer may say who the caller is.
    fn trusts(&self, request: &Request<Body>) -> bool {
        if self.cluster_secret.is_empty() {
            let peer = request.extensions().get::<TcpConnectInfo>().and_then(TcpConnectInfo::remote_addr);
            return peer.is_some_and(|peer| is_loopback(peer.ip()));
        }
        let sent = request.headers().get(CLUSTER).map_or(&b""[..], |value| value.as_bytes());
        sent.ct_eq(self.cluster_secret.as_bytes()).into()
    }
}

fn is_loopback(ip: IpAddr) -> bool {
    ip.to_canonical().is_loopback()
}

impl Service<Request<Body>> for Port {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let port = self.clone();
        Box::pin(async move { Ok(port.handle(request).await) })
    }
}
