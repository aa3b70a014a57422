//! Limits of the edge.

use std::time::Duration;

use mallard_rpc::SlowCalls;

use super::CopiesConfig;
use crate::addresses::Addresses;
use crate::body::{self, Patience};
use crate::canary::Canary;
use crate::concurrency;
use crate::cors::Cors;
use crate::friction;
use crate::limits::Rule;
use crate::origin::Proxies;
use crate::policy::RouteConfig;

/// Limits of the edge.
#[derive(Clone, Debug)]
pub struct EdgeConfig {
    /// Longest time from a request's head to its answer; it is the deadline of the calls made for it.
    pub timeout: Duration,
    /// The same for what shoppers read.
    pub read_timeout: Duration,
    /// Most bytes of a body.
    pub body_bytes_max: usize,
    /// How long a body may take.
    pub patience: Patience,
    /// Most headers of a request.
    pub headers_max: usize,
    /// Most bytes of their names and values.
    pub header_bytes_max: usize,
    /// Routes with limits of their own; the last word counts.
    pub routes: Vec<RouteConfig>,
    /// Whom to believe about the client.
    pub proxies: Proxies,
    /// How long browsers are told to come over TLS only, once they did, in seconds; 0 tells them nothing.
    pub hsts_max_age_s: u32,
    /// Which addresses may knock.
    pub addresses: Addresses,
    /// How often a client may ask.
    pub limits: Vec<Rule>,
    /// How many requests at once, and which are turned away.
    pub concurrency: concurrency::Settings,
    /// Pages of other origins that may call.
    pub cors: Cors,
    /// Work asked of clients on hot routes.
    pub friction: friction::Settings,
    /// Versions on trial.
    pub canaries: Vec<Canary>,
    /// Which public answers are given again, and for how long.
    pub copies: CopiesConfig,
    /// Where requests that took long are remembered.
    pub slow_calls: SlowCalls,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        EdgeConfig {
            timeout: Duration::from_secs(15),
            read_timeout: Duration::from_secs(2),
            body_bytes_max: body::BODY_BYTES_MAX,
            patience: Patience::default(),
            headers_max: 100,
            header_bytes_max: 32 * 1024,
            routes: Vec::new(),
            proxies: Proxies::default(),
            hsts_max_age_s: 31_536_000,
            addresses: Addresses::default(),
            limits: Vec::new(),
            concurrency: concurrency::Settings::default(),
            cors: Cors::default(),
            friction: friction::Settings::default(),
            canaries: Vec::new(),
            copies: CopiesConfig::default(),
            slow_calls: SlowCalls::default(),
        }
    }
}
