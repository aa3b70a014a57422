//! How the context of a call travels: a few request headers, each only when it says something.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use mallard_types::{Error, Micros, Result};
use std::sync::Arc;
use std::time::Duration;

use crate::call::{Call, Caller, CallerKind, Origin, Surface};
use crate::trace::Trace;

/// W3C trace context.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Remaining time, as gRPC defines it.
pub(crate) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// Who asks: `kind;surface;user;session;role,role;seller;language`.
pub(crate) const CALLER: HeaderName = HeaderName::from_static("mallard-caller");
/// Backdated business time, microseconds since the epoch.
pub(crate) const AT: HeaderName = HeaderName::from_static("mallard-at");
/// Id of the outermost request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("mallard-request-id");
/// Where the outermost request came from: `address;user agent`.
pub(crate) const ORIGIN: HeaderName = HeaderName::from_static("mallard-origin");
/// Versions of services the request goes to: `service=version,…`.
pub(crate) const VERSIONS: HeaderName = HeaderName::from_static("mallard-versions");
/// The service the caller means, where one port serves several.
pub(crate) const SERVICE: HeaderName = HeaderName::from_static("mallard-service");
/// Proof that the caller belongs to the cluster.
pub(crate) const CLUSTER: HeaderName = HeaderName::from_static("mallard-cluster");

/// Longest request id accepted from a peer that is not trusted, in bytes.
const FOREIGN_REQUEST_ID_BYTES_MAX: usize = 128;
/// Largest number of a `grpc-timeout`: eight digits.
const TIMEOUT_NUMBER_MAX: u128 = 99_999_999;

/// Writes identity, backdated time and request id; a default value writes nothing and removes what was there.
pub(crate) fn write_call(headers: &mut HeaderMap, call: &Call) {
    put(headers, CALLER, (call.caller != Caller::default()).then(|| caller_text(&call.caller)));
    put(headers, AT, call.at.map(|at| at.to_string()));
    put(headers, REQUEST_ID, (!call.request_id.is_empty()).then(|| token(&call.request_id)));
    put(headers, ORIGIN, call.origin.as_deref().map(|o| format!("{};{}", token(&o.address), token(&o.user_agent))));
    put(headers, VERSIONS, call.versions.as_deref().map(|versions| versions_text(versions)));
}

/// Writes the trace of this hop.
pub(crate) fn write_trace(headers: &mut HeaderMap, trace: Trace) {
    // The bytes are hexadecimal digits and dashes, which every header value may hold.
    if let Ok(value) = HeaderValue::from_bytes(&trace.bytes()) {
        headers.insert(TRACEPARENT, value);
    }
}

/// Writes the remaining time.
pub(crate) fn write_timeout(headers: &mut HeaderMap, remaining: Duration) {
    if let Some(value) = timeout_value(remaining) {
        headers.insert(TIMEOUT, value);
    }
}

/// Makes the header value of a remaining time: microseconds, or a coarser unit (rounded down) where eight digits are
/// not enough.
pub(crate) fn timeout_value(remaining: Duration) -> Option<HeaderValue> {
    let micros = remaining.as_micros();
    let (number, unit) = [(1, 'u'), (1_000, 'm'), (1_000_000, 'S'), (3_600_000_000, 'H')]
        .into_iter()
        .map(|(divisor, unit)| (micros / divisor, unit))
        .find(|&(number, _)| number <= TIMEOUT_NUMBER_MAX)?;
    HeaderValue::from_str(&format!("{number}{unit}")).ok()
}

/// Reads the remaining time; `None` when there is none or it is malformed.
pub(crate) fn read_timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(TIMEOUT)?.to_str().ok()?;
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if number.is_empty() || number.len() > 8 || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = number.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

/// Reads the context a peer sent. Of a peer that is not trusted only the trace and a short request id are kept: its
/// caller is anonymous and its time is the clock's. The deadline is left to [`read_timeout`].
///
/// # Errors
/// `invalid` (code `bad_call_metadata`) when a trusted peer sends what this version cannot read.
pub(crate) fn read_call(headers: &HeaderMap, trusted: bool) -> Result<Call> {
    let mut call = Call::default();
    if let Some(text) = text(headers, &TRACEPARENT) {
        call.trace = Trace::parse(text).unwrap_or_default();
    }
    if !trusted {
        if let Some(id) = text(headers, &REQUEST_ID).filter(|id| id.len() <= FOREIGN_REQUEST_ID_BYTES_MAX) {
            call.request_id = parse_token(id).unwrap_or_default();
        }
        return Ok(call);
    }
    if let Some(value) = headers.get(CALLER) {
        call.caller = value.to_str().ok().and_then(parse_caller).ok_or_else(|| unreadable(&CALLER))?;
    }
    if let Some(value) = headers.get(AT) {
        let at: Option<Micros> = value.to_str().ok().and_then(|text| text.parse().ok());
        call.at = Some(at.ok_or_else(|| unreadable(&AT))?);
    }
    if let Some(value) = headers.get(REQUEST_ID) {
        call.request_id = value.to_str().ok().and_then(parse_token).ok_or_else(|| unreadable(&REQUEST_ID))?;
    }
    if let Some(value) = headers.get(ORIGIN) {
        let origin = value.to_str().ok().and_then(parse_origin).ok_or_else(|| unreadable(&ORIGIN))?;
        call.origin = Some(Arc::new(origin));
    }
    if let Some(value) = headers.get(VERSIONS) {
        let versions = value.to_str().ok().and_then(parse_versions).ok_or_else(|| unreadable(&VERSIONS))?;
        call.versions = Some(Arc::new(versions));
    }
    Ok(call)
}

fn versions_text(versions: &[(String, String)]) -> String {
    let pairs = versions.iter().map(|(service, version)| format!("{}={}", token(service), token(version)));
    pairs.collect::<Vec<_>>().join(",")
}

fn parse_versions(text: &str) -> Option<Vec<(String, String)>> {
    let pair = |pair: &str| {
        let (service, version) = pair.split_once('=')?;
        Some((parse_token(service)?, parse_token(version)?))
    };
    text.split(',').map(pair).collect()
}

fn parse_origin(text: &str) -> Option<Origin> {
    let (address, user_agent) = text.split_once(';')?;
    Some(Origin { address: parse_token(address)?, user_agent: parse_token(user_agent)? })
}

/// Returns the text of a header, `None` when it is absent or not text.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn unreadable(name: &HeaderName) -> Error {
    Error::invalid("bad_call_metadata", format!("the header {name} cannot be read"))
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: Option<String>) {
    // Values are made of tokens and digits, which every header value may hold.
    match value.and_then(|value| HeaderValue::try_from(value).ok()) {
        Some(value) => {
            headers.insert(name, value);
        }
        None if headers.is_empty() => {}
        None => {
            headers.remove(name);
        }
    }
}

fn caller_text(caller: &Caller) -> String {
    let kind = match caller.kind {
        CallerKind::Anonymous => 'a',
        CallerKind::User => 'u',
        CallerKind::System => 's',
    };
    let surface = match caller.surface {
        Surface::Internal => 'i',
        Surface::Store => 's',
        Surface::Seller => 'e',
        Surface::Admin => 'a',
        Surface::Auth => 't',
    };
    let roles = caller.roles.iter().map(|role| if role.is_empty() { "~".to_owned() } else { token(role) });
    format!(
        "{kind};{surface};{};{};{};{};{}",
        token(&caller.user_id),
        token(&caller.session_id),
        roles.collect::<Vec<_>>().join(","),
        token(&caller.seller_id),
        token(&caller.language),
    )
}

fn parse_caller(text: &str) -> Option<Caller> {
    let mut parts = text.split(';');
    let mut next = || parts.next();
    let kind = match next()? {
        "a" => CallerKind::Anonymous,
        "u" => CallerKind::User,
        "s" => CallerKind::System,
        _ => return None,
    };
    let surface = match next()? {
        "i" => Surface::Internal,
        "s" => Surface::Store,
        "e" => Surface::Seller,
        "a" => Surface::Admin,
        "t" => Surface::Auth,
        _ => return None,
    };
    let user_id = parse_token(next()?)?;
    let session_id = parse_token(next()?)?;
    let roles = match next()? {
        "" => Vec::new(),
        list => list.split(',').map(parse_token).collect::<Option<_>>()?,
    };
    let seller_id = parse_token(next()?)?;
    let language = parse_token(next()?)?;
    next().is_none().then_some(Caller { kind, user_id, session_id, roles, seller_id, surface, language })
}

/// Writes a string that may hold anything: plain where it is a simple word, else `~` and base64.
fn token(text: &str) -> String {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:@/".contains(&byte));
    if plain { text.to_owned() } else { format!("~{}", URL_SAFE_NO_PAD.encode(text)) }
}

fn parse_token(token: &str) -> Option<String> {
    match token.strip_prefix('~') {
        None => Some(token.to_owned()),
        Some(encoded) => String::from_utf8(URL_SAFE_NO_PAD.decode(encoded).ok()?).ok(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds() -> impl Strategy<Value = (CallerKind, Surface)> {
        let kind = prop_oneof![Just(CallerKind::Anonymous), Just(CallerKind::User), Just(CallerKind::System)];
        let surface = prop_oneof![
            Just(Surface::Internal),
            Just(Surface::Store),
            Just(Surface::Seller),
            Just(Surface::Admin),
            Just(Surface::Auth)
        ];
        (kind, surface)
    }

    proptest! {
        #[test]
        fn any_call_survives_the_headers(
            (kind, surface) in kinds(),
            texts in prop::array::uniform5(any::<String>()),
            roles in prop::collection::vec(any::<String>(), 0..4),
            at in any::<Option<i64>>(),
        ) {
            let [user_id, session_id, seller_id, language, request_id] = texts;
            let caller = Caller { kind, user_id, session_id, roles, seller_id, surface, language };
            let call = Call { caller, at, request_id, ..Call::default() };
            let mut headers = HeaderMap::new();
            write_call(&mut headers, &call);
            prop_assert_eq!(read_call(&headers, true).unwrap(), call.clone());
            let foreign = read_call(&headers, false).unwrap();
            prop_assert_eq!((foreign.caller, foreign.at), (Caller::default(), None));
        }

        #[test]
        fn a_timeout_loses_less_than_its_unit(micros in 0_u64..3_600_000_000_000) {
            let sent = Duration::from_micros(micros);
            let mut headers = HeaderMap::new();
            write_timeout(&mut headers, sent);
            let read = read_timeout(&headers).unwrap();
            prop_assert!(read <= sent);
            let unit = if micros <= 99_999_999 { 1 } else if micros <= 99_999_999_000 { 1_000 } else { 1_000_000 };
            prop_assert!(sent - read < Duration::from_micros(unit));
        }

        #[test]
        fn no_header_text_makes_reading_panic(text in "[ -~]{0,40}") {
            let value = HeaderValue::from_str(&text).unwrap();
            let mut headers = HeaderMap::new();
            for name in [TRACEPARENT, TIMEOUT, CALLER, AT, REQUEST_ID] {
                headers.insert(name, value.clone());
            }
            let _ = read_call(&headers, true);
            let _ = read_timeout(&headers);
        }
    }

    #[test]
    fn an_empty_call_writes_no_header() {
        let mut headers = HeaderMap::new();
        write_call(&mut headers, &Call::default());
        assert!(headers.is_empty());
    }

    #[test]
    fn a_header_the_handler_copied_is_replaced_or_removed() {
        let mut headers = HeaderMap::new();
        write_call(&mut headers, &Call::system("order"));
        write_call(&mut headers, &Call::default());
        assert!(headers.is_empty());
    }

    #[test]
    fn a_malformed_caller_of_a_trusted_peer_is_refused() {
        for bad in ["", "u", "x;i;;;;;", "u;i;;;;;;extra", "u;i;~*;;;;"] {
            let mut headers = HeaderMap::new();
            headers.insert(CALLER, HeaderValue::from_static(bad));
            assert_eq!(read_call(&headers, true).unwrap_err().code, "bad_call_metadata", "{bad}");
        }
    }
}
