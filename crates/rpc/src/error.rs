//! Errors on the wire and back: a gRPC code for everybody, `google.rpc.ErrorInfo` for ourselves.

use std::collections::BTreeMap;

use bytes::Bytes;
use mallard_types::{Error, Kind};
use prost::Message;
use tonic::{Code, Status};

use crate::rpc_status::{self, Any, Duration, ERROR_INFO_URL, ErrorInfo, RETRY_INFO_URL, RetryInfo};

/// What the outside reads instead of an internal error's message.
pub(crate) const INTERNAL_TEXT: &str = "something went wrong on our side";

/// Code of the refusal of a process that does not know the mall's secret.
pub(crate) const PEER_NOT_TRUSTED: &str = "peer_not_trusted";

const DOMAIN: &str = "mallard";
/// Largest details on the wire, in bytes of JSON: headers carry them.
const DETAILS_BYTES_MAX: usize = 32 * 1024;
/// Longest message on the wire, in bytes: percent-encoding may triple it.
const MESSAGE_BYTES_MAX: usize = 8 * 1024;

/// Turns an error into a gRPC status, losing nothing but the source, which is logged here. An internal error keeps its
/// code only: message, parameter and details are for the log. Details over 32 KiB and the end of a message over 8 KiB
/// are dropped.
pub fn status(e: Error) -> Status {
    let e = if e.kind == Kind::Internal { neutral(e) } else { logged(e) };
    let message = truncated(&e.message, MESSAGE_BYTES_MAX);
    let code = code_of(e.kind);
    let details = rpc_status::Status {
        code: code as i32,
        message: message.to_owned(),
        details: [Some(error_info(&e)), e.retry_after_ms.map(retry_info)].into_iter().flatten().collect(),
    };
    Status::with_details(code, message, Bytes::from(details.encode_to_vec()))
}

/// Turns a gRPC status back into the error it was made of. A status made by somebody else gets the kind of its code.
pub fn error(s: Status) -> Error {
    let error = parse_details(&s).unwrap_or_else(|| foreign(&s));
    match error.code.as_ref() {
        PEER_NOT_TRUSTED => misconfigured(error),
        _ => error,
    }
}

/// Makes the error of a mall whose processes do not know one another: nobody who asks can do anything about it.
fn misconfigured(error: Error) -> Error {
    tracing::error!(message = %error.message, "another process of the mall does not trust this one");
    Error::unavailable(PEER_NOT_TRUSTED, "a service of the mall does not trust the process that asked it")
        .retry_after_ms(5_000)
}

/// Tells whether a handler of ours made this status, as opposed to the transport or the framework.
pub(crate) fn is_answer(s: &Status) -> bool {
    parse_details(s).is_some()
}

fn error_info(e: &Error) -> Any {
    let mut metadata = BTreeMap::from([("kind".to_owned(), e.kind.as_str().to_owned())]);
    if let Some(param) = &e.param {
        metadata.insert("param".to_owned(), param.to_string());
    }
    if let Some(details) = &e.details {
        let json = details.to_string();
        if json.len() <= DETAILS_BYTES_MAX {
            metadata.insert("details".to_owned(), json);
        } else {
            tracing::warn!(code = %e.code, bytes = json.len(), "dropped error details too large for a header");
        }
    }
    if let Some(ms) = e.retry_after_ms {
        metadata.insert("retry_after_ms".to_owned(), ms.to_string());
    }
    let info = ErrorInfo { reason: e.code.to_string(), domain: DOMAIN.to_owned(), metadata };
    rpc_status::any(ERROR_INFO_URL, &info)
}

fn retry_info(ms: u64) -> Any {
    // Both casts fit: seconds are at most 2^64 / 1000, nanoseconds less than 10^9.
    let delay = Duration { seconds: (ms / 1_000) as i64, nanos: (ms % 1_000 * 1_000_000) as i32 };
    rpc_status::any(RETRY_INFO_URL, &RetryInfo { retry_delay: Some(delay) })
}

fn parse_details(s: &Status) -> Option<Error> {
    if s.details().is_empty() {
        return None;
    }
    let details = rpc_status::Status::decode(s.details()).ok()?;
    let info = details.details.iter().find(|any| any.type_url == ERROR_INFO_URL)?;
    let mut info = ErrorInfo::decode(info.value.as_slice()).ok().filter(|info| info.domain == DOMAIN)?;
    let mut take = |key: &str| info.metadata.remove(key);
    let kind = take("kind").and_then(|kind| Kind::parse(&kind)).unwrap_or_else(|| kind_of(s.code()));
    let param = take("param");
    let json = take("details").and_then(|json| serde_json::from_str(&json).ok());
    let retry_after_ms = take("retry_after_ms").and_then(|ms| ms.parse().ok());
    let mut e = Error::new(kind, info.reason, s.message().to_owned());
    e.param = param.map(Into::into);
    e.details = json.map(Box::new);
    e.retry_after_ms = retry_after_ms;
    Some(e)
}

/// Makes the error of a status that carries no `ErrorInfo` of ours.
fn foreign(s: &Status) -> Error {
    let kind = kind_of(s.code());
    if kind == Kind::Internal {
        tracing::error!(code = ?s.code(), message = s.message(), "a call failed without an answer of its handler");
        return Error::internal(code_name(s.code()), INTERNAL_TEXT);
    }
    Error::new(kind, code_name(s.code()), s.message().to_owned())
}

/// Logs an internal error in full and keeps what may leave. One that came over the wire was logged where it arose.
fn neutral(e: Error) -> Error {
    if e.source.is_some() || e.message != INTERNAL_TEXT {
        tracing::error!(
            code = %e.code,
            message = %e.message,
            param = e.param.as_deref(),
            details = e.details.as_deref().map(tracing::field::display),
            source = e.source.as_deref().map(tracing::field::display),
            "internal error"
        );
    }
    Error::internal(e.code, INTERNAL_TEXT)
}

/// Logs the source of an error that is not a defect; the error itself is the caller's to handle.
fn logged(e: Error) -> Error {
    if let Some(source) = e.source.as_deref() {
        tracing::debug!(kind = e.kind.as_str(), code = %e.code, %source, "answered with an error");
    }
    e
}

fn truncated(message: &str, bytes_max: usize) -> &str {
    let end = message.floor_char_boundary(bytes_max);
    &message[..end]
}

fn code_of(kind: Kind) -> Code {
    match kind {
        Kind::Invalid => Code::InvalidArgument,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::PaymentFailed | Kind::Precondition | Kind::Refused => Code::FailedPrecondition,
        Kind::Forbidden => Code::PermissionDenied,
        Kind::NotFound | Kind::Gone => Code::NotFound,
        Kind::Conflict => Code::Aborted,
        Kind::TooMany => Code::ResourceExhausted,
        Kind::Internal => Code::Internal,
        Kind::Unavailable => Code::Unavailable,
        Kind::Deadline => Code::DeadlineExceeded,
    }
}

fn kind_of(code: Code) -> Kind {
    match code {
        Code::InvalidArgument | Code::OutOfRange => Kind::Invalid,
        Code::Unauthenticated => Kind::Unauthenticated,
        Code::PermissionDenied => Kind::Forbidden,
        Code::NotFound => Kind::NotFound,
        Code::AlreadyExists | Code::Aborted => Kind::Conflict,
        Code::FailedPrecondition => Kind::Refused,
        Code::ResourceExhausted => Kind::TooMany,
        Code::Unavailable | Code::Cancelled => Kind::Unavailable,
        Code::DeadlineExceeded => Kind::Deadline,
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => Kind::Internal,
    }
}

/// Returns the lower_snake_case name of a gRPC code.
pub(crate) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use mallard_types::error::KINDS;
    use proptest::prelude::*;

    use super::*;

    fn over_the_wire(e: Error) -> Error {
        let response: http::Response<()> = status(e).into_http();
        error(Status::from_header_map(response.headers()).unwrap())
    }

    proptest! {
        #[test]
        fn an_error_survives_the_wire(
            kind in prop::sample::select(KINDS.to_vec()),
            code in "[a-z_]{1,20}",
            message in any::<String>(),
            param in any::<Option<String>>(),
            word in any::<String>(),
            number in any::<Option<i64>>(),
            retry_after_ms in any::<Option<u64>>(),
        ) {
            let mut e = Error::new(kind, code.clone(), message.clone());
            e.param = param.clone().map(Into::into);
            e.details = number.map(|number| Box::new(serde_json::json!({ "word": word, "list": [number] })));
            e.retry_after_ms = retry_after_ms;
            let details = e.details.clone();
            let back = over_the_wire(e);
            prop_assert_eq!(back.kind, kind);
            prop_assert_eq!(back.code, code);
            if kind == Kind::Internal {
                prop_assert_eq!(back.message, INTERNAL_TEXT);
                prop_assert_eq!((back.param, back.details, back.retry_after_ms), (None, None, None));
            } else {
                prop_assert_eq!(back.message, message);
                prop_assert_eq!(back.param.map(|param| param.into_owned()), param);
                prop_assert_eq!(back.details, details);
                prop_assert_eq!(back.retry_after_ms, retry_after_ms);
            }
        }

        #[test]
        fn no_details_make_reading_panic(details in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = error(Status::with_details(Code::Aborted, "", details.into()));
        }
    }

    #[test]
    fn the_source_and_text_of_an_internal_error_stay_inside() {
        let e = Error::internal("db_error", "password=hunter2").source(std::io::Error::other("/var/lib/x.db"));
        let response: http::Response<()> = status(e).into_http();
        let seen = format!("{:?}", response.headers());
        let details = Status::from_header_map(response.headers()).unwrap();
        for secret in ["hunter2", "x.db"] {
            assert!(!seen.contains(secret));
            assert!(!String::from_utf8_lossy(details.details()).contains(secret));
        }
    }

    #[test]
    fn a_retry_hint_is_also_told_in_the_standard_way() {
        let s = status(Error::too_many("slow_down", "wait").retry_after_ms(1_500));
        let details = rpc_status::Status::decode(s.details()).unwrap();
        let info = details.details.iter().find(|any| any.type_url == RETRY_INFO_URL).unwrap();
        let delay = RetryInfo::decode(info.value.as_slice()).unwrap().retry_delay.unwrap();
        assert_eq!((delay.seconds, delay.nanos), (1, 500_000_000));
    }

    #[test]
    fn details_too_large_for_a_header_are_dropped_and_the_error_still_arrives() {
        let large = serde_json::json!({ "text": "x".repeat(DETAILS_BYTES_MAX) });
        let back = over_the_wire(Error::refused("stock_short", "y".repeat(20_000)).details(large));
        assert_eq!(back.code, "stock_short");
        assert_eq!(back.details, None);
        assert_eq!(back.message.len(), MESSAGE_BYTES_MAX);
    }

    #[test]
    fn a_foreign_status_gets_the_kind_of_its_code() {
        let cases = [
            (Status::not_found("gone fishing"), Kind::NotFound, "not_found", "gone fishing"),
            (Status::cancelled("x"), Kind::Unavailable, "cancelled", "x"),
            (Status::unknown("secret path"), Kind::Internal, "unknown", INTERNAL_TEXT),
            (Status::unimplemented("x"), Kind::Internal, "unimplemented", INTERNAL_TEXT),
        ];
        for (status, kind, code, message) in cases {
            let e = error(status);
            assert_eq!((e.kind, &*e.code, &*e.message), (kind, code, message));
        }
    }
}
