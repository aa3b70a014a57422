//! Every refusal in the one form of the API: `{"error": {type, code, message, param?, details?, request_id}}`.

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use mallard_types::{Error, Kind};
use serde::Serialize;

use crate::endpoint::Reply;

/// Value of `Content-Type` for JSON.
pub const JSON: HeaderValue = HeaderValue::from_static("application/json");

#[derive(Serialize)]
struct Problem<'a> {
    error: Inner<'a>,
}

#[derive(Serialize)]
struct Inner<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<&'a serde_json::Value>,
    request_id: &'a str,
}

/// Returns the HTTP status of an error: its kind's, but for the few that HTTP has a word of its own for.
pub fn status(error: &Error) -> StatusCode {
    let number = match error.code.as_ref() {
        "body_too_large" => 413,
        "body_too_slow" => 408,
        "headers_too_large" => 431,
        "unsupported_media_type" => 415,
        "method_not_allowed" => 405,
        _ => error.kind.http_status(),
    };
    StatusCode::from_u16(number).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Writes an error as the answer to a request. What went wrong inside stays inside.
pub fn reply(error: &Error, request_id: &str) -> Reply {
    let internal = error.kind == Kind::Internal;
    let problem = Problem {
        error: Inner {
            kind: error.kind.as_str(),
            code: if internal { "internal" } else { &error.code },
            message: if internal {
                "something went wrong on our side; the request id helps us find it"
            } else {
                &error.message
            },
            param: error.param.as_deref().filter(|_| !internal),
            details: error.details.as_deref().filter(|_| !internal),
            request_id,
        },
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, JSON);
    if let Some(seconds) = retry_after(error) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if error.kind == Kind::Unauthenticated {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let allow = error.details.as_deref().and_then(|details| details["allow"].as_str());
    if let (405, Some(Ok(allow))) = (status(error).as_u16(), allow.map(HeaderValue::from_str)) {
        headers.insert(ALLOW, allow);
    }
    // Text, numbers and JSON values always have a JSON form.
    let body = serde_json::to_vec(&problem).unwrap_or_default().into();
    Reply { status: status(error), headers, body }
}

/// Writes an error as a small page, in both languages of the mall, for browsers. It tells what to do, not what went wrong.
pub fn page(error: &Error) -> Reply {
    let status = status(error);
    let (chinese, english) = match status.as_u16() {
        403 => ("您所在的网络无法访问此页面。", "Requests from your network are not accepted here."),
        408 => ("提交的内容未能及时送达，请重试。", "What you sent did not arrive in time. Please try again."),
        413 => ("提交的内容过大。", "What you sent is too large."),
        429 => ("您的操作过于频繁，请稍候再试。", "You are asking too often. Please wait a moment and try again."),
        431 => (
            "请求头过大，请清除本站的 Cookie 后重试。",
            "The request's headers are too large. Please clear this site's cookies and try again.",
        ),
        503 => ("商城现在访问人数较多，请稍候再试。", "The shop is very busy. Please wait a moment and try again."),
        _ => ("出现了问题，请稍后再试。", "Something went wrong. Please try again later."),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let mut wait = String::new();
    if let Some(seconds) = retry_after(error) {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        wait = format!("<p lang=\"zh\">请在 {seconds} 秒后重试。</p><p>Try again in {seconds} s.</p>");
    }
    let status_code = status.as_u16();
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{status_code}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><meta name=\"color-scheme\" content=\"light dark\"></head>\
         <body><main id=\"main\"><h1>{status_code}</h1><p lang=\"zh\">{chinese}</p><p>{english}</p>{wait}</main></body></html>\n"
    );
    Reply { status, headers, body: body.into() }
}

/// Returns whole seconds to wait, rounded up; at least one for 429 and 503.
fn retry_after(error: &Error) -> Option<u64> {
    let asked = error.retry_after_ms.map(|ms| ms.div_ceil(1_000));
    match error.kind {
        Kind::TooMany | Kind::Unavailable => Some(asked.unwrap_or(1).max(1)),
        _ => asked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mallard_types::error::KINDS;
    use serde_json::json;

    fn body(error: &Error) -> serde_json::Value {
        serde_json::from_slice(&reply(error, "req_1").body).unwrap()
    }

    #[test]
    fn an_error_has_the_form_of_the_api() {
        let error = Error::conflict("out_of_stock", "only 2 are left")
            .param("items[0].quantity")
            .details(json!({"available": 2}));
        assert_eq!(
            body(&error),
            json!({"error": {"type": "conflict", "code": "out_of_stock", "message": "only 2 are left", "param": "items[0].quantity",
                             "details": {"available": 2}, "request_id": "req_1"}})
        );
        let error = Error::not_found("order_not_found", "there is no such order");
        let expected = json!({"type": "not_found", "code": "order_not_found", "message": "there is no such order", "request_id": "req_1"});
        assert_eq!(body(&error)["error"], expected);
    }

    #[test]
    fn every_kind_has_its_status() {
        let statuses = [400, 401, 402, 403, 404, 409, 410, 412, 422, 429, 500, 503, 504];
        for (kind, expected) in KINDS.into_iter().zip(statuses) {
            let reply = reply(&Error::new(kind, "x", "y"), "");
            assert_eq!(reply.status.as_u16(), expected);
            let waits = matches!(kind, Kind::TooMany | Kind::Unavailable);
            assert_eq!(reply.headers.contains_key(RETRY_AFTER), waits, "{kind:?}");
        }
        for (code, expected) in [("body_too_large", 413), ("body_too_slow", 408), ("headers_too_large", 431)] {
            assert_eq!(status(&Error::invalid(code, "")), expected);
        }
    }

    #[test]
    fn waiting_times_are_rounded_up_to_seconds() {
        let after = |ms| {
            reply(&Error::too_many("slow_down", "").retry_after_ms(ms), "").headers[RETRY_AFTER]
                .to_str()
                .unwrap()
                .to_owned()
        };
        assert_eq!((after(1), after(1_000), after(1_001), after(0)), ("1".into(), "1".into(), "2".into(), "1".into()));
    }

    #[test]
    fn internal_text_stays_inside() {
        let error =
            Error::internal("db_corrupt", "table orders is gone").details(json!({"path": "/var/x"})).param("sql");
        let body = body(&error).to_string();
        assert!(
            !body.contains("orders") && !body.contains("db_corrupt") && !body.contains("/var") && !body.contains("sql"),
            "{body}"
        );
    }
}
