//! A JSON client for black-box tests.

use std::net::SocketAddr;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

/// Talks REST to one mall, as nobody or as somebody.
#[derive(Clone)]
pub struct Http {
    base: String,
    client: reqwest::Client,
    headers: HeaderMap,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// Headers, lower-case names.
    pub headers: HeaderMap,
    /// JSON body; null when there is none.
    pub body: Value,
}

impl Answer {
    /// Returns a header as text, empty when missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// Returns the code of the error, empty when there is none.
    pub fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or("")
    }

    /// Asserts the status, showing the body when it differs.
    ///
    /// # Panics
    /// When the status differs.
    #[track_caller]
    pub fn expect(self, status: u16) -> Answer {
        assert_eq!(self.status, status, "body: {}", self.body);
        self
    }
}

impl Http {
    /// Makes a client without a token.
    pub fn new(address: SocketAddr) -> Http {
        Http { base: format!("http://{address}"), client: reqwest::Client::new(), headers: HeaderMap::new() }
    }

    /// Returns the same client with one more header on every request.
    ///
    /// # Panics
    /// When name or value cannot be a header.
    pub fn with(&self, name: &str, value: &str) -> Http {
        let mut next = self.clone();
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        next.headers.insert(name, HeaderValue::from_str(value).expect("a header value"));
        next
    }

    /// Returns the same client with this access token.
    pub fn token(&self, token: &str) -> Http {
        self.with("authorization", &format!("Bearer {token}"))
    }

    /// Returns the same client with this idempotency key.
    pub fn key(&self, key: &str) -> Http {
        self.with("idempotency-key", key)
    }

    /// Sends a request; a null body sends none.
    ///
    /// # Panics
    /// When the mall does not answer at all.
    pub async fn send(&self, method: &str, path: &str, body: Value) -> Answer {
        self.try_send(method, path, body).await.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    /// Sends a request to a mall that may be away.
    ///
    /// # Errors
    /// The connection was refused or broke.
    pub async fn try_send(&self, method: &str, path: &str, body: Value) -> Result<Answer, reqwest::Error> {
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(method, format!("{}{path}", self.base)).headers(self.headers.clone());
        if !body.is_null() {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let status = answer.status().as_u16();
        let headers = answer.headers().clone();
        let bytes = answer.bytes().await?;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        let body = if bytes.is_empty() { Value::Null } else { body };
        Ok(Answer { status, headers, body })
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, Value::Null).await
    }

    /// Posts JSON.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, body).await
    }

    /// Puts JSON.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, body).await
    }

    /// Patches with JSON.
    pub async fn patch(&self, path: &str, body: Value) -> Answer {
        self.send("PATCH", path, body).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, Value::Null).await
    }
}
