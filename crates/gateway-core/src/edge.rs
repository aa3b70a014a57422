//! The way of a request through the edge.

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::body::Body;
use futures_util::FutureExt;
use http::request::Parts;
use http::{HeaderMap, HeaderName, Request, Response, StatusCode};
use mallard_proto::rest::RouteInfo;
use mallard_rpc::{Call, Surface, Trace};
use mallard_types::{Error, Kind, Micros, Result};
use tokio::time::{Instant, timeout_at};

use crate::auth::{self, Authenticate};
use crate::concurrency::{Door, Knock, OVERLOADED};
use crate::endpoint::Reply;
use crate::friction::{Asked, Friction};
use crate::limits::{Asking, Limits, Ticks};
use crate::once::{IdempotencyStore, Once};
use crate::protection::Protection;
use crate::table::{Found, Route, Table};
use crate::{body, canary, crowd, origin, policy, problem, table};

mod config;
mod copies;
mod guard;
mod respond;
mod visit;
mod work;

pub use config::EdgeConfig;
pub use copies::{Copies, CopiesConfig};
pub use guard::{Answering, Quota, Stands};
pub use respond::{REQUEST_ID, harden, request_id};
use visit::Visit;

/// Header in which a client says how long it will wait, in milliseconds.
const DEADLINE_MS: HeaderName = HeaderName::from_static("x-mallard-deadline-ms");
/// After this the crowd is shuffled: nobody is the first to be shed for ever.
const SHUFFLE_EVERY: Micros = 60 * 60 * 1_000_000;

/// Where ids, traces and the time come from.
pub struct Source {
    /// Makes an id with this prefix.
    pub id: Box<dyn Fn(&'static str) -> String + Send + Sync>,
    /// Makes a new trace.
    pub trace: Box<dyn Fn() -> Trace + Send + Sync>,
    /// Tells the time in microseconds since the epoch.
    pub now: Box<dyn Fn() -> Micros + Send + Sync>,
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
    limits: Limits,
    friction: Friction,
    door: Arc<Door>,
    /// Number of the first lane of pages: they are measured apart from their routes.
    page_lanes: usize,
    config: EdgeConfig,
}

impl Edge {
    /// Makes the edge over its routes.
    ///
    /// # Errors
    /// Text naming two routes that cannot be told apart, or a rule of the configuration that cannot work.
    pub fn new(
        mut routes: Vec<Route>,
        authenticate: Arc<dyn Authenticate>,
        store: Arc<dyn IdempotencyStore>,
        hook: Option<Arc<dyn Hook>>,
        source: Source,
        config: EdgeConfig,
    ) -> Result<Arc<Edge>, String> {
        let limits = Limits::new(config.limits.clone(), Ticks::tokio())?;
        limits.find(&routes)?;
        let (services, lanes) = policy::find(&mut routes, &config, &limits)?;
        Ok(Arc::new(Edge {
            table: Table::new(routes)?,
            authenticate,
            once: Arc::new(Once::new(store)),
            hook,
            source,
            copies: Copies::new(config.copies.clone()),
            limits,
            friction: Friction::new(config.friction.clone()),
            door: Door::new(config.concurrency.clone(), services, 2 * lanes),
            page_lanes: lanes,
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

    /// Shows what the edge lets in and what it turns away.
    pub fn protection(&self) -> Protection {
        Protection {
            rate_limits: self.limits.protection(),
            tiers: self.door.protection(),
            in_flight: self.door.in_flight() as u64,
            limit: self.door.limit() as u64,
        }
    }

    /// Tells whether a client may come to a door, for paths beside the routes.
    ///
    /// # Errors
    /// `address_denied`.
    pub fn check_address(&self, parts: &Parts, surface: Surface) -> Result<()> {
        self.config.addresses.check(surface, self.config.proxies.client(parts).address)
    }

    /// Answers a request.
    pub async fn handle(self: Arc<Self>, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let mut visit = self.visit(&parts);
        let (route, answer) = match self.screen(&parts, table::surface(parts.uri.path()), &mut visit) {
            Err(error) => (None, Err(error)),
            Ok(()) => match self.table.find(&parts.method, parts.uri.path()) {
                Found::Route(route, params) => {
                    (Some(route), self.in_time(route, &params, &parts, body, &mut visit).await)
                }
                Found::OtherVerbs(allow) => (None, self.other_verb(&parts, allow)),
                Found::Nothing => (None, Err(Error::not_found("route_not_found", "there is no such route"))),
            },
        };
        let refused = answer.as_ref().err().map(|error| error.code.clone());
        let reply = answer.unwrap_or_else(|error| match visit.turned_away {
            // There may be thousands a second; they have metrics.
            true => problem::reply(&error, &visit.request_id),
            false => refuse(&error, &visit.request_id),
        });
        let mut response = respond::response(&parts, reply, &visit.request_id);
        visit.write(&self.config, response.headers_mut());
        self.config.cors.open(&parts.headers, response.headers_mut());
        self.report(&parts, route, response.status(), refused, &visit);
        response
    }

    /// Begins the way of a request.
    fn visit(&self, parts: &Parts) -> Visit {
        let request_id = respond::request_id(&parts.headers).unwrap_or_else(|| (self.source.id)("req"));
        let trace = respond::trace(&parts.headers).unwrap_or_else(|| (self.source.trace)());
        Visit::new(self.config.proxies.client(parts), request_id, trace)
    }

    /// Looks at what a request brings before anything is done for it.
    fn screen(&self, parts: &Parts, surface: Surface, visit: &mut Visit) -> Result<()> {
        let bytes: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if parts.headers.len() > self.config.headers_max || bytes > self.config.header_bytes_max {
            let (count, bytes) = (self.config.headers_max, self.config.header_bytes_max);
            let message = format!("a request may have at most {count} headers of together {bytes} bytes");
            return Err(visit.turn_away(Error::invalid("headers_too_large", message)));
        }
        self.config.addresses.check(surface, visit.client.address).map_err(|error| visit.turn_away(error))
    }

    /// Answers a verb that the path does not have: a preflight for the verbs it has, else a refusal.
    fn other_verb(&self, parts: &Parts, allow: &str) -> Result<Reply> {
        if let Some(headers) = self.config.cors.preflight(parts, allow) {
            return Ok(Reply { status: StatusCode::NO_CONTENT, headers, body: Default::default() });
        }
        let message = format!("{} is not possible here, only {allow}", parts.method);
        Err(Error::invalid("method_not_allowed", message).details(serde_json::json!({ "allow": allow })))
    }

    /// Answers on a route before its deadline.
    async fn in_time(
        &self,
        route: &Route,
        params: &[String],
        parts: &Parts,
        body: Body,
        visit: &mut Visit,
    ) -> Result<Reply> {
        let asked = patience(&parts.headers)?.unwrap_or(Duration::MAX);
        let deadline = visit.started + route.policy.timeout.min(asked);
        let call = Call {
            trace: visit.trace,
            deadline: Some(deadline),
            request_id: visit.request_id.clone(),
            origin: Some(origin::origin(visit.client, &parts.headers)),
            ..Call::default()
        };
        let work = AssertUnwindSafe(self.answer(route, params, parts, body, call, deadline, visit)).catch_unwind();
        match timeout_at(deadline, work).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(Error::internal("panic", "the edge panicked")),
            // No service was asked yet, so none was late.
            Err(_) if visit.awaits_body => Err(body::too_slow()),
            Err(_) => Err(Error::deadline("deadline_exceeded", "no answer came in time")),
        }
    }

    /// Takes the steps of a request, the cheap ones first: who is turned away must cost little.
    async fn answer(
        &self,
        route: &Route,
        params: &[String],
        parts: &Parts,
        body: Body,
        mut call: Call,
        deadline: Instant,
        visit: &mut Visit,
    ) -> Result<Reply> {
        let policy = &route.policy;
        let address = visit.client.address;
        let asking = Asking { address, caller: None, headers: &parts.headers, rpc: route.info.rpc };
        // First, because a client that asks too often must not take a place from the others.
        self.limits.check(&policy.limits, asking, &mut visit.standing).map_err(|error| visit.turn_away(error))?;

        // Before the door: who has not worked for it gets no place. Spent only later, so that a proof is not lost at the door.
        let shown = crowd::presented(&parts.headers, address);
        let asked = || Asked { rpc: route.info.rpc, who: &shown, now: (self.source.now)() };
        let salt = || (self.source.id)("chl");
        let proven = match policy.friction {
            true => Some(self.friction.verify(&parts.headers, asked(), salt).map_err(|error| visit.turn_away(error))?),
            false => None,
        };

        // Before the token is checked and the body read: when the mall is full, even those cost too much.
        let hour = || (self.source.now)() / SHUFFLE_EVERY;
        let crowd = || crowd::place(&format!("hour {}", hour()), &shown);
        let knock = Knock { rank: policy.rank, service: policy.service, lane: policy.lane, deadline, crowd: &crowd };
        // What may be in memory takes no place before it is known that it is not.
        let place = match self.copies.cover(route) {
            true => None,
            false => Some(self.door.enter(&knock).await.map_err(|shed| visit.turn_away(shed.into()))?),
        };

        self.authenticate(route, parts, &mut call).await?;

        // Now it is known who asks.
        let asking = Asking { caller: Some(&call.caller), ..asking };
        self.limits.check(&policy.limits, asking, &mut visit.standing).map_err(|error| visit.turn_away(error))?;
        if let Some(proven) = proven {
            self.friction.spend(proven, asked(), salt).map_err(|error| visit.turn_away(error))?;
        }
        if !self.config.canaries.is_empty() {
            let who = crowd::known(&call.caller, &parts.headers, address);
            call.versions = canary::choose(&self.config.canaries, &parts.headers, &who);
            visit.canary = call.versions.as_deref().and_then(|versions| canary::named(versions));
        }

        let Some(place) = place else {
            let enter = || self.door.try_enter(&knock).map_err(Error::from);
            let answer = self.copies.answer(route, params, parts, call, &enter).await;
            return answer.map_err(|error| if error.code == OVERLOADED { visit.turn_away(error) } else { error });
        };
        let reply = self.carry_out(route, params, parts, body, call, place, &knock, visit).await;
        self.copies.written(route, params, &reply);
        // Its body came late, and the mall was full by then.
        reply.map_err(|error| if error.code == OVERLOADED { visit.turn_away(error) } else { error })
    }

    /// Finds out who asks and whether the route lets them.
    async fn authenticate(&self, route: &Route, parts: &Parts, call: &mut Call) -> Result<()> {
        let known = self.authenticate.authenticate(&parts.headers).await;
        let language = auth::language(&parts.headers);
        call.caller = auth::admit(&*self.authenticate, route.info, parts.uri.path(), known, language)?;
        Ok(())
    }

    /// Counts and logs an answer. Who was turned away was not served, and is counted where that was decided.
    fn report(&self, parts: &Parts, route: Option<&Route>, status: StatusCode, refused: Option<Code>, visit: &Visit) {
        let elapsed = visit.started.elapsed();
        let template = route.map_or("unmatched", |route| route.info.path);
        let (verb, duration_us) = (parts.method.as_str(), elapsed.as_micros() as u64);
        let request_id = visit.request_id.as_str();
        let trace_id = format_args!("{:032x}", visit.trace.trace_id);
        if visit.turned_away {
            let status = status.as_u16();
            tracing::debug!(verb, route = template, status, duration_us, request_id, trace_id, "request turned away");
            return;
        }
        self.note(visit, elapsed, status, refused, || format!("{verb} {template}"));
        let status = status.as_u16();
        match route {
            Some(route) => route.meter.count(status, elapsed),
            None => {
                metrics::counter!("mallard_http_requests_total", "route" => template, "status" => status.to_string())
                    .increment(1)
            }
        }
        tracing::info!(verb, route = template, status, duration_us, request_id, trace_id, "request answered");
    }

    /// Remembers a request if it was slow.
    fn note(
        &self,
        visit: &Visit,
        took: Duration,
        status: StatusCode,
        refused: Option<Code>,
        name: impl FnOnce() -> String,
    ) {
        let describe = || {
            let outcome = match refused {
                Some(code) => code,
                // An answer that was kept under a key, or a page's.
                None if status.is_client_error() || status.is_server_error() => status.as_u16().to_string().into(),
                None => mallard_rpc::OK.into(),
            };
            (name(), outcome)
        };
        self.config.slow_calls.note(visit.trace.trace_id, visit.started, took, describe);
    }
}

/// Code of a refusal.
type Code = Cow<'static, str>;

/// Returns how long a client will wait.
///
/// # Errors
/// `invalid_field` when the header is no number of milliseconds.
fn patience(headers: &HeaderMap) -> Result<Option<Duration>> {
    let Some(value) = headers.get(DEADLINE_MS) else { return Ok(None) };
    match value.to_str().unwrap_or_default().parse() {
        Ok(ms) if ms > 0 => Ok(Some(Duration::from_millis(ms))),
        _ => Err(Error::invalid("invalid_field", "X-Mallard-Deadline-Ms must be a whole number of milliseconds")
            .param("X-Mallard-Deadline-Ms")),
    }
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
