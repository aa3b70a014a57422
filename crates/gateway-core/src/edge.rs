//! The way of a request through the edge.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::request::Parts;
use http::{HeaderMap, Request, Response};
use mallard_proto::rest::{Idempotency, RouteInfo, header};
use mallard_rpc::{Call, Trace};
use mallard_types::{Error, Kind, Result};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::auth::{self, Authenticate, Identity};
use crate::endpoint::{Input, Reply};
use crate::once::{self, Claim, IdempotencyStore, Once};
use crate::table::{Found, Route, Table};
use crate::{body, problem};

mod copies;
mod respond;

pub use copies::{Copies, CopiesConfig};
pub use respond::{REQUEST_ID, harden, request_id};

/// Header of a guest's cart.
const CART_TOKEN: &str = "x-cart-token";

/// Limits of the edge.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Longest time from a request's head to its answer; it is the deadline of the calls made for it.
    pub timeout: Duration,
    /// Path templates that may take longer, and how long.
    pub slow: Vec<(&'static str, Duration)>,
    /// Most requests under way; more are answered 503 `overloaded`.
    pub requests_max: usize,
    /// Which public answers are given again, and for how long.
    pub copies: CopiesConfig,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        EdgeConfig {
            timeout: Duration::from_secs(15),
            slow: Vec::new(),
            requests_max: 10_000,
            copies: CopiesConfig::default(),
        }
    }
}

/// Where ids and traces come from.
pub struct Source {
    /// Makes an id with this prefix.
    pub id: Box<dyn Fn(&'static str) -> String + Send + Sync>,
    /// Makes a new trace.
    pub trace: Box<dyn Fn() -> Trace + Send + Sync>,
}

/// A request that was answered with success.
pub struct Done<'a> {
    /// Its route.
    pub info: &'static RouteInfo,
    /// Its context.
    pub call: &'a Call,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// The answer.
    pub reply: &'a Reply,
}

/// Acts between a success and its answer, on the routes it wants.
#[async_trait]
pub trait Hook: Send + Sync {
    /// Tells whether the hook acts on a route.
    fn wants(&self, info: &RouteInfo) -> bool;

    /// Acts; the client gets its answer afterwards.
    async fn done(&self, done: Done<'_>);
}

/// The edge. Made once, shared by all requests.
pub struct Edge {
    table: Table,
    authenticate: Arc<dyn Authenticate>,
    once: Arc<Once>,
    hook: Option<Arc<dyn Hook>>,
    source: Source,
    copies: Copies,
    config: EdgeConfig,
    under_way: Semaphore,
}

impl Edge {
    /// Makes the edge over its routes.
    ///
    /// # Errors
    /// Text naming two routes that cannot be told apart.
    pub fn new(
        routes: Vec<Route>,
        authenticate: Arc<dyn Authenticate>,
        store: Arc<dyn IdempotencyStore>,
        hook: Option<Arc<dyn Hook>>,
        source: Source,
        config: EdgeConfig,
    ) -> Result<Arc<Edge>, String> {
        Ok(Arc::new(Edge {
            table: Table::new(routes)?,
            authenticate,
            once: Arc::new(Once::new(store)),
            hook,
            source,
            under_way: Semaphore::new(config.requests_max),
            copies: Copies::new(config.copies.clone()),
            config,
        }))
    }

    /// Returns the routes, in order of the contracts.
    pub fn routes(&self) -> &[Route] {
        self.table.routes()
    }

    /// Returns the copies of public answers.
    pub fn copies(&self) -> &Copies {
        &self.copies
    }

    /// Answers a request.
    pub async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let started = Instant::now();
        let (parts, body) = request.into_parts();
        let request_id = respond::request_id(&parts.headers).unwrap_or_else(|| (self.source.id)("req"));
        let trace = respond::trace(&parts.headers).unwrap_or_else(|| (self.source.trace)());
        let found = self.table.find(&parts.method, parts.uri.path());
        let (route, answer) = match found {
            Found::Route(route, params) => {
                let slow = self.config.slow.iter().find(|(path, _)| *path == route.info.path);
                let deadline = started + slow.map_or(self.config.timeout, |(_, timeout)| *timeout);
                let call = Call { trace, deadline: Some(deadline), request_id: request_id.clone(), ..Call::default() };
                let work = AssertUnwindSafe(self.answer(route, params, &parts, body, call)).catch_unwind();
                let answer = match timeout_at(deadline, work).await {
                    Ok(Ok(answer)) => answer,
                    Ok(Err(_)) => Err(Error::internal("panic", "the edge panicked")),
                    Err(_) => Err(Error::deadline("deadline_exceeded", "no answer came in time")),
                };
                (Some(route), answer)
            }
            Found::OtherVerbs(allow) => {
                let message = format!("{} is not possible here, only {allow}", parts.method);
                let error = Error::invalid("method_not_allowed", message).details(serde_json::json!({"allow": allow}));
                (None, Err(error))
            }
            Found::Nothing => (None, Err(Error::not_found("route_not_found", "there is no such route"))),
        };
        let reply = answer.unwrap_or_else(|error| refuse(&error, &request_id));
        let response = respond::response(&parts, reply, &request_id);
        self.report(&parts, route, &response, &request_id, trace, started.elapsed());
        response
    }

    async fn answer(
        &self,
        route: &Route,
        params: Vec<String>,
        parts: &Parts,
        body: Body,
        mut call: Call,
    ) -> Result<Reply> {
        let _place = self
            .under_way
            .try_acquire()
            .map_err(|_| Error::unavailable("overloaded", "too many requests are under way").retry_after_ms(1_000))?;
        self.authenticate(route, parts, &mut call).await?;
        if self.copies.cover(route) {
            return self.copies.answer(route, &params, parts, call).await;
        }
        let reply = self.carry_out(route, &params, parts, body, call).await;
        self.copies.written(route, &params, &reply);
        reply
    }

    async fn carry_out(
        &self,
        route: &Route,
        params: &[String],
        parts: &Parts,
        body: Body,
        call: Call,
    ) -> Result<Reply> {
        let info = route.info;
        let key = match info.idempotency {
            Idempotency::None => None,
            Idempotency::Accepted => parts.headers.get(once::KEY),
            Idempotency::Required => match parts.headers.get(once::KEY) {
                Some(key) => Some(key),
                None => {
                    let message = "send a fresh Idempotency-Key with every new request and the same one with a repeat";
                    return Err(Error::invalid("idempotency_key_required", message).param("Idempotency-Key"));
                }
            },
        };
        // Not every request message carries the key, so it is checked here.
        let key = key.map(|_| header::text(&parts.headers, "Idempotency-Key")).transpose()?;
        let body = if info.body { body::read(&parts.headers, body).await? } else { Default::default() };
        let query = parts.uri.query().unwrap_or_default();
        let work = route.endpoint.start(&Input { path: params, query, headers: &parts.headers, body: &body })?;
        let Some((key, caller)) = key.zip(caller_scope(parts, &call)) else {
            return self.perform(info, call, &parts.headers, work).await;
        };

        let claim = Claim {
            id: once::claim_id(&caller, info.verb, parts.uri.path(), &key),
            body: once::body_hash(&key, &body)?,
            attempt: (self.source.id)("try"),
        };
        let hooked = self.hook.clone().filter(|hook| hook.wants(info));
        let headers = if hooked.is_some() { parts.headers.clone() } else { HeaderMap::new() };
        let work: BoxFuture<'static, Reply> = Box::pin(async move {
            let request_id = call.request_id.clone();
            let answer = AssertUnwindSafe(perform(hooked, info, call, &headers, work)).catch_unwind().await;
            let answer = answer.unwrap_or_else(|_| Err(Error::internal("panic", "the edge panicked")));
            answer.unwrap_or_else(|error| refuse(&error, &request_id))
        });
        let once = Arc::clone(&self.once);
        // A task of its own: a client that goes away must find the answer when it comes back with the same key.
        let task = tokio::spawn(async move { once.run(&claim, work).await });
        task.await.map_err(|error| Error::internal("task_failed", "the request's task ended").source(error))?
    }

    /// Finds out who asks and whether the route lets them.
    async fn authenticate(&self, route: &Route, parts: &Parts, call: &mut Call) -> Result<()> {
        let mut identity = match self.authenticate.authenticate(&parts.headers).await {
            Ok(identity) => identity,
            // A client whose token has expired must still be able to sign in or refresh.
            Err(error) if error.kind == Kind::Unauthenticated && is_open_door(route) => Identity::default(),
            Err(error) => return Err(error),
        };
        identity.caller.surface = route.surface;
        if let Some(language) = auth::language(&parts.headers) {
            identity.caller.language = language.to_owned();
        }
        call.caller = self.authenticate.authorise(route.info, route.access, parts.uri.path(), identity)?;
        Ok(())
    }

    async fn perform(
        &self,
        info: &'static RouteInfo,
        call: Call,
        headers: &HeaderMap,
        work: BoxFuture<'static, Result<Reply>>,
    ) -> Result<Reply> {
        let hook = self.hook.clone().filter(|hook| hook.wants(info));
        perform(hook, info, call, headers, work).await
    }

    fn report(
        &self,
        parts: &Parts,
        route: Option<&Route>,
        response: &Response<Body>,
        request_id: &str,
        trace: Trace,
        elapsed: Duration,
    ) {
        let status = response.status().as_u16();
        let template = route.map_or("unmatched", |route| route.info.path);
        match route {
            Some(route) => route.meter.count(status, elapsed),
            None => {
                metrics::counter!("mallard_http_requests_total", "route" => template, "status" => status.to_string())
                    .increment(1)
            }
        }
        tracing::info!(
            verb = parts.method.as_str(),
            route = template,
            status,
            duration_us = elapsed.as_micros() as u64,
            request_id,
            trace_id = format_args!("{:032x}", trace.trace_id),
            "request answered"
        );
    }
}

/// Does the work as the caller and runs the hook after a success.
async fn perform(
    hook: Option<Arc<dyn Hook>>,
    info: &'static RouteInfo,
    call: Call,
    headers: &HeaderMap,
    work: BoxFuture<'static, Result<Reply>>,
) -> Result<Reply> {
    let Some(hook) = hook else { return mallard_rpc::scope(call, work).await };
    let reply = mallard_rpc::scope(call.clone(), work).await?;
    hook.done(Done { info, call: &call, headers, reply: &reply }).await;
    Ok(reply)
}

/// Writes an error and logs the ones that are ours.
fn refuse(error: &Error, request_id: &str) -> Reply {
    let source = error.source.as_deref().map(tracing::field::display);
    match error.kind {
        Kind::Internal => tracing::error!(%error, source, request_id, "a request failed"),
        Kind::Unavailable | Kind::Deadline => {
            tracing::warn!(%error, source, request_id, "a request could not be served")
        }
        _ => tracing::debug!(%error, request_id, "a request was refused"),
    }
    problem::reply(error, request_id)
}

/// Tells whether a route is for clients that have no good token yet.
fn is_open_door(route: &Route) -> bool {
    route.surface == mallard_rpc::Surface::Auth && route.access == mallard_proto::rest::Access::Public
}

/// Names the caller for the scope of an idempotency key: the user, else the guest's cart. Strangers have no scope: two who
/// choose the same key must not get each other's answer, which may hold the token of a new cart.
fn caller_scope(parts: &Parts, call: &Call) -> Option<String> {
    if !call.caller.user_id.is_empty() {
        return Some(call.caller.user_id.clone());
    }
    let token = parts.headers.get(CART_TOKEN)?;
    Some(format!("cart {}", String::from_utf8_lossy(token.as_bytes())))
}
