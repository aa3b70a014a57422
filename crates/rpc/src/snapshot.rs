//! What a process knows of the services it calls, for the page an operator looks at.

use std::time::Duration;

/// An endpoint of a service as this process sees it. What of several processes lies behind one address is its own affair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointState {
    /// Service that is called.
    pub service: String,
    /// `local`, or `http://host:port`.
    pub endpoint: String,
    /// Version it says it has; empty when it does not say.
    pub version: String,
    /// Zone it says it is in; empty when it does not say.
    pub zone: String,
    /// Share of the calls in proportion to the other endpoints.
    pub weight: u32,
    /// `closed` (used), `open` (left out), `half_open` (being tried).
    pub state: &'static str,
    /// Why it was last opened; empty when it never was.
    pub reason: String,
    /// Calls in the window; of a half-open one, the probes.
    pub calls: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Those of them that were too slow.
    pub slow: u64,
    /// Calls under way.
    pub in_flight: u64,
    /// Average of answer times in microseconds: moving over the good calls of a remote endpoint, plain over the window of
    /// a local one.
    pub average_us: u64,
    /// Time until an open one lets the next probe through.
    pub open_for: Option<Duration>,
    /// Times it was opened.
    pub opened: u64,
}

/// What a method with policies of its own has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodState {
    /// Service that is called.
    pub service: String,
    /// Method, e.g. `GetProduct`.
    pub method: String,
    /// Breaker of the method: `closed` (also where there is none), `open`, `half_open`.
    pub state: &'static str,
    /// Why it was last opened; empty when it never was.
    pub reason: String,
    /// Calls since the start of the process.
    pub calls: u64,
    /// Further attempts after failed ones.
    pub retries: u64,
    /// Further attempts beside slow ones.
    pub hedges: u64,
    /// Calls answered by the fallback.
    pub fallbacks: u64,
    /// Calls refused because too many were under way.
    pub rejected: u64,
    /// The policy in words, e.g. `retry 3, hedge after 50 ms, fallback last_good`.
    pub policy: String,
}

/// The services a process calls, in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Every endpoint of every service that is mounted.
    pub endpoints: Vec<EndpointState>,
    /// Every method that has policies.
    pub methods: Vec<MethodState>,
}
