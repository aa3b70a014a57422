//! Pages for people behind the edge's protection. A page declares the route of the API it stands for, and is limited, shed and
//! timed like it; who is turned away gets a small page instead of JSON.
//!
//! Of a page the edge knows the client's address, not the user: the cookie of the session is the pages' own. So limits by
//! address, network, API key and route are checked here, and those by user and session where a page finds out who asks, with
//! the [`Quota`] that its request carries. No work is asked of browsers ([`crate::friction`]), and none of them is sent to a
//! version on trial ([`crate::canary`]). Access is decided by the pages, at the same door as the API's.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::body::Body;
use futures_util::future::BoxFuture;
use http::header::ACCEPT;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use mallard_rpc::{Caller, Surface};
use mallard_types::{Error, Result};
use tokio::time::Instant;

use super::visit::Visit;
use super::{Edge, REQUEST_ID, SHUFFLE_EVERY, refuse, respond};
use crate::concurrency::{Knock, Place};
use crate::limits::Asking;
use crate::table::{Found, Route};
use crate::{body, crowd, problem};

/// Characters of a path that are kept of a page that was slow.
const PATH_CHARS_MAX: usize = 200;
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What a request beside the API stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stands {
    /// A file, the same for everybody: only the client's network counts.
    File,
    /// A route of the API, by its verb and path template.
    Route {
        /// Verb.
        verb: &'static str,
        /// Path template.
        path: &'static str,
        /// Whoever answers reads the body piece by piece; otherwise it is read here, and takes nobody's place meanwhile.
        streams: bool,
    },
}

/// The limits by user and session that the request of a page is under, for whoever finds out who asks.
#[derive(Clone)]
pub struct Quota {
    edge: Arc<Edge>,
    verb: &'static str,
    path: &'static str,
    address: Option<IpAddr>,
    /// The outcome of the first question.
    refused: Arc<OnceLock<Option<Error>>>,
}

impl Quota {
    /// Counts the request for who asks: once, however often a page wants to know, and with one outcome.
    ///
    /// # Errors
    /// `rate_limited`.
    pub fn take(&self, caller: &Caller) -> Result<()> {
        let count = || {
            let route = self.edge.stand(self.verb, self.path)?;
            let (headers, address) = (HeaderMap::new(), self.address);
            let asking = Asking { address, caller: Some(caller), headers: &headers, rpc: route.info.rpc };
            self.edge.limits.check(&route.policy.limits, asking, &mut None)
        };
        self.refused.get_or_init(|| count().err()).clone().map_or(Ok(()), Err)
    }
}

/// Answers a request that was let in.
pub type Answering = Box<dyn FnOnce(Request<Body>) -> BoxFuture<'static, Response<Body>> + Send>;

/// A request that was let in, and what must be told of its answer.
struct Admitted {
    place: Place,
    deadline: Instant,
}

impl Edge {
    /// Lets the request of a page in and has it answered, or refuses it. What is let in carries the [`crate::origin::Client`]
    /// and the [`Quota`] in its extensions, and request id and trace in its headers.
    pub async fn guard(self: Arc<Self>, request: Request<Body>, stands: Stands, answer: Answering) -> Response<Body> {
        let (mut parts, body) = request.into_parts();
        let mut visit = self.visit(&parts);
        parts.extensions.insert(visit.client);
        carry(&mut parts, &visit);
        if let Stands::Route { verb, path, .. } = stands {
            let (edge, address) = (Arc::clone(&self), visit.client.address);
            parts.extensions.insert(Quota { edge, verb, path, address, refused: Arc::default() });
        }
        let (verb, uri, is_browser) = (parts.method.clone(), parts.uri.clone(), accepts_pages(&parts));
        let let_in = match stands {
            Stands::File => self.screen(&parts, Surface::Store, &mut visit).map(|()| (body, None)),
            Stands::Route { verb, path, streams } => match self.stand(verb, path) {
                Ok(route) => self.admit(route, &parts, body, streams, &mut visit).await,
                Err(error) => Err(error),
            },
        };
        let mut response = match let_in {
            Ok((body, admitted)) => finish(answer(Request::from_parts(parts, body)), &verb, admitted).await,
            Err(error) => refusal(&error, is_browser, &visit),
        };
        if !visit.turned_away {
            let path = || uri.path().chars().take(PATH_CHARS_MAX).collect::<String>();
            self.note(&visit, visit.started.elapsed(), response.status(), None, || format!("{verb} {}", path()));
        }
        let headers = response.headers_mut();
        visit.write(&self.config, headers);
        if let Ok(id) = HeaderValue::from_str(&visit.request_id) {
            headers.entry(REQUEST_ID).or_insert(id);
        }
        response
    }

    fn stand(&self, verb: &str, path: &str) -> Result<&Route> {
        let method = Method::from_bytes(verb.as_bytes()).unwrap_or_default();
        match self.table.find(&method, path) {
            Found::Route(route, _) => Ok(route),
            Found::OtherVerbs(_) | Found::Nothing => {
                let message = format!("a page stands for {verb} {path}, which is no route of the API");
                Err(Error::internal("page_stands_for_nothing", message))
            }
        }
    }

    /// Takes the steps of a request of the API that go before the question who asks.
    async fn admit(
        &self,
        route: &Route,
        parts: &Parts,
        body: Body,
        streams: bool,
        visit: &mut Visit,
    ) -> Result<(Body, Option<Admitted>)> {
        self.screen(parts, route.surface, visit)?;
        let (policy, address) = (&route.policy, visit.client.address);
        let asking = Asking { address, caller: None, headers: &parts.headers, rpc: route.info.rpc };
        self.limits.check(&policy.limits, asking, &mut visit.standing).map_err(|error| visit.turn_away(error))?;

        let shown = crowd::presented(&parts.headers, address);
        let hour = || (self.source.now)() / SHUFFLE_EVERY;
        let crowd = || crowd::place(&format!("hour {}", hour()), &shown);
        // Lanes of their own: a page takes several calls, so its usual time is another than its route's.
        let lane = policy.lane.map(|lane| lane + self.page_lanes);
        let deadline = visit.started + policy.timeout;
        let knock = Knock { rank: policy.rank, service: policy.service, lane, deadline, crowd: &crowd };
        let mut place = self.door.enter(&knock).await.map_err(|shed| visit.turn_away(shed.into()))?;
        if streams {
            return Ok((body, Some(Admitted { place, deadline })));
        }
        let read = body::take(&parts.headers, body, policy.body_bytes_max, &self.config.patience);
        let body = place.aside(&knock, read).await.map_err(|shed| visit.turn_away(shed.into()))??;
        Ok((Body::from(body), Some(Admitted { place, deadline })))
    }
}

/// Waits for an answer and tells the door how long it took. What a form has begun is finished, and keeps its place until then,
/// also when the browser goes away.
async fn finish(
    answer: BoxFuture<'static, Response<Body>>,
    verb: &Method,
    admitted: Option<Admitted>,
) -> Response<Body> {
    let work = async move {
        let response = answer.await;
        if let Some(Admitted { place, deadline }) = admitted {
            // A page says that a service took too long with another status than the API; the door must know it all the same.
            let is_late = Instant::now() >= deadline;
            place.answered(if is_late { StatusCode::GATEWAY_TIMEOUT } else { response.status() });
        }
        response
    };
    if matches!(*verb, Method::GET | Method::HEAD) {
        return work.await;
    }
    match tokio::spawn(work).await {
        Ok(response) => response,
        Err(error) => {
            let error = Error::internal("task_failed", "the page's task ended").source(error);
            respond::plain(problem::page(&error))
        }
    }
}

/// Has request id and trace travel with the request, so that the page's calls and logs can be found by them.
fn carry(parts: &mut Parts, visit: &Visit) {
    for (name, text) in [(REQUEST_ID, visit.request_id.clone()), (TRACEPARENT, visit.trace.traceparent())] {
        if let Ok(value) = HeaderValue::try_from(text) {
            parts.headers.insert(name, value);
        }
    }
}

fn accepts_pages(parts: &Parts) -> bool {
    let lists = parts.headers.get_all(ACCEPT).iter();
    lists.filter_map(|value| value.to_str().ok()).any(|list| list.contains("text/html"))
}

fn refusal(error: &Error, is_browser: bool, visit: &Visit) -> Response<Body> {
    let reply = match visit.turned_away {
        // There may be thousands a second; they have metrics.
        true => problem::reply(error, &visit.request_id),
        false => refuse(error, &visit.request_id),
    };
    respond::plain(if is_browser { problem::page(error) } else { reply })
}
