//! Public answers given again: the response cache of the edge.
//!
//! A `GET` that needs no sign-in, of a service named in the configuration, is answered from a copy where there is a good
//! one. Naming a service says that such answers of it depend on path, query and language and on nothing else: a copy is
//! loaded as nobody and given to everybody.
//!
//! Three things end a copy, each enough by itself: its age ([`Freshness`], below a second), a change through this edge
//! ([`Copies::written`]), an event of the service ([`Copies::changed`]). How copies age, and what happens while a service
//! does not answer, is in [`mallard_cache::copies`].

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AGE, CACHE_CONTROL, ETAG, VARY, WARNING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use mallard_cache::copies::{Bounds, Freshness, Held, Key, Origin, Weigh};
use mallard_proto::rest::{Access, header::tag};
use mallard_rpc::{Call, Caller};
use mallard_types::{Kind, Result};
use metrics::{Counter, Gauge, counter, gauge};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::work::status;
use crate::concurrency::Place;
use crate::endpoint::{Input, Reply};
use crate::query;
use crate::table::Route;

/// Header that says where an answer comes from: `hit`, `stale`, `miss` or `bypass`.
const X_CACHE: HeaderName = HeaderName::from_static("x-mallard-cache");
/// Header of an old copy served because its service does not answer: its age in seconds.
const X_STALE: HeaderName = HeaderName::from_static("x-mallard-stale");
const HIT: HeaderValue = HeaderValue::from_static("hit");
const STALE: HeaderValue = HeaderValue::from_static("stale");
const MISS: HeaderValue = HeaderValue::from_static("miss");
const BYPASS: HeaderValue = HeaderValue::from_static("bypass");
const NO_AGE: HeaderValue = HeaderValue::from_static("0");
/// A client may keep the answer and has to ask each time whether it is still good.
const ASK_EACH_TIME: HeaderValue = HeaderValue::from_static("public, max-age=0, must-revalidate");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
/// What the language of an answer follows from.
const LANGUAGE_FROM: HeaderValue = HeaderValue::from_static("Authorization, Accept-Language");
const IS_STALE: HeaderValue = HeaderValue::from_static("110 - \"Response is Stale\"");
/// Longer paths and queries are not worth a copy.
const KEY_BYTES_MAX: usize = 2_048;
/// Bytes of the headers of one answer, about.
const HEADER_BYTES: usize = 512;

/// Settings of the copies.
#[derive(Clone, Debug)]
pub struct CopiesConfig {
    /// Services whose public answers depend on path, query and language only. None: no copies.
    pub services: Vec<String>,
    /// How long copies are served.
    pub freshness: Freshness,
    /// Longest load. Not the reader's own patience, which must not end what others wait for.
    pub load_timeout: Duration,
    /// How much is held.
    pub bounds: Bounds,
    /// Larger answers are not kept, in bytes.
    pub answer_bytes_max: usize,
}

impl Default for CopiesConfig {
    fn default() -> Self {
        CopiesConfig {
            services: Vec::new(),
            freshness: Freshness {
                fresh: Duration::from_millis(250),
                stale: Duration::from_millis(350),
                on_error: Duration::from_secs(60),
                wait: Duration::from_secs(1),
                retry_pause: Duration::from_millis(250),
            },
            load_timeout: Duration::from_secs(5),
            bounds: Bounds { entries_max: 16_384, bytes_max: 64 << 20 },
            answer_bytes_max: 256 << 10,
        }
    }
}

/// A kept answer, ready to be given.
struct Copy {
    status: StatusCode,
    /// Those of a hit within the first second.
    headers: HeaderMap,
    body: Bytes,
    kept: bool,
}

impl Weigh for Copy {
    fn bytes(&self) -> Option<usize> {
        self.kept.then(|| self.body.len() + HEADER_BYTES)
    }
}

/// The response cache.
pub struct Copies {
    config: CopiesConfig,
    copies: mallard_cache::copies::Copies<Arc<Copy>>,
    meter: Meter,
}

impl Copies {
    /// Makes an empty cache.
    pub fn new(config: CopiesConfig) -> Copies {
        let areas = config.services.len() * 2;
        let copies = mallard_cache::copies::Copies::new(config.freshness, config.bounds, areas);
        Copies { config, copies, meter: Meter::new() }
    }

    /// Ends the copies of a thing, such as a product, and of all lists of its service, at once.
    pub fn changed(&self, service: &str, thing: &str) {
        if let Some(index) = self.index(service) {
            self.copies.purge_group(thing);
            self.copies.purge_area(lists(index));
        }
    }

    /// Ends all copies of a service at once.
    pub fn all_changed(&self, service: &str) {
        if let Some(index) = self.index(service) {
            self.copies.purge_area(things(index));
            self.copies.purge_area(lists(index));
        }
    }

    /// Counts what is held and what was loaded.
    pub fn held(&self) -> Held {
        self.copies.held()
    }

    /// Tells whether the answers of a route are given again.
    pub(super) fn cover(&self, route: &Route) -> bool {
        route.info.verb == "GET" && route.access == Access::Public && self.index(route.info.service).is_some()
    }

    /// Answers a request of a route that is covered, from a copy or by asking the service. Only asking takes a place, which
    /// `enter` gives: readers of a copy and those who wait for the same answer do no work.
    ///
    /// # Errors
    /// What is wrong with the request; the service's own; `overloaded` when there is neither a copy nor a place.
    pub(super) async fn answer(
        &self,
        route: &Route,
        params: &[String],
        parts: &Parts,
        call: Call,
        enter: &(dyn Fn() -> Result<Place> + Sync),
    ) -> Result<Reply> {
        let (path, query) = (parts.uri.path(), parts.uri.query().unwrap_or_default());
        // What a client sends beside path, query and language must not reach an answer that others get.
        let input = Input { path: params, query, headers: &HeaderMap::new(), body: &[] };
        let CopiesConfig { answer_bytes_max, load_timeout, .. } = self.config;
        let load = || {
            let work = route.endpoint.start(&input)?;
            let call = as_nobody(&call, Instant::now() + load_timeout);
            let place = enter();
            Ok(async move {
                // A full mall is an outage like any other: an older copy may help out.
                let place = place?;
                let reply = mallard_rpc::scope(call, work).await;
                place.answered(status(&reply));
                Ok(Arc::new(Copy::new(reply?, answer_bytes_max)))
            })
        };
        let named = self.index(route.info.service).zip(key(route, path, query, &call));
        let Some((index, text)) = named else {
            self.meter.bypasses.increment(1);
            return Ok(load()?.await?.first(BYPASS));
        };
        let group = params.first().map(String::as_str);
        let area = if group.is_some() { things(index) } else { lists(index) };
        let served = self.copies.get(Key { text: &text, group, area }, load).await?;
        self.meter.count(&served.origin, &self.copies);
        let (copy, seconds) = (served.answer?, served.age.as_secs());
        Ok(match served.origin {
            Origin::Fresh => copy.hit(seconds),
            Origin::Loaded => copy.first(MISS),
            Origin::Stale => {
                let mut reply = copy.hit(seconds);
                reply.headers.insert(X_CACHE, STALE);
                reply
            }
            Origin::OnError(error) => {
                if let Some(error) = error {
                    let (route, request_id) = (route.info.path, call.request_id.as_str());
                    tracing::warn!(%error, route, request_id, "an old copy is served because its service does not answer");
                }
                let mut reply = copy.hit(seconds);
                reply.headers.insert(X_CACHE, STALE);
                reply.headers.insert(X_STALE, HeaderValue::from(seconds));
                reply.headers.insert(WARNING, IS_STALE);
                reply.headers.insert(CACHE_CONTROL, NO_STORE);
                reply
            }
        })
    }

    /// Ends the copies that a change through this edge touched, so that who made it sees it at once.
    pub(super) fn written(&self, route: &Route, params: &[String], outcome: &Result<Reply>) {
        let info = route.info;
        // What anybody may send without signing in changes nothing that others see.
        if info.verb == "GET" || route.access == Access::Public || !may_have_written(outcome) {
            return;
        }
        if params.is_empty() {
            return self.all_changed(info.service);
        }
        params.iter().for_each(|thing| self.changed(info.service, thing));
    }

    fn index(&self, service: &str) -> Option<usize> {
        self.config.services.iter().position(|named| named == service)
    }
}

fn things(index: usize) -> usize {
    index * 2
}

fn lists(index: usize) -> usize {
    index * 2 + 1
}

/// Tells whether a change may have happened: it did, or nobody knows.
fn may_have_written(outcome: &Result<Reply>) -> bool {
    match outcome {
        Ok(reply) => !reply.status.is_client_error(),
        Err(error) => matches!(error.kind, Kind::Internal | Kind::Unavailable | Kind::Deadline),
    }
}

/// Makes the context of a load: the request's, asked by nobody, with a deadline of its own.
fn as_nobody(call: &Call, deadline: Instant) -> Call {
    let caller = Caller { surface: call.caller.surface, language: call.caller.language.clone(), ..Caller::default() };
    Call { caller, origin: None, deadline: Some(deadline), ..call.clone() }
}

/// Names the copy of a request; none when the query is malformed or too long. Parts cannot run into each other: neither a
/// path nor a written query holds a blank.
fn key(route: &Route, path: &str, query: &str, call: &Call) -> Option<String> {
    if path.len() + query.len() > KEY_BYTES_MAX {
        return None;
    }
    let mut key = String::with_capacity(path.len() + query.len() + 48);
    key.push_str(path);
    key.push(' ');
    if !query.is_empty() {
        let mut pairs = query::pairs(query).ok()?;
        // Values of one name keep their order, which may matter.
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        for (name, value) in &pairs {
            write_escaped(&mut key, name);
            key.push('=');
            write_escaped(&mut key, value);
            key.push('&');
        }
    }
    let versions = call.versions.iter().flat_map(|versions| versions.iter());
    let version = versions.into_iter().find(|(service, _)| service == route.info.service);
    key.push(' ');
    key.push_str(version.map_or("", |(_, version)| version));
    key.push(' ');
    key.push_str(&call.caller.language);
    Some(key)
}

fn write_escaped(key: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '%' => key.push_str("%25"),
            '&' => key.push_str("%26"),
            '=' => key.push_str("%3D"),
            ' ' => key.push_str("%20"),
            c => key.push(c),
        }
    }
}

impl Copy {
    fn new(reply: Reply, bytes_max: usize) -> Copy {
        let Reply { status, mut headers, body } = reply;
        let version = headers.get(ETAG).and_then(|value| value.to_str().ok());
        let etag = entity_tag(version, &body);
        headers.insert(ETAG, etag);
        headers.insert(CACHE_CONTROL, ASK_EACH_TIME);
        headers.insert(VARY, LANGUAGE_FROM);
        headers.insert(X_CACHE, HIT);
        headers.insert(AGE, NO_AGE);
        // Here once and not with each answer; a copy of a map has room for what it holds and no more.
        super::harden(&mut headers);
        let kept = status == StatusCode::OK && body.len() <= bytes_max;
        Copy { status, headers, body, kept }
    }

    /// Makes the answer out of a copy of this age.
    fn hit(&self, seconds: u64) -> Reply {
        let mut headers = self.headers.clone();
        if seconds > 0 {
            headers.insert(AGE, HeaderValue::from(seconds));
        }
        Reply { status: self.status, headers, body: self.body.clone() }
    }

    /// Makes the answer out of what was loaded for this request.
    fn first(&self, mark: HeaderValue) -> Reply {
        let mut reply = self.hit(0);
        reply.headers.remove(AGE);
        reply.headers.insert(X_CACHE, mark);
        reply
    }
}

/// Makes a strong tag: the thing's version, where it has one, and a hash of the answer, because an answer also shows what
/// has no part in the version, such as whether a product is in stock. `If-Match` takes the version out of it.
fn entity_tag(version: Option<&str>, body: &[u8]) -> HeaderValue {
    let digest = Sha256::digest(body);
    let mut text = String::with_capacity(40);
    text.push('"');
    if let Some(version) = version {
        text.push_str(tag(version));
        text.push('-');
    }
    for byte in digest.iter().take(8) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text.push('"');
    // A tag that came out of a header, hexadecimal digits and quotes are visible ASCII.
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("\"0\""))
}

struct Meter {
    hits: Counter,
    stale: Counter,
    misses: Counter,
    on_error: Counter,
    bypasses: Counter,
    loads: Counter,
    refreshes: Counter,
    entries: Gauge,
    bytes: Gauge,
}

impl Meter {
    fn new() -> Meter {
        let served = |outcome: &'static str| counter!("mallard_copies_served_total", "outcome" => outcome);
        let loaded = |cause: &'static str| counter!("mallard_copies_loads_total", "cause" => cause);
        Meter {
            hits: served("hit"),
            stale: served("stale"),
            misses: served("miss"),
            on_error: served("on_error"),
            bypasses: served("bypass"),
            loads: loaded("miss"),
            refreshes: loaded("refresh"),
            entries: gauge!("mallard_copies_entries"),
            bytes: gauge!("mallard_copies_bytes"),
        }
    }

    fn count(&self, origin: &Origin, copies: &mallard_cache::copies::Copies<Arc<Copy>>) {
        match origin {
            Origin::Fresh => return self.hits.increment(1),
            Origin::Stale => self.stale.increment(1),
            Origin::Loaded => self.misses.increment(1),
            Origin::OnError(_) => self.on_error.increment(1),
        }
        let held = copies.held();
        self.loads.absolute(held.loads);
        self.refreshes.absolute(held.refreshes);
        self.entries.set(held.entries as f64);
        self.bytes.set(held.bytes as f64);
    }
}
