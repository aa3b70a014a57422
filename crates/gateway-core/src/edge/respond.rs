//! What every answer gets: request id, entity tag rules, headers that keep browsers out of trouble.

use axum::body::Body;
use http::header::{
    CACHE_CONTROL, ETAG, IF_NONE_MATCH, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use mallard_rpc::Trace;

use crate::endpoint::Reply;

/// Header of the request id, in and out.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");
const OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Most characters of a request id that a client may choose.
const REQUEST_ID_CHARS_MAX: usize = 128;

/// Returns the request id a client chose, when it has the shape of one.
pub fn request_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(REQUEST_ID)?.to_str().ok()?;
    let shaped = (1..=REQUEST_ID_CHARS_MAX).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':' | b'/' | b'+' | b'='));
    shaped.then(|| text.to_owned())
}

/// Returns the trace a client started.
pub(super) fn trace(headers: &HeaderMap) -> Option<Trace> {
    Trace::parse(headers.get("traceparent")?.to_str().ok()?)
}

/// Makes the HTTP answer.
pub(super) fn response(parts: &Parts, mut reply: Reply, request_id: &str) -> Response<Body> {
    if is_unchanged(parts, &reply) {
        reply.status = StatusCode::NOT_MODIFIED;
        reply.headers.remove(http::header::CONTENT_TYPE);
        reply.body.clear();
    }
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    let headers = response.headers_mut();
    harden(headers);
    // With a version the client may keep its copy and ask whether it is still good.
    let keep = if headers.contains_key(ETAG) { "private, no-cache" } else { "no-store" };
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static(keep));
    headers.entry(VARY).or_insert(HeaderValue::from_static("Authorization, Accept-Language, X-Cart-Token"));
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

/// Makes the HTTP answer of a refusal beside the API.
pub(super) fn plain(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = reply.status;
    *response.headers_mut() = reply.headers;
    let headers = response.headers_mut();
    harden(headers);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Adds the headers that keep a browser from guessing types, sending referrers, framing and sharing with other origins.
pub fn harden(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    headers
        .entry(http::header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"));
}

/// Tells whether the client's copy is still good (RFC 9110, 13.1.2: weak comparison).
fn is_unchanged(parts: &Parts, reply: &Reply) -> bool {
    if !matches!(parts.method, Method::GET | Method::HEAD) || reply.status != StatusCode::OK {
        return false;
    }
    let Some(current) = reply.headers.get(ETAG).and_then(|value| value.to_str().ok()) else { return false };
    parts
        .headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|list| list.split(',').map(str::trim).any(|one| one == "*" || weak(one) == weak(current)))
}

/// Takes the weak mark off an entity tag; its quotes are part of it.
fn weak(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}
