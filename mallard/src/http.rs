//! A small HTTP client for the tools: JSON over one mall's address.

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// Talks to one mall; every call has a connection of its own.
#[derive(Clone)]
pub struct Client {
    authority: String,
}

/// A status and a JSON body.
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Body; null when there is none.
    pub body: Value,
}

impl Client {
    /// Takes the mall's address, e.g. `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// Anything but a plain HTTP address.
    pub fn new(url: &str) -> anyhow::Result<Client> {
        let Some(authority) = url.strip_prefix("http://") else {
            bail!("{url}: only http:// addresses are spoken here")
        };
        let authority = authority.trim_end_matches('/');
        let authority = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        Ok(Client { authority })
    }

    /// Returns host and port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Opens a connection for many requests.
    ///
    /// # Errors
    /// Nobody listens there.
    pub async fn connect(&self) -> anyhow::Result<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(&self.authority)
            .await
            .with_context(|| format!("no mall answers at {}", self.authority))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// Sends one request with a JSON body (none when null) and reads the JSON answer.
    ///
    /// # Errors
    /// The mall is away, or answers something else than JSON.
    pub async fn call(&self, method: &str, path: &str, token: Option<&str>, body: &Value) -> anyhow::Result<Answer> {
        let mut sender = self.connect().await?;
        let mut request = http::Request::builder().method(method).uri(path).header("host", &self.authority);
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let bytes = if body.is_null() {
            Bytes::new()
        } else {
            request = request.header("content-type", "application/json");
            Bytes::from(serde_json::to_vec(body)?)
        };
        let answer = sender.send_request(request.body(Full::new(bytes))?).await?;
        let status = answer.status().as_u16();
        let bytes = answer.into_body().collect().await?.to_bytes();
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes)
                .with_context(|| format!("{method} {path} answered {status} with something else than JSON"))?
        };
        Ok(Answer { status, body })
    }
}
