//! What a page answers, and the headers every answer carries.

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use mallard_gateway_core::edge::REQUEST_ID;
use mallard_types::{Error, Result};

use crate::ask::{Ask, LANGUAGE_COOKIE, SESSION_COOKIE, SESSION_COOKIE_TLS};
use crate::assets::{takes_gzip, zip};
use crate::domain::Secret;

/// Nothing runs, loads, frames or takes our forms but ourselves.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
const PERMISSIONS: HeaderName = HeaderName::from_static("permissions-policy");
const OPENER: HeaderName = HeaderName::from_static("cross-origin-opener-policy");
/// Smallest page that is compressed: those most often asked for are smaller, and cost less to send than to compress.
const COMPRESSED_BYTES_MIN: usize = 16 * 1024;
const LANGUAGE_AGE_S: u32 = 365 * 24 * 60 * 60;

/// What becomes of the session's cookie.
#[derive(Debug, Default)]
pub enum CookieChange {
    /// The visitor keeps the one it has, or gets the one this request made.
    #[default]
    Keep,
    /// The page needs none: who has none gets none.
    Unneeded,
    /// A new session, as after a login.
    New(Secret),
    /// None, as after a logout.
    End,
}

/// What a page answers.
#[derive(Debug)]
pub struct Answer {
    /// Status.
    pub status: StatusCode,
    /// The document; empty for a redirection.
    pub body: Bytes,
    /// Where to go instead.
    pub location: Option<String>,
    /// The session's cookie.
    pub cookie: CookieChange,
    /// Seconds after which to try again.
    pub retry_after_s: Option<u64>,
    /// Verbs the page takes, after another.
    pub allow: Option<&'static str>,
    /// Type of the body.
    pub kind: &'static str,
}

impl Answer {
    /// Answers a document.
    ///
    /// # Errors
    /// `page_unwritable` when the template cannot be written.
    pub fn page(template: &impl Template) -> Result<Answer> {
        Answer::with(StatusCode::OK, template)
    }

    /// Answers a document with another status than 200.
    ///
    /// # Errors
    /// `page_unwritable` when the template cannot be written.
    pub fn with(status: StatusCode, template: &impl Template) -> Result<Answer> {
        let body = template
            .render()
            .map_err(|error| Error::internal("page_unwritable", "the page could not be written").source(error))?;
        Ok(Answer { status, body: body.into(), ..Answer::redirect(None) })
    }

    /// Sends the visitor to another page, to be read.
    pub fn to(location: String) -> Answer {
        Answer::redirect(Some(location))
    }

    fn redirect(location: Option<String>) -> Answer {
        Answer {
            status: StatusCode::SEE_OTHER,
            body: Bytes::new(),
            location,
            cookie: CookieChange::Keep,
            retry_after_s: None,
            allow: None,
            kind: "text/html; charset=utf-8",
        }
    }

    /// Changes the session's cookie.
    pub fn cookie(mut self, cookie: CookieChange) -> Answer {
        self.cookie = cookie;
        self
    }
}

/// Makes the HTTP answer of a page.
pub fn seal(ask: &Ask, answer: Answer, parts: &Parts) -> Response {
    let is_head = parts.method == Method::HEAD;
    let zipped = compressed(&answer.body, parts);
    let is_zipped = zipped.is_some();
    let content = zipped.unwrap_or(answer.body);
    let length = content.len();
    let body = if is_head { Body::empty() } else { Body::from(content) };
    let mut response = Response::new(body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    let mut put = |name: HeaderName, value: &str| {
        // Every value here is ours and plain; what is not is left out rather than sent wrong.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(name, value);
        }
    };
    match &answer.location {
        Some(location) => put(LOCATION, location),
        None => {
            put(CONTENT_TYPE, answer.kind);
            put(CONTENT_LANGUAGE, ask.lang.tag());
            if is_zipped {
                put(CONTENT_ENCODING, "gzip");
            }
            if is_head {
                put(CONTENT_LENGTH, &length.to_string());
            }
        }
    }
    // Every page may show who is signed in.
    put(CACHE_CONTROL, "private, no-store");
    put(VARY, "Cookie, Accept-Language, Accept-Encoding");
    put(CONTENT_SECURITY_POLICY, POLICY);
    put(X_CONTENT_TYPE_OPTIONS, "nosniff");
    put(X_FRAME_OPTIONS, "DENY");
    // Not `no-referrer`: browsers would then hide the origin of our own forms, which is checked.
    put(REFERRER_POLICY, "same-origin");
    put(PERMISSIONS, "camera=(), geolocation=(), microphone=(), payment=(), usb=()");
    put(OPENER, "same-origin");
    put(REQUEST_ID, &ask.request_id);
    if ask.tls && ask.site.clients.hsts_max_age_s > 0 {
        put(STRICT_TRANSPORT_SECURITY, &format!("max-age={}", ask.site.clients.hsts_max_age_s));
    }
    if let Some(seconds) = answer.retry_after_s {
        put(RETRY_AFTER, &seconds.to_string());
    }
    if let Some(allow) = answer.allow {
        put(ALLOW, allow);
    }
    if let Some(cookie) = session_cookie(ask, &answer.cookie) {
        put(SET_COOKIE, &cookie);
    }
    if let Some(lang) = ask.forced.filter(|lang| ask.language_cookie != Some(*lang)) {
        let secure = if ask.tls { "; Secure" } else { "" };
        put(
            SET_COOKIE,
            &format!(
                "{LANGUAGE_COOKIE}={}; Path=/; Max-Age={LANGUAGE_AGE_S}; SameSite=Lax; HttpOnly{secure}",
                lang.tag()
            ),
        );
    }
    response
}

/// Compresses a large page for who takes that. Never one that answers a query or a form: it may repeat what was sent, beside
/// the token of its forms, and who can make a browser send guesses would read the token from the sizes of the answers (BREACH).
fn compressed(body: &[u8], parts: &Parts) -> Option<Bytes> {
    let is_read = parts.method == Method::GET || parts.method == Method::HEAD;
    let repeats_nothing = is_read && parts.uri.query().is_none_or(str::is_empty);
    if body.len() < COMPRESSED_BYTES_MIN || !repeats_nothing || !takes_gzip(&parts.headers) {
        return None;
    }
    // Pages say the same words again and again: the least effort makes them a tenth.
    Some(zip(body, Compression::fast())).filter(|zipped| !zipped.is_empty())
}

fn session_cookie(ask: &Ask, change: &CookieChange) -> Option<String> {
    let life_s = ask.site.sessions.cookie_age_s();
    let (value, age_s) = match change {
        CookieChange::Keep if ask.is_new || was_renewed(ask) => (ask.secret.cookie(), life_s),
        CookieChange::Keep | CookieChange::Unneeded => return None,
        CookieChange::New(secret) => (secret.cookie(), life_s),
        CookieChange::End => (String::new(), 0),
    };
    let (name, secure) = if ask.tls { (SESSION_COOKIE_TLS, "; Secure") } else { (SESSION_COOKIE, "") };
    Some(format!("{name}={value}; Path=/; Max-Age={age_s}; SameSite=Lax; HttpOnly{secure}"))
}

/// Tells whether the account's tokens were renewed on the way: then the session lives on, and its cookie with it.
fn was_renewed(ask: &Ask) -> bool {
    let Some(session) = ask.session.as_ref().filter(|_| !ask.refresh_before.is_empty()) else { return false };
    let stored = session.stored();
    !stored.kept.refresh().is_empty() && stored.kept.refresh() != ask.refresh_before
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn sent(method: &str, path: &str, encodings: &str, body: &[u8]) -> Option<Bytes> {
        let request = http::Request::builder().method(method).uri(path).header("accept-encoding", encodings);
        compressed(body, &request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_large_page_is_compressed_for_who_takes_it_and_none_that_may_repeat_what_was_sent() {
        let page = "<li class=\"line\"><input name=\"_csrf\"></li>".repeat(2_000);
        let zipped = sent("GET", "/cart", "gzip, br", page.as_bytes()).expect("a compressed page");
        assert!(zipped.len() < page.len() / 8, "{} of {} bytes", zipped.len(), page.len());
        let mut read = String::new();
        flate2::read::GzDecoder::new(&zipped[..]).read_to_string(&mut read).unwrap();
        assert_eq!(read, page);
        assert_eq!(sent("HEAD", "/cart", "gzip", page.as_bytes()), Some(zipped));
        for (method, path, encodings) in [
            ("GET", "/cart", "br"),
            ("GET", "/cart", "gzip;q=0"),
            ("GET", "/search?q=_csrf", "gzip"),
            ("POST", "/cart/set", "gzip"),
        ] {
            assert_eq!(sent(method, path, encodings, page.as_bytes()), None, "{method} {path} {encodings}");
        }
        assert_eq!(sent("GET", "/", "gzip", &page.as_bytes()[..COMPRESSED_BYTES_MIN - 1]), None);
    }
}
