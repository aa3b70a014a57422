//! An edge over fake services, with callers named by their token and answers kept in memory.
#![allow(dead_code)]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use axum::body::Body;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use mallard_gateway_core::{
    Authenticate, Begin, Claim, Edge, EdgeConfig, Hook, IdempotencyStore, Identity, Remembered, Source, auth, routes,
};
use mallard_rpc::{Caller, CallerKind, Channels, Trace};
use mallard_types::{Error, Result};
use parking_lot::Mutex;
use serde_json::Value;

/// Takes tokens such as `usr_1` or `usr_1:admin`.
pub struct Names;

#[async_trait]
impl Authenticate for Names {
    async fn authenticate(&self, headers: &HeaderMap) -> Result<Identity> {
        let Some(token) = auth::bearer(headers)? else { return Ok(Identity::default()) };
        if token == "expired" {
            return Err(Error::unauthenticated("token_expired", "sign in again"));
        }
        let (user, role) = token.split_once(':').unwrap_or((token, "user"));
        let caller =
            Caller { kind: CallerKind::User, user_id: user.into(), roles: vec![role.into()], ..Caller::default() };
        Ok(Identity { caller, authenticated_at: 0 })
    }
}

/// Keeps claims and answers in memory.
#[derive(Default)]
pub struct Memory {
    pub rows: Mutex<HashMap<String, (Claim, Option<Remembered>)>>,
    pub begins: AtomicU64,
    pub finishes: AtomicU64,
}

#[async_trait]
impl IdempotencyStore for Memory {
    async fn begin(&self, claim: &Claim) -> Result<Begin> {
        self.begins.fetch_add(1, Ordering::SeqCst);
        let mut rows = self.rows.lock();
        Ok(match rows.get(&claim.id) {
            None => {
                rows.insert(claim.id.clone(), (claim.clone(), None));
                Begin::New
            }
            Some((held, _)) if held.body != claim.body => Begin::Mismatch,
            Some((_, Some(answer))) => Begin::Replay(answer.clone()),
            Some((_, None)) => Begin::InFlight,
        })
    }

    async fn finish(&self, claim: &Claim, answer: &Remembered) -> Result<()> {
        self.finishes.fetch_add(1, Ordering::SeqCst);
        self.rows.lock().insert(claim.id.clone(), (claim.clone(), Some(answer.clone())));
        Ok(())
    }

    async fn abandon(&self, claim: &Claim) -> Result<()> {
        self.rows.lock().remove(&claim.id);
        Ok(())
    }
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Returns status, code and param of a refusal.
    pub fn refusal(&self) -> (u16, String, String) {
        let error = &self.json()["error"];
        let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        assert_eq!(text("request_id"), self.header("x-request-id"));
        (self.status.as_u16(), text("code"), text("param"))
    }
}

pub fn edge_with(
    channels: &Channels,
    store: Arc<dyn IdempotencyStore>,
    hook: Option<Arc<dyn Hook>>,
    config: EdgeConfig,
) -> Arc<Edge> {
    let counter = AtomicU64::new(0);
    let source = Source {
        id: Box::new(move |prefix| format!("{prefix}_{}", counter.fetch_add(1, Ordering::SeqCst))),
        trace: Box::new(|| Trace::new(7, 7)),
        now: Box::new(|| 1_767_225_600_000_000),
    };
    let routes = routes(|service| channels.channel(service));
    Edge::new(routes, Arc::new(Names), store, hook, source, config).unwrap()
}

pub fn edge(channels: &Channels) -> Arc<Edge> {
    edge_with(channels, Arc::new(Memory::default()), None, EdgeConfig::default())
}

/// Sends a request; `headers` are pairs; a body is sent as JSON.
pub async fn send(edge: &Arc<Edge>, verb: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(verb).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if !body.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        request = request.header("content-type", "application/json");
    }
    ask(edge, request.body(Body::from(body.to_owned())).unwrap()).await
}

/// Sends a request as it is.
pub async fn ask(edge: &Arc<Edge>, request: Request<Body>) -> Answer {
    let response = Arc::clone(edge).handle(request).await;
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
}
