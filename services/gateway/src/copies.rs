//! Copies of public answers: their settings, and the events that end them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mallard_bus::{Envelope, Handler};
use mallard_cache::copies::{Bounds, Freshness};
use mallard_gateway_core::{CopiesConfig, Edge};
use serde::Deserialize;

/// Pause before a service that did not answer is asked for the same copy again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Services whose public answers depend on path, query and language only. Others say something of who asks, such as a cart.
const SERVICES: [&str; 1] = ["catalog"];

/// Section `[gateway.copies]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Services whose public answers are given again, of those where that is safe: `catalog`; none switches it off.
    pub services: Vec<String>,
    /// A copy younger than this is served as it is, in milliseconds.
    pub fresh_ms: u64,
    /// For this long after that it is served while it is renewed, in milliseconds. The two and `catalog.shared_trust_ms`
    /// together are the longest a changed price can be hidden without an event, so they stay below a second.
    pub stale_ms: u64,
    /// A copy up to this age is served, and marked, when its service does not answer, in milliseconds.
    pub stale_if_error_ms: u64,
    /// Longest wait for a service before such a copy is served, in milliseconds.
    pub wait_ms: u64,
    /// Longest load of a copy, in milliseconds.
    pub load_timeout_ms: u64,
    /// Most copies.
    pub entries_max: usize,
    /// Most bytes of all copies.
    pub bytes_max: usize,
    /// Larger answers are not kept, in bytes.
    pub answer_bytes_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            services: vec!["catalog".to_owned()],
            fresh_ms: 250,
            stale_ms: 350,
            stale_if_error_ms: 60_000,
            wait_ms: 1_000,
            load_timeout_ms: 5_000,
            entries_max: 16_384,
            bytes_max: 64 << 20,
            answer_bytes_max: 256 << 10,
        }
    }
}

impl Settings {
    /// Returns what the edge takes.
    ///
    /// # Errors
    /// Text naming the key.
    pub fn config(&self) -> Result<CopiesConfig, String> {
        if let Some(service) = self.services.iter().find(|service| !SERVICES.contains(&service.as_str())) {
            return Err(format!(
                "gateway.copies.services: {service:?} has no public answers that are the same for everybody; may be {}",
                SERVICES.join(", ")
            ));
        }
        if self.load_timeout_ms == 0 {
            return Err("gateway.copies.load_timeout_ms: must be at least 1, not 0".to_owned());
        }
        Ok(CopiesConfig {
            services: self.services.clone(),
            freshness: Freshness {
                fresh: Duration::from_millis(self.fresh_ms),
                stale: Duration::from_millis(self.stale_ms),
                on_error: Duration::from_millis(self.stale_if_error_ms),
                wait: Duration::from_millis(self.wait_ms),
                retry_pause: RETRY_PAUSE,
            },
            load_timeout: Duration::from_millis(self.load_timeout_ms),
            bounds: Bounds { entries_max: self.entries_max, bytes_max: self.bytes_max },
            answer_bytes_max: self.answer_bytes_max,
        })
    }
}

/// Ends the copies of a product that changed, and of every list.
pub struct ProductChanged(Arc<Edge>);

impl ProductChanged {
    /// Makes the handler.
    pub fn new(edge: Arc<Edge>) -> ProductChanged {
        ProductChanged(edge)
    }
}

#[async_trait]
impl Handler for ProductChanged {
    async fn after(&self, event: &Envelope) {
        // The key is the product.
        self.0.copies().changed("catalog", &event.key);
    }
}
