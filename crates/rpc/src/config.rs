//! Limits of the calls a process makes and takes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tonic::transport::{Channel, Endpoint};

/// Largest gRPC message, in bytes. Generated clients and servers set it as their decoding limit (tonic's own is 4 MiB).
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest list of headers either side accepts, in bytes: room for error details.
pub(crate) const HEADER_LIST_BYTES_MAX: u32 = 128 * 1024;

/// Limits of every call the process makes.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Deadline of a call made outside of any other, in milliseconds.
    pub deadline_default_ms: u64,
    /// Secret the processes of one cluster share; without it they trust one another's callers on loopback only.
    pub cluster_secret: String,
    /// When and how often idempotent calls are tried again.
    pub retry: RetryPolicy,
    /// Seed of balancing, jitter and span ids; unpredictable when absent.
    pub seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Config { deadline_default_ms: 10_000, cluster_secret: String::new(), retry: RetryPolicy::default(), seed: None }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("deadline_default_ms", &self.deadline_default_ms)
            .field("cluster_secret", &if self.cluster_secret.is_empty() { "" } else { "***" })
            .field("retry", &self.retry)
            .field("seed", &self.seed)
            .finish()
    }
}

/// When and how often idempotent calls are tried again.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts per call, the first included; 1 turns retries off.
    pub attempts_max: u32,
    /// Longest pause before the second attempt, in milliseconds; doubles with each further one.
    pub backoff_base_ms: u64,
    /// Longest pause before any attempt, in milliseconds.
    pub backoff_max_ms: u64,
    /// Retries allowed per hundred calls to one service.
    pub budget_percent: u32,
    /// Retries allowed on top, once.
    pub budget_reserve: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        RetryPolicy {
            attempts_max: 3,
            backoff_base_ms: 25,
            backoff_max_ms: 1_000,
            budget_percent: 10,
            budget_reserve: 10,
        }
    }
}

/// Opens the connection of an endpoint; the seam for simulated networks.
pub type Connect = Arc<dyn Fn(Endpoint) -> Channel + Send + Sync>;

/// Limits of the connections to one remote service.
#[derive(Clone)]
pub struct Policy {
    /// Longest wait for a connection.
    pub connect_timeout: Duration,
    /// Pause between HTTP/2 pings, also while idle: without them a healed partition is never noticed.
    pub keep_alive_interval: Duration,
    /// Longest wait for the answer to a ping.
    pub keep_alive_timeout: Duration,
    /// When an endpoint is left out, and for how long.
    pub breaker: BreakerPolicy,
    /// How connections are opened; TCP when absent.
    pub connect: Option<Connect>,
}

impl Default for Policy {
    fn default() -> Self {
        Policy {
            connect_timeout: Duration::from_secs(1),
            keep_alive_interval: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(2),
            breaker: BreakerPolicy::default(),
            connect: None,
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("connect_timeout", &self.connect_timeout)
            .field("keep_alive_interval", &self.keep_alive_interval)
            .field("keep_alive_timeout", &self.keep_alive_timeout)
            .field("breaker", &self.breaker)
            .field("connect", &self.connect.as_ref().map(|_| "custom"))
            .finish()
    }
}

/// When an endpoint is left out of balancing, and for how long.
#[derive(Clone, Debug)]
pub struct BreakerPolicy {
    /// How far back outcomes count.
    pub window: Duration,
    /// Failures per hundred calls in the window that open the breaker.
    pub failure_percent: u32,
    /// Calls in the window below which the percentage means nothing.
    pub calls_min: u32,
    /// Failures in a row that open the breaker whatever the percentage.
    pub consecutive_max: u32,
    /// First pause before an open breaker lets probes through; doubles each time they fail.
    pub open_min: Duration,
    /// Longest such pause.
    pub open_max: Duration,
    /// Calls let through to decide whether to close again.
    pub probes: u32,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        BreakerPolicy {
            window: Duration::from_secs(10),
            failure_percent: 50,
            calls_min: 20,
            consecutive_max: 5,
            open_min: Duration::from_millis(500),
            open_max: Duration::from_secs(2),
            probes: 3,
        }
    }
}
