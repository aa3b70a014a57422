//! One request on its way through the edge, and what it gathers that shows in its answer.

use http::header::STRICT_TRANSPORT_SECURITY;
use http::{HeaderMap, HeaderName, HeaderValue};
use mallard_rpc::Trace;
use mallard_types::Error;
use tokio::time::Instant;

use super::EdgeConfig;
use crate::canary::CANARY;
use crate::concurrency::OVERLOADED;
use crate::limits::Standing;
use crate::origin::Client;

/// Header of an answer that says why a request was shed.
const SHED: HeaderName = HeaderName::from_static("x-mallard-shed");

/// A request on its way.
pub(super) struct Visit {
    pub started: Instant,
    pub client: Client,
    pub request_id: String,
    pub trace: Trace,
    /// How near the client is to its rate limits.
    pub standing: Option<Standing>,
    /// Versions chosen for it.
    pub canary: Option<HeaderValue>,
    /// It was turned away before any work was done for it.
    pub turned_away: bool,
    /// Its body is on its way: what time passes now is the client's.
    pub awaits_body: bool,
    /// Why there was no place for it.
    shed: Option<HeaderValue>,
}

impl Visit {
    pub fn new(client: Client, request_id: String, trace: Trace) -> Visit {
        Visit {
            started: Instant::now(),
            client,
            request_id,
            trace,
            standing: None,
            canary: None,
            turned_away: false,
            awaits_body: false,
            shed: None,
        }
    }

    /// Marks a request that the edge itself refuses. It has metrics of its own, so that nobody counts it as served.
    pub fn turn_away(&mut self, error: Error) -> Error {
        self.turned_away = true;
        if error.code == OVERLOADED {
            let reason = error.details.as_deref().and_then(|details| details["reason"].as_str());
            self.shed = reason.and_then(|reason| HeaderValue::from_str(reason).ok());
        }
        metrics::counter!("mallard_edge_refused_total", "code" => error.code.to_string()).increment(1);
        error
    }

    /// Writes what was gathered into the answer.
    pub fn write(&self, config: &EdgeConfig, headers: &mut HeaderMap) {
        if let Some(standing) = &self.standing {
            standing.write(headers);
        }
        if let Some(reason) = &self.shed {
            headers.insert(SHED, reason.clone());
        }
        if let Some(canary) = &self.canary {
            headers.insert(CANARY, canary.clone());
        }
        // Over a connection in the clear the header means nothing (RFC 6797, 8.1).
        if self.client.secure && config.hsts_max_age_s > 0 {
            let value = HeaderValue::from_str(&format!("max-age={}", config.hsts_max_age_s));
            value.into_iter().for_each(|value| _ = headers.insert(STRICT_TRANSPORT_SECURITY, value));
        }
    }
}
