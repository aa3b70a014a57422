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

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::FutureExt;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
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
    /// Longest time from the first byte of a request to the end of its headers, in milliseconds.
    pub header_read_timeout_ms: u64,
    /// Most bytes of the request line and headers together; at least 8192. More are answered 431.
    pub header_bytes_max: usize,
    /// Longest time without a request, and longest time in which a client takes none of the answer, in milliseconds.
    pub idle_timeout_ms: u64,
}

impl Default for HttpConfig {
    fn default() -> Self {
        HttpConfig {
            connections_max: 10_000,
            header_read_timeout_ms: 10_000,
            header_bytes_max: 32_768,
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
    let mut connections = JoinSet::new();
    let mut refusals = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = shutdown.wait() => break,
            Some(ended) = connections.join_next() => {
                note_panic(ended);
                continue;
            }
            Some(_) = refusals.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) if connections.len() < config.connections_max => {
                connections.spawn(Arc::clone(&server).run(stream, peer));
            }
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
        if connections.len() < config.connections_max {
            connections.spawn(Arc::clone(&server).run(stream, peer));
        }
    }
    drop(listener);
    while let Some(ended) = connections.join_next().await {
        note_panic(ended);
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
