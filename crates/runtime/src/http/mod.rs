//! The HTTP surface of a process: HTTP/1.1 with a limit on connections, on the time a client takes to send headers, on
//! their size, and on idleness; drained without losing a request.
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | settings, accepting, refusing, draining |
//! | `connection.rs` | one connection from its first request to its last |
//! | `pulse.rs` | what a connection is doing, and whether that takes too long |

mod connection;
mod pulse;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use crate::Shutdown;
use connection::Server;

/// Clients that are being told at once that there are too many connections; more are cut without a word.
const REFUSALS_MAX: usize = 256;
/// Longest time for telling them.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);
/// Pause after an error of accepting that concerns the process, such as no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// Smallest limit of headers: what the parser works on.
const HEADER_BYTES_MIN: usize = 8_192;

/// Body of the answer to a connection too many. The client has sent nothing that could name its request.
const REFUSAL: &str = concat!(
    r#"{"error":{"type":"unavailable","code":"too_many_connections","#,
    r#""message":"too many connections; try again in a second","request_id":""}}"#
);

/// Settings of the HTTP surface, section `[http]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Open connections. One more is answered 503 and closed.
    pub connections_max: usize,
    /// Open connections of one address, or of one /64 of IPv6; more are answered 503 and closed. Raise it to the whole where a
    /// proxy stands in front.
    pub connections_per_address_max: usize,
    /// Longest time from the first byte of a request to the end of its headers, and from the connection to its first byte, in
    /// milliseconds.
    pub header_read_timeout_ms: u64,
    /// Most bytes of the request line and headers together; at least 8192. More are answered 431.
    pub header_bytes_max: usize,
    /// Most headers of a request. More are answered 431.
    pub headers_max: usize,
    /// Longest time without a request, and longest time in which a client takes none of the answer, in milliseconds.
    pub idle_timeout_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            connections_max: 10_000,
            connections_per_address_max: 5_000,
            header_read_timeout_ms: 10_000,
            header_bytes_max: 32_768,
            headers_max: 256,
            idle_timeout_ms: 75_000,
        }
    }
}

impl HttpConfig {
    /// Checks what has no sense.
    ///
    /// # Errors
    /// Names the key.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.connections_max > 0, "http.connections_max must be at least 1");
        anyhow::ensure!(self.connections_per_address_max > 0, "http.connections_per_address_max must be at least 1");
        anyhow::ensure!(self.headers_max > 0, "http.headers_max must be at least 1");
        anyhow::ensure!(self.header_read_timeout_ms > 0, "http.header_read_timeout_ms must be at least 1");
        anyhow::ensure!(self.idle_timeout_ms > 0, "http.idle_timeout_ms must be at least 1");
        anyhow::ensure!(
            self.header_bytes_max >= HEADER_BYTES_MIN,
            "http.header_bytes_max must be at least {HEADER_BYTES_MIN}"
        );
        Ok(())
    }
}

/// Serves an application until shutdown, then lets the requests under way end. While it drains, answers say
/// `Connection: close`, and connections without a request are closed.
pub(crate) async fn serve(listener: TcpListener, router: Router, config: HttpConfig, shutdown: Shutdown) {
    let server = Arc::new(Server::new(router, &config, shutdown.clone()));
    let mut connections = Connections::new(&config);
    let mut refusals = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.wait() => break,
            true = connections.ended() => continue,
            Some(_) = refusals.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.have_room(peer) => connections.open(&server, stream, peer),
            Ok((stream, _)) => {
                metrics::counter!("mallard_http_connections_refused_total").increment(1);
                if refusals.len() < REFUSALS_MAX {
                    refusals.spawn(refuse(stream));
                }
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                warn!(%error, "connections cannot be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Whoever had connected before is answered; the listener would reset them.
    while let Some(Ok((stream, peer))) = listener.accept().now_or_never() {
        if connections.have_room(peer) {
            connections.open(&server, stream, peer);
        }
    }
    drop(listener);
    while connections.ended().await {}
}

/// The open connections, counted by address.
struct Connections {
    open: JoinSet<()>,
    owners: HashMap<Id, IpAddr>,
    by_address: HashMap<IpAddr, usize>,
    all_max: usize,
    per_address_max: usize,
}

impl Connections {
    fn new(config: &HttpConfig) -> Connections {
        Connections {
            open: JoinSet::new(),
            owners: HashMap::new(),
            by_address: HashMap::new(),
            all_max: config.connections_max,
            per_address_max: config.connections_per_address_max,
        }
    }

    fn have_room(&self, peer: SocketAddr) -> bool {
        let own = self.by_address.get(&host(peer.ip())).copied().unwrap_or(0);
        self.open.len() < self.all_max && own < self.per_address_max
    }

    fn open(&mut self, server: &Arc<Server>, stream: TcpStream, peer: SocketAddr) {
        let task = self.open.spawn(Arc::clone(server).run(stream, peer));
        let address = host(peer.ip());
        self.owners.insert(task.id(), address);
        *self.by_address.entry(address).or_default() += 1;
    }

    /// Waits until a connection has ended; returns whether there was one.
    async fn ended(&mut self) -> bool {
        let Some(ended) = self.open.join_next_with_id().await else { return false };
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        if let Some(address) = self.owners.remove(&id)
            && let Some(own) = self.by_address.get_mut(&address)
        {
            *own -= 1;
            if *own == 0 {
                self.by_address.remove(&address);
            }
        }
        note_panic(ended.map(|_| ()));
        true
    }
}

/// Returns what one client has: an IPv4 address, or the /64 of an IPv6 address.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(whole) => IpAddr::V6((u128::from(whole) >> 64 << 64).into()),
        short => short,
    }
}

/// Tells a client that there are too many connections. What it sends meanwhile is read, because closing on unread bytes
/// would take the answer away from it.
async fn refuse(mut stream: TcpStream) {
    let answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         retry-after: 1\r\nconnection: close\r\n\r\n{REFUSAL}",
        REFUSAL.len()
    );
    let told = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut rest = [0; 4_096];
        while stream.read(&mut rest).await? > 0 {}
        std::io::Result::Ok(())
    };
    // It is gone, or too slow to be told.
    let _ = timeout(REFUSAL_TIMEOUT, told).await;
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a request panicked and took its connection with it");
    }
}

fn is_of_the_connection(error: &std::io::Error) -> bool {
    use std::io::ErrorKind as Kind;
    matches!(error.kind(), Kind::ConnectionRefused | Kind::ConnectionAborted | Kind::ConnectionReset)
}

#[cfg(test)]
mod tests;
