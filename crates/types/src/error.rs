//! The one error type that crosses service boundaries: kind, stable code, message, parameter, retry hint.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Whose fault an error is and what a caller can do about it. The names and HTTP statuses are the public API's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed (400).
    Invalid,
    /// Nobody is signed in, or the token is not good (401).
    Unauthenticated,
    /// The payment was declined (402).
    PaymentFailed,
    /// The caller may not do this (403).
    Forbidden,
    /// It does not exist, or is somebody else's (404).
    NotFound,
    /// It cannot be done in the present state (409).
    Conflict,
    /// It existed once (410).
    Gone,
    /// The version sent is not the present one (412).
    Precondition,
    /// Well formed, but a rule says no (422).
    Refused,
    /// Too many requests (429).
    TooMany,
    /// A defect or broken data on our side (500).
    Internal,
    /// A dependency is away; try again (503).
    Unavailable,
    /// The deadline passed before an answer came (504).
    Deadline,
}

/// Every kind, in the order of the public table.
pub const KINDS: [Kind; 13] = [
    Kind::Invalid,
    Kind::Unauthenticated,
    Kind::PaymentFailed,
    Kind::Forbidden,
    Kind::NotFound,
    Kind::Conflict,
    Kind::Gone,
    Kind::Precondition,
    Kind::Refused,
    Kind::TooMany,
    Kind::Internal,
    Kind::Unavailable,
    Kind::Deadline,
];

impl Kind {
    /// Returns the public name.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Invalid => "invalid",
            Kind::Unauthenticated => "unauthenticated",
            Kind::PaymentFailed => "payment_failed",
            Kind::Forbidden => "forbidden",
            Kind::NotFound => "not_found",
            Kind::Conflict => "conflict",
            Kind::Gone => "gone",
            Kind::Precondition => "precondition",
            Kind::Refused => "refused",
            Kind::TooMany => "too_many",
            Kind::Internal => "internal",
            Kind::Unavailable => "unavailable",
            Kind::Deadline => "deadline",
        }
    }

    /// Parses a public name.
    pub fn parse(name: &str) -> Option<Kind> {
        KINDS.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns the HTTP status of the public API.
    pub fn http_status(self) -> u16 {
        match self {
            Kind::Invalid => 400,
            Kind::Unauthenticated => 401,
            Kind::PaymentFailed => 402,
            Kind::Forbidden => 403,
            Kind::NotFound => 404,
            Kind::Conflict => 409,
            Kind::Gone => 410,
            Kind::Precondition => 412,
            Kind::Refused => 422,
            Kind::TooMany => 429,
            Kind::Internal => 500,
            Kind::Unavailable => 503,
            Kind::Deadline => 504,
        }
    }
}

/// Holds what went wrong, for the caller and for the log.
#[derive(Clone, Debug)]
pub struct Error {
    /// Class of the error.
    pub kind: Kind,
    /// Stable lower_snake_case code that clients may match on.
    pub code: Cow<'static, str>,
    /// Sentence for people; says the remedy where there is one.
    pub message: Cow<'static, str>,
    /// Request parameter at fault, e.g. `items[0].quantity`.
    pub param: Option<Cow<'static, str>>,
    /// Machine-readable extras, a JSON object.
    pub details: Option<Box<serde_json::Value>>,
    /// How long to wait before trying again, in milliseconds.
    pub retry_after_ms: Option<u64>,
    /// What caused it; logged, never sent.
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// Result with the shared error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

macro_rules! constructors {
    ($($name:ident => $kind:ident),* $(,)?) => {
        $(
            #[doc = concat!("Makes an error of kind `", stringify!($name), "`.")]
            pub fn $name(code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
                Self::new(Kind::$kind, code, message)
            }
        )*
    };
}

impl Error {
    /// Makes an error from its three required parts.
    pub fn new(kind: Kind, code: impl Into<Cow<'static, str>>, message: impl Into<Cow<'static, str>>) -> Self {
        Error {
            kind,
            code: code.into(),
            message: message.into(),
            param: None,
            details: None,
            retry_after_ms: None,
            source: None,
        }
    }

    constructors! {
        invalid => Invalid, unauthenticated => Unauthenticated, payment_failed => PaymentFailed, forbidden => Forbidden,
        not_found => NotFound, conflict => Conflict, gone => Gone, precondition => Precondition, refused => Refused,
        too_many => TooMany, internal => Internal, unavailable => Unavailable, deadline => Deadline,
    }

    /// Names the request parameter at fault.
    pub fn param(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Adds machine-readable extras (a JSON object).
    pub fn details(mut self, details: serde_json::Value) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// Says how long to wait before trying again.
    pub fn retry_after_ms(mut self, ms: u64) -> Self {
        self.retry_after_ms = Some(ms);
        self
    }

    /// Keeps the cause for the log.
    pub fn source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Tells whether the same call may succeed later although nothing is changed.
    pub fn is_retryable(&self) -> bool {
        matches!(self.kind, Kind::Unavailable | Kind::Deadline)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind.as_str(), self.code, self.message)?;
        if let Some(param) = &self.param {
            write!(f, " ({param})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_parses_its_own_name() {
        for kind in KINDS {
            assert_eq!(Kind::parse(kind.as_str()), Some(kind));
        }
        assert_eq!(Kind::parse("nonsense"), None);
    }
}
