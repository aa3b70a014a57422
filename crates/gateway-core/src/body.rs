//! The body of a request: limits, content type, and JSON into a typed message with errors that name the field.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt;
use mallard_types::{Error, Result};
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout_at};

/// Most bytes of a request's body unless the configuration says otherwise: 1 MiB.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// A body that is too large is read to its end up to here, and thrown away: a client that is cut off while it writes does not
/// see why.
const DISCARDED_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long the edge waits for a body.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For the whole of it.
    pub timeout: Duration,
    /// Before the rate counts.
    pub grace: Duration,
    /// Slowest rate.
    pub bytes_per_s_min: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { timeout: Duration::from_secs(10), grace: Duration::from_secs(2), bytes_per_s_min: 1_024 }
    }
}

impl Patience {
    /// Returns when the next bytes must be here.
    fn until(&self, begun: Instant, seen: u64) -> Instant {
        let earned = Duration::from_secs_f64(seen as f64 / f64::from(self.bytes_per_s_min.max(1)));
        begun + self.timeout.min(self.grace.saturating_add(earned))
    }
}

/// Reads the whole body.
///
/// # Errors
/// `body_too_large` (status 413), `body_too_slow` (408), `unsupported_media_type` (415), `malformed_body` when the client
/// breaks off.
pub async fn read(headers: &HeaderMap, body: Body, bytes_max: usize, patience: &Patience) -> Result<Bytes> {
    let bytes = take(headers, body, bytes_max, patience).await?;
    if !bytes.is_empty() {
        check_type(headers)?;
    }
    Ok(bytes)
}

/// Reads the whole body, whatever it is.
///
/// # Errors
/// As [`read`], but for its type.
pub async fn take(headers: &HeaderMap, mut body: Body, bytes_max: usize, patience: &Patience) -> Result<Bytes> {
    let bytes_max = bytes_max as u64;
    let announced = body.size_hint().lower();
    // A client that asks before it sends has nothing to lose, so it is told at once.
    let asks = headers.contains_key(header::EXPECT);
    if announced > bytes_max && (asks || announced > DISCARDED_BYTES_MAX) {
        return Err(too_large(bytes_max));
    }
    let begun = Instant::now();
    let mut bytes = BytesMut::new();
    let mut seen = 0u64;
    loop {
        let Ok(frame) = timeout_at(patience.until(begun, seen), body.frame()).await else {
            return Err(too_slow());
        };
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|_| Error::invalid("malformed_body", "the body ended too early"))?;
        let Ok(data) = frame.into_data() else { continue };
        seen += data.len() as u64;
        if seen > DISCARDED_BYTES_MAX.max(bytes_max) {
            return Err(too_large(bytes_max));
        }
        if seen <= bytes_max {
            bytes.extend_from_slice(&data);
        }
    }
    if seen > bytes_max {
        return Err(too_large(bytes_max));
    }
    Ok(bytes.freeze())
}

/// Makes the refusal of a client that lets the mall wait for its body.
pub(crate) fn too_slow() -> Error {
    Error::invalid("body_too_slow", "the body did not come in time; send it faster")
}

fn too_large(bytes_max: u64) -> Error {
    Error::invalid("body_too_large", format!("the body may have at most {bytes_max} bytes"))
}

/// Checks that a body says it is JSON in the clear. A body that says nothing is taken for JSON.
fn check_type(headers: &HeaderMap) -> Result<()> {
    let refused = |message: &'static str, param: &'static str| {
        Err(Error::invalid("unsupported_media_type", message).param(param))
    };
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        return refused("the body must not be compressed", "Content-Encoding");
    }
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let kind = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"));
    if is_json { Ok(()) } else { refused("the body must be application/json", "Content-Type") }
}

/// Decodes a body; an empty one counts as `{}`.
///
/// # Errors
/// `malformed_json` for what is no JSON; `unknown_field`, `required` and `invalid_field` name the field, e.g.
/// `items[0].quantity`.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    let body = if body.iter().all(u8::is_ascii_whitespace) { b"{}" } else { body };
    // The usual case pays for no path; a broken body is read again to find out where it is broken.
    serde_json::from_slice(body).map_err(|error| explain::<T>(body, error))
}

fn explain<T: DeserializeOwned>(body: &[u8], error: serde_json::Error) -> Error {
    if !error.is_data() {
        let place = format!("the body is not JSON: line {}, column {}", error.line(), error.column());
        return Error::invalid("malformed_json", place);
    }
    let mut from = serde_json::Deserializer::from_slice(body);
    let path = match serde_path_to_error::deserialize::<_, T>(&mut from) {
        Err(found) => found.path().to_string(),
        Ok(_) => String::new(),
    };
    let path = if path == "." { String::new() } else { path };
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    let quoted = |prefix: &str| text.strip_prefix(prefix).and_then(|rest| rest.split('`').next());
    if let Some(name) = quoted("unknown field `") {
        let path = if last(&path) == name { path } else { join(&path, name) };
        return Error::invalid("unknown_field", format!("there is no field {path}")).param(path);
    }
    if let Some(name) = quoted("missing field `") {
        let path = join(&path, name);
        return Error::invalid("required", format!("{path} is required")).param(path);
    }
    if let Some(name) = quoted("duplicate field `") {
        let path = if last(&path) == name { path } else { join(&path, name) };
        return Error::invalid("invalid_field", format!("{path} is given twice")).param(path);
    }
    let expected = match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("must be {}", plain(expected)),
        None => text.to_owned(),
    };
    if path.is_empty() {
        return Error::invalid("invalid_field", format!("the body {expected}"));
    }
    Error::invalid("invalid_field", format!("{path} {expected}")).param(path)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn last(path: &str) -> &str {
    path.rsplit('.').next().unwrap_or_default()
}

/// Says in plain words what serde expected.
fn plain(expected: &str) -> &str {
    match expected {
        "i64" | "i32" | "u64" | "u32" => "a whole number that fits",
        "f64" | "f32" => "a number",
        "a string" | "a borrowed string" => "text",
        "a boolean" => "true or false",
        "a sequence" => "a list",
        "a map" => "an object",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use mallard_proto::catalog::v1::CreateProductRequest;
    use mallard_proto::order::v1::PlaceOrderRequest;

    fn refusal<T: DeserializeOwned>(body: &str) -> (String, String, String) {
        let error = decode::<T>(body.as_bytes()).err().expect("the body should be refused");
        (error.code.into_owned(), error.param.unwrap_or_default().into_owned(), error.message.into_owned())
    }

    #[test]
    fn errors_name_the_field_by_its_path() {
        let body = r#"{"payment": {"method": "later"}, "expected_total": {"amount": 1, "currency": "CNY"}, "lines": [{"sku_id": "a", "quantity": "2"}]}"#;
        let expected = (
            "invalid_field".to_owned(),
            "lines[0].quantity".to_owned(),
            "lines[0].quantity must be a whole number that fits".to_owned(),
        );
        assert_eq!(refusal::<PlaceOrderRequest>(body), expected);

        let (code, param, _) = refusal::<PlaceOrderRequest>(&body.replace("\"2\"", "1.5"));
        assert_eq!((code.as_str(), param.as_str()), ("invalid_field", "lines[0].quantity"));

        let (code, param, _) = refusal::<PlaceOrderRequest>(&body.replace("\"quantity\": \"2\"", "\"colour\": 1"));
        assert_eq!((code.as_str(), param.as_str()), ("unknown_field", "lines[0].colour"));

        let (code, param, _) = refusal::<PlaceOrderRequest>(&body.replace(", \"quantity\": \"2\"", ""));
        assert_eq!((code.as_str(), param.as_str()), ("required", "lines[0].quantity"));

        let (code, param, message) =
            refusal::<CreateProductRequest>(r#"{"title": "a", "variants": [], "status": "sold"}"#);
        assert_eq!((code.as_str(), param.as_str()), ("invalid_field", "status"));
        assert!(message.contains("draft, listed, delisted, deleted"), "{message}");
    }

    #[test]
    fn errors_at_the_root_are_clear() {
        assert_eq!(
            refusal::<PlaceOrderRequest>("{"),
            ("malformed_json".into(), "".into(), "the body is not JSON: line 1, column 1".into())
        );
        assert_eq!(refusal::<mallard_proto::identity::v1::GetMeRequest>("{} x").0, "malformed_json");
        assert_eq!(
            refusal::<PlaceOrderRequest>("[]"),
            ("invalid_field".into(), "".into(), "the body must be an object".into())
        );
        assert_eq!(
            refusal::<PlaceOrderRequest>(""),
            ("required".into(), "payment".into(), "payment is required".into())
        );
        assert_eq!(refusal::<PlaceOrderRequest>(r#"{"colour": 1}"#).1, "colour");
        assert_eq!(refusal::<PlaceOrderRequest>(r#"{"note": "a", "note": "b"}"#).1, "note");
        assert_eq!(refusal::<PlaceOrderRequest>("{\"note\": \"\u{0}\"}").0, "malformed_json");
        assert_eq!(refusal::<PlaceOrderRequest>(&"[".repeat(100_000)).0, "invalid_field");
    }

    #[test]
    fn a_value_is_never_repeated_in_the_error() {
        let (_, _, message) =
            refusal::<mallard_proto::identity::v1::LoginRequest>(r#"{"email": "a", "password": 12345678}"#);
        assert!(!message.contains("1234"), "{message}");
    }

    #[test]
    fn only_json_in_the_clear_is_read() {
        let headers = |name, value: &str| HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())]);
        for good in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert!(check_type(&headers(header::CONTENT_TYPE, good)).is_ok(), "{good}");
        }
        assert!(check_type(&HeaderMap::new()).is_ok());
        for bad in ["text/plain", "application/x-www-form-urlencoded", ""] {
            assert_eq!(
                check_type(&headers(header::CONTENT_TYPE, bad)).unwrap_err().code,
                "unsupported_media_type",
                "{bad}"
            );
        }
        assert!(check_type(&headers(header::CONTENT_ENCODING, "gzip")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_over_the_limit_is_refused_whether_it_says_its_length_or_not() {
        let read = async |body: Body, max| super::read(&HeaderMap::new(), body, max, &Patience::default()).await;
        let huge = vec![b' '; BODY_BYTES_MAX + 1];
        assert_eq!(read(Body::from(huge.clone()), BODY_BYTES_MAX).await.unwrap_err().code, "body_too_large");
        let unsized_body = Body::new(http_body_util::StreamBody::new(futures_util::stream::iter(
            huge.chunks(65_536)
                .map(|chunk| Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::copy_from_slice(chunk))))
                .collect::<Vec<_>>(),
        )));
        assert_eq!(read(unsized_body, BODY_BYTES_MAX).await.unwrap_err().code, "body_too_large");
        assert_eq!(read(Body::from(vec![b' '; BODY_BYTES_MAX]), BODY_BYTES_MAX).await.unwrap().len(), BODY_BYTES_MAX);
        // A route may have a limit of its own, either way.
        assert_eq!(read(Body::from("12345"), 4).await.unwrap_err().code, "body_too_large");
        assert_eq!(read(Body::from(huge), 2 * BODY_BYTES_MAX).await.unwrap().len(), BODY_BYTES_MAX + 1);
    }

    /// A body that gives a byte each time and says how often it was asked.
    fn dribble(pause: Duration, asked: std::sync::Arc<std::sync::atomic::AtomicU64>) -> Body {
        let stream = futures_util::stream::unfold((), move |()| {
            asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            async move {
                tokio::time::sleep(pause).await;
                Some((Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(b" "))), ()))
            }
        });
        Body::new(http_body_util::StreamBody::new(stream))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_dribbles_is_cut_off_after_the_grace() {
        let patience = Patience { timeout: Duration::from_secs(60), ..Patience::default() };
        let begun = Instant::now();
        let slow = dribble(Duration::from_millis(500), Default::default());
        let error = read(&HeaderMap::new(), slow, BODY_BYTES_MAX, &patience).await.unwrap_err();
        assert_eq!(error.code, "body_too_slow");
        let cut = begun.elapsed();
        assert!(cut >= Duration::from_secs(2) && cut < Duration::from_secs(3), "{cut:?}");
        // One that keeps to the rate is still not waited for for ever.
        let steady = Patience { bytes_per_s_min: 1, ..patience };
        let begun = Instant::now();
        let slow = dribble(Duration::from_millis(500), Default::default());
        assert_eq!(read(&HeaderMap::new(), slow, BODY_BYTES_MAX, &steady).await.unwrap_err().code, "body_too_slow");
        assert_eq!(begun.elapsed(), Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_asks_first_is_told_before_it_sends() {
        let asked = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        struct Announced(Body, u64);
        impl http_body::Body for Announced {
            type Data = Bytes;
            type Error = axum::Error;
            fn poll_frame(
                mut self: std::pin::Pin<&mut Self>,
                cx: &mut std::task::Context<'_>,
            ) -> std::task::Poll<Option<Result<http_body::Frame<Bytes>, axum::Error>>> {
                std::pin::Pin::new(&mut self.0).poll_frame(cx)
            }
            fn size_hint(&self) -> http_body::SizeHint {
                http_body::SizeHint::with_exact(self.1)
            }
        }
        let body = Body::new(Announced(dribble(Duration::ZERO, std::sync::Arc::clone(&asked)), 2_000_000));
        let headers = HeaderMap::from_iter([(header::EXPECT, HeaderValue::from_static("100-continue"))]);
        let error = read(&headers, body, BODY_BYTES_MAX, &Patience::default()).await.unwrap_err();
        assert_eq!((error.code.as_ref(), asked.load(std::sync::atomic::Ordering::SeqCst)), ("body_too_large", 0));
    }
}
