//! Pages of other origins that may call the API from a browser (WHATWG Fetch, "CORS protocol").

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// Who may call.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    /// Origins such as `https://shop.example`; `*` means every one. None: other origins may not call.
    pub origins: Vec<String>,
    /// Cookies and client certificates may be sent along; not with `*`.
    pub credentials: bool,
    /// How long a browser may remember a preflight, in seconds.
    pub max_age_s: u32,
}

/// Request headers that the API knows.
const ALLOWED: HeaderValue = HeaderValue::from_static(
    "Accept-Language, Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, Traceparent, X-Api-Key, \
     X-Cart-Token, X-Mallard-Canary, X-Mallard-Deadline-Ms, X-Mallard-Proof, X-Request-Id",
);
/// Answer headers that a page may read.
const EXPOSED: HeaderValue = HeaderValue::from_static(
    "Age, ETag, Idempotent-Replayed, RateLimit-Limit, RateLimit-Policy, RateLimit-Remaining, RateLimit-Reset, Retry-After, \
     Warning, X-Cart-Token, X-Mallard-Cache, X-Mallard-Canary, X-Mallard-Shed, X-Mallard-Stale, X-Request-Id",
);
const RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

impl Cors {
    /// Returns what the answer's `Access-Control-Allow-Origin` says; none when the origin may not call.
    fn allow(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        if self.origins.iter().any(|one| one.as_bytes() == origin.as_bytes()) {
            return Some(origin.clone());
        }
        self.origins.iter().any(|one| one == "*").then_some(HeaderValue::from_static("*"))
    }

    /// Answers a preflight for a path with these verbs; none when the request is no preflight of an origin that may call.
    pub fn preflight(&self, parts: &Parts, verbs: &str) -> Option<HeaderMap> {
        if parts.method != Method::OPTIONS || !parts.headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut headers = HeaderMap::new();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.allow(&parts.headers)?);
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_str(verbs).ok()?);
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED);
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(self.max_age_s));
        headers.insert(
            VARY,
            HeaderValue::from_static("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
        );
        self.with_credentials(&mut headers);
        Some(headers)
    }

    /// Lets a page of another origin read an answer.
    pub fn open(&self, request: &HeaderMap, answer: &mut HeaderMap) {
        if self.origins.is_empty() {
            return;
        }
        // Also where nobody asked for it: a shared cache must not give the answer for one origin to another.
        answer.append(VARY, HeaderValue::from_static("Origin"));
        let Some(allowed) = self.allow(request) else { return };
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
        answer.insert(RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        self.with_credentials(answer);
    }

    fn with_credentials(&self, headers: &mut HeaderMap) {
        // Browsers refuse the two together, and rightly: every page there is could act as the user.
        let any = headers.get(ACCESS_CONTROL_ALLOW_ORIGIN).is_some_and(|origin| origin == "*");
        if self.credentials && !any {
            headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
    }
}
