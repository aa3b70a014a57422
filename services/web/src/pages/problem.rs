//! What went wrong, in words and with the right status; never the error itself.

use askama::Template;
use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS};
use mallard_types::{Error, Kind, Result};

use super::Route;
use crate::answer::{Answer, CookieChange};
use crate::ask::Ask;
use crate::view::Frame;

#[derive(Template)]
#[template(path = "problem.html")]
struct Page {
    f: Frame,
    status: u16,
    text: String,
    /// Address to try again or to go on, empty where it makes no sense.
    again: String,
    /// What its link says.
    again_text: &'static str,
    /// Whoever may not even see his account can still leave it.
    signs_out: bool,
}

/// Makes the page of an error.
pub fn answer(ask: &Ask, error: &Error) -> Answer {
    log(ask, error);
    if error.kind == Kind::Unauthenticated {
        return Answer::to(to_sign_in(ask));
    }
    let t = ask.t;
    let (title, text, can_retry) = match error.kind {
        Kind::NotFound | Kind::Gone => (t.problem_missing, t.problem_missing_text, false),
        Kind::Forbidden if matches!(error.code.as_ref(), "csrf_token_invalid" | "origin_mismatch") => {
            (t.problem_form, t.problem_form_text, false)
        }
        Kind::Forbidden if error.code == "account_banned" => (t.banned, t.problem_forbidden_text, false),
        Kind::Forbidden => (t.problem_forbidden, t.problem_forbidden_text, false),
        Kind::Conflict | Kind::Precondition => (t.problem_conflict, t.problem_conflict_text, false),
        Kind::Invalid | Kind::Refused | Kind::PaymentFailed => (t.problem_refused, t.problem_refused_text, false),
        Kind::TooMany => (t.problem_busy, t.problem_busy_text, true),
        Kind::Unavailable | Kind::Deadline => (t.problem_away, t.problem_away_text, true),
        Kind::Internal | Kind::Unauthenticated => (t.problem_ours, t.problem_ours_text, true),
    };
    let status = match error.kind {
        // The page that was asked for is closed; how long a neighbour took is no matter of the visitor's.
        Kind::Deadline => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Invalid if error.code == "form_too_large" => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Invalid if error.code == "form_too_slow" => StatusCode::REQUEST_TIMEOUT,
        kind => StatusCode::from_u16(kind.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    };
    let is_old_form = matches!(error.code.as_ref(), "csrf_token_invalid" | "origin_mismatch");
    let again = match () {
        () if is_old_form => form_page(ask),
        () if can_retry && ask.form.get("_csrf").is_empty() => ask.link(&ask.here()),
        () => String::new(),
    };
    let again_text = if is_old_form { t.load_again } else { t.try_again };
    let signs_out = error.code == "account_banned" && ask.session.is_some();
    let page = Page { again, again_text, signs_out, ..blank(ask, status, title, text) };
    let mut answer = write(ask, status, &page);
    if can_retry {
        answer.retry_after_s = Some(error.retry_after_ms.map_or(1, |ms| ms.div_ceil(1_000).max(1)));
    }
    answer
}

/// Makes the page of a verb that a path does not take.
pub fn other_verb(ask: &Ask, route: &Route) -> Answer {
    let status = StatusCode::METHOD_NOT_ALLOWED;
    let mut answer = write(ask, status, &blank(ask, status, ask.t.problem_verb, ask.t.problem_verb_text));
    answer.allow = Some(match (route.takes(false), route.takes(true)) {
        (true, true) => "GET, HEAD, POST",
        (false, true) => "POST",
        _ => "GET, HEAD",
    });
    answer
}

/// Says on a page of its own why a form was refused, and where to go on, without asking anybody.
pub fn told(ask: &Ask, status: StatusCode, text: &str, go: (String, &'static str)) -> Answer {
    let (again, again_text) = go;
    let page = Page { again, again_text, ..blank(ask, status, ask.t.problem_conflict, text) };
    write(ask, status, &page)
}

fn blank(ask: &Ask, status: StatusCode, title: &'static str, text: &str) -> Page {
    Page {
        f: Frame::new(ask, title),
        status: status.as_u16(),
        text: text.to_owned(),
        again: String::new(),
        again_text: "",
        signs_out: false,
    }
}

fn write(ask: &Ask, status: StatusCode, page: &Page) -> Answer {
    let answer = Answer::with(status, page).unwrap_or_else(|error| {
        tracing::error!(%error, request_id = ask.request_id, "the page of an error could not be written");
        let mut answer = Answer::to(String::new());
        (answer.status, answer.location) = (status, None);
        answer
    });
    // Who has no session yet needs none to read this.
    answer.cookie(CookieChange::Unneeded)
}

/// Returns the page a form stands on: the one it was sent from, else the one to read at its address.
fn form_page(ask: &Ask) -> String {
    if !ask.from.is_empty() {
        return ask.from.clone();
    }
    match super::find(&ask.path) {
        Some(route) if !route.readable().is_empty() => ask.link(&route.readable()),
        Some(route) if route.takes(false) => ask.link(&ask.here()),
        _ => String::new(),
    }
}

/// Returns the way to sign in and back.
pub fn to_sign_in(ask: &Ask) -> String {
    let back = match super::find(&ask.path).map(|route| route.readable()) {
        Some(readable) if !readable.is_empty() => readable,
        _ => ask.here(),
    };
    let next: String = form_urlencoded::byte_serialize(back.as_bytes()).collect();
    ask.link(&format!("/sign-in?next={next}"))
}

fn log(ask: &Ask, error: &Error) {
    let source = error.source.as_deref().map(tracing::field::display);
    let request_id = ask.request_id.as_str();
    match error.kind {
        Kind::Internal => tracing::error!(%error, source, request_id, "a page failed"),
        Kind::Unavailable | Kind::Deadline => tracing::warn!(%error, source, request_id, "a page could not be made"),
        _ => tracing::debug!(%error, request_id, "a page was refused"),
    }
}

/// Answers when not even the session can be read, so that there is no language and no frame.
pub fn plain() -> Response {
    const PAGE: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>503</title>\
        <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"></head>\
        <body><main id=\"main\"><h1>503</h1><p lang=\"zh\">服务暂时不可用，请稍后再试。</p>\
        <p>The shop is closed for a moment; try again.</p></main></body></html>\n";
    let mut response = Response::new(Body::from(PAGE));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    response.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[derive(Template)]
#[template(
    source = "User-agent: *\nDisallow: /cart\nDisallow: /checkout\nDisallow: /orders\nDisallow: /account\n",
    ext = "txt"
)]
struct Robots;

/// Tells robots what is nobody's but the visitor's.
///
/// # Errors
/// Never; the text is fixed.
pub fn robots() -> Result<Answer> {
    let mut answer = Answer::page(&Robots)?;
    answer.kind = "text/plain; charset=utf-8";
    Ok(answer.cookie(CookieChange::Unneeded))
}
