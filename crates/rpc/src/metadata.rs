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
/// Says in an answer that the callee did not give it: `last_good` or `empty`.
pub(crate) const FALLBACK: HeaderName = HeaderName::from_static("mallard-fallback");
/// The service the caller means, where one port serves several.
pub(crate) const SERVICE: HeaderName = HeaderName::from_static("mallard-service");
/// Proof that the caller belongs to the cluster.
pub(crate) const CLUSTER: HeaderName = HeaderName::from_static("mallard-cluster");

/// Nobody, between services: the caller of a call made outside of any request.
const NOBODY: &str = "a;i;;;;;";
/// Largest number of a `grpc-timeout`: eight digits.
const TIMEOUT_NUMBER_MAX: u128 = 99_999_999;

/// Writes who asks, and what else there is to say; what there is not is removed.
pub(crate) fn write_call(headers: &mut HeaderMap, call: &Call) {
    if call.caller == Caller::default() {
        headers.insert(CALLER, HeaderValue::from_static(NOBODY));
    } else {
        put(headers, CALLER, Some(caller_text(&call.caller)));
    }
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

/// Reads the context a trusted peer sent. The deadline is left to [`read_timeout`].
///
/// # Errors
/// `unauthenticated` (`identity_missing`) when the call does not say who asks; `invalid` (`bad_call_metadata`) when this
/// version cannot read it.
pub(crate) fn read_call(headers: &HeaderMap) -> Result<Call> {
    let mut call = Call::default();
    let caller = headers.get(CALLER).ok_or_else(identity_missing)?;
    if caller.as_bytes() != NOBODY.as_bytes() {
        call.caller = caller.to_str().ok().and_then(parse_caller).ok_or_else(|| unreadable(&CALLER))?;
    }
    if let Some(text) = text(headers, &TRACEPARENT) {
        call.trace = Trace::parse(text).unwrap_or_default();
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

/// Returns the version of `service` that a call asks for.
pub(crate) fn version(headers: &HeaderMap, service: &str) -> Option<String> {
    let versions = parse_versions(text(headers, &VERSIONS)?)?;
    versions.into_iter().find_map(|(of, version)| (of == service).then_some(version))
}

/// Returns the signed-in user, the session and the client's address of a call, as they stand in its headers; empty where
/// there is none.
pub(crate) fn identity(headers: &HeaderMap) -> (&str, &str, &str) {
    let mut caller = text(headers, &CALLER).unwrap_or_default().split(';');
    let is_user = caller.next() == Some("u");
    let mut next = |skip| caller.nth(skip).filter(|_| is_user).unwrap_or_default();
    let (user, session) = (next(1), next(0));
    let address = text(headers, &ORIGIN).and_then(|origin| origin.split(';').next()).unwrap_or_default();
    (user, session, address)
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

fn identity_missing() -> Error {
    let message = format!("the call does not say who asks; call through a channel, which writes the header {CALLER}");
    Error::unauthenticated("identity_missing", message)
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
            prop_assert_eq!(read_call(&headers).unwrap(), call);
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
            let _ = read_call(&headers);
            let _ = read_timeout(&headers);
        }
    }

    #[test]
    fn a_call_of_nobody_says_so_and_one_that_says_nothing_is_refused() {
        let mut headers = HeaderMap::new();
        assert_eq!(read_call(&headers).unwrap_err().code, "identity_missing");
        write_call(&mut headers, &Call::default());
        assert_eq!(headers.keys().collect::<Vec<_>>(), [&CALLER]);
        assert_eq!(headers[CALLER], caller_text(&Caller::default()));
        assert_eq!(read_call(&headers).unwrap(), Call::default());
    }

    #[test]
    fn a_header_the_handler_copied_is_replaced_or_removed() {
        let mut headers = HeaderMap::new();
        write_call(&mut headers, &Call { at: Some(1), ..Call::system("order") });
        write_call(&mut headers, &Call::default());
        assert_eq!(read_call(&headers).unwrap(), Call::default());
    }

    #[test]
    fn what_a_call_is_routed_by_is_read_from_its_headers() {
        let user =
            Caller { kind: CallerKind::User, user_id: "usr_1".into(), session_id: "ses_1".into(), ..Caller::default() };
        let call = Call {
            caller: user,
            origin: Some(Arc::new(Origin { address: "2001:db8::1".into(), user_agent: "x;y".into() })),
            versions: Some(Arc::new(vec![("cart".into(), "v2".into()), ("order".into(), "v3".into())])),
            ..Call::default()
        };
        let mut headers = HeaderMap::new();
        assert_eq!(identity(&headers), ("", "", ""));
        write_call(&mut headers, &call);
        assert_eq!(identity(&headers), ("usr_1", "ses_1", "2001:db8::1"));
        assert_eq!(version(&headers, "order").as_deref(), Some("v3"));
        assert_eq!(version(&headers, "catalog"), None);
        write_call(&mut headers, &Call::system("order"));
        assert_eq!(identity(&headers), ("", "", ""), "a service is no user");
    }

    #[test]
    fn a_malformed_caller_of_a_trusted_peer_is_refused() {
        for bad in ["", "u", "x;i;;;;;", "u;i;;;;;;extra", "u;i;~*;;;;"] {
            let mut headers = HeaderMap::new();
            headers.insert(CALLER, HeaderValue::from_static(bad));
            assert_eq!(read_call(&headers).unwrap_err().code, "bad_call_metadata", "{bad}");
        }
    }
}
