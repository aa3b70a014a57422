//! What may be different for each service that is called.

use std::fmt;
use std::time::Duration;

use mallard_types::Result;
use serde::Deserialize;

use super::{Checks, Connect, RetryPolicy, bad};

/// How one of several endpoints is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Of two endpoints drawn at random, the one with the lower load: moving average of answer times, times the calls
    /// under way. Weights are respected.
    #[default]
    P2c,
    /// One after the other, whatever their weight.
    RoundRobin,
    /// One after the other in proportion to their weights, evenly mixed; one that fails gets less for a while.
    WeightedRoundRobin,
    /// The endpoint with the fewest calls under way for its weight.
    LeastConnections,
    /// The same endpoint for the same client address.
    IpHash,
    /// The same endpoint for the same key (`hash_on`), unless it has much more to do than the others.
    ConsistentHash,
}

/// What the same endpoint is chosen for. When the call does not have it, the next of user, session and address that it
/// has counts instead; without any of them the choice is random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashOn {
    /// The signed-in user.
    #[default]
    User,
    /// The client's network address.
    Address,
    /// The session of the token.
    Session,
}

/// Limits of the calls and connections to one remote service.
#[derive(Clone)]
pub struct Policy {
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// What the same endpoint is chosen for, with [`Balance::ConsistentHash`].
    pub hash_on: HashOn,
    /// Calls under way an endpoint may have before its keys go elsewhere, in percent of its fair share.
    pub hash_balance_percent: u32,
    /// Time in which an endpoint that joined later comes to its full share; zero gives it at once.
    pub slow_start: Duration,
    /// Largest share of the endpoints, rounded down, that is left out although it answers: for failing or for slow
    /// answers. Endpoints that do not answer at all are left out beyond it. With the usual 50 % the only endpoint of a
    /// service is left out for silence alone.
    pub ejection_max_percent: u32,
    /// Version of the endpoints for calls that ask for none; any endpoint when absent.
    pub stable_version: Option<String>,
    /// Zone whose endpoints are preferred while at least half of them are well; empty for none.
    pub zone: String,
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
            balance: Balance::default(),
            hash_on: HashOn::default(),
            hash_balance_percent: 125,
            slow_start: Duration::from_secs(10),
            ejection_max_percent: 50,
            stable_version: None,
            zone: String::new(),
            connect_timeout: Duration::from_secs(1),
            keep_alive_interval: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(2),
            breaker: BreakerPolicy::default(),
            connect: None,
        }
    }
}

impl Policy {
    pub(super) fn validate(&self, at: &str) -> Result<()> {
        let checks = Checks(at);
        checks.range("hash_balance_percent", self.hash_balance_percent, 100, 1_000)?;
        checks.range("slow_start_ms", ms(self.slow_start), 0, 600_000)?;
        checks.range("ejection_max_percent", self.ejection_max_percent, 0, 100)?;
        checks.range("connect_timeout_ms", ms(self.connect_timeout), 1, 60_000)?;
        checks.range("keep_alive_interval_ms", ms(self.keep_alive_interval), 1, 600_000)?;
        checks.range("keep_alive_timeout_ms", ms(self.keep_alive_timeout), 1, 600_000)?;
        self.breaker.validate(&format!("{at}.breaker"))
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("balance", &self.balance)
            .field("hash_on", &self.hash_on)
            .field("hash_balance_percent", &self.hash_balance_percent)
            .field("slow_start", &self.slow_start)
            .field("ejection_max_percent", &self.ejection_max_percent)
            .field("stable_version", &self.stable_version)
            .field("zone", &self.zone)
            .field("connect_timeout", &self.connect_timeout)
            .field("keep_alive_interval", &self.keep_alive_interval)
            .field("keep_alive_timeout", &self.keep_alive_timeout)
            .field("breaker", &self.breaker)
            .field("connect", &self.connect.as_ref().map(|_| "custom"))
            .finish()
    }
}

/// When a breaker opens, and for how long.
#[derive(Clone, Debug)]
pub struct BreakerPolicy {
    /// How far back outcomes count.
    pub window: Duration,
    /// Failures per hundred calls in the window that open the breaker.
    pub failure_percent: u32,
    /// Calls in the window below which the percentages mean nothing.
    pub calls_min: u32,
    /// Calls in a row that failed, or were not answered, that open the breaker whatever the percentage.
    pub consecutive_max: u32,
    /// Answer time from which a call is slow; zero for none.
    pub slow: Duration,
    /// Slow calls per hundred in the window that open the breaker; 0 for never.
    pub slow_percent: u32,
    /// First pause before an open breaker lets probes through; doubles each time they fail.
    pub open_min: Duration,
    /// Longest such pause.
    pub open_max: Duration,
    /// Largest part of a pause that is left out at random, in percent.
    pub jitter_percent: u32,
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
            slow: Duration::ZERO,
            slow_percent: 0,
            open_min: Duration::from_millis(500),
            open_max: Duration::from_secs(2),
            jitter_percent: 20,
            probes: 3,
        }
    }
}

impl BreakerPolicy {
    pub(super) fn validate(&self, at: &str) -> Result<()> {
        let checks = Checks(at);
        checks.range("window_ms", ms(self.window), 100, 600_000)?;
        checks.range("failure_percent", self.failure_percent, 1, 100)?;
        checks.range("calls_min", self.calls_min, 1, 1_000_000)?;
        checks.range("consecutive_max", self.consecutive_max, 1, 1_000_000)?;
        checks.range("slow_ms", ms(self.slow), 0, 600_000)?;
        checks.range("slow_percent", self.slow_percent, 0, 100)?;
        if self.slow_percent > 0 && self.slow.is_zero() {
            let what = format!("is {}, but slow_ms is not set: say from when on a call is slow", self.slow_percent);
            return Err(bad(&format!("{at}.slow_percent"), &what));
        }
        checks.range("open_min_ms", ms(self.open_min), 1, 600_000)?;
        checks.range("open_max_ms", ms(self.open_max), ms(self.open_min), 600_000)?;
        checks.range("jitter_percent", self.jitter_percent, 0, 100)?;
        checks.range("probes", self.probes, 1, 1_000)
    }
}

/// Settings of a breaker, as written in a configuration: what is absent is as elsewhere.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerSettings {
    /// [`BreakerPolicy::window`], in milliseconds.
    pub window_ms: Option<u64>,
    /// [`BreakerPolicy::failure_percent`].
    pub failure_percent: Option<u32>,
    /// [`BreakerPolicy::calls_min`].
    pub calls_min: Option<u32>,
    /// [`BreakerPolicy::consecutive_max`].
    pub consecutive_max: Option<u32>,
    /// [`BreakerPolicy::slow`], in milliseconds.
    pub slow_ms: Option<u64>,
    /// [`BreakerPolicy::slow_percent`].
    pub slow_percent: Option<u32>,
    /// [`BreakerPolicy::open_min`], in milliseconds.
    pub open_min_ms: Option<u64>,
    /// [`BreakerPolicy::open_max`], in milliseconds.
    pub open_max_ms: Option<u64>,
    /// [`BreakerPolicy::jitter_percent`].
    pub jitter_percent: Option<u32>,
    /// [`BreakerPolicy::probes`].
    pub probes: Option<u32>,
}

impl BreakerSettings {
    /// Changes what is set.
    pub(super) fn apply(&self, policy: &mut BreakerPolicy) {
        set_ms(&mut policy.window, self.window_ms);
        set(&mut policy.failure_percent, self.failure_percent);
        set(&mut policy.calls_min, self.calls_min);
        set(&mut policy.consecutive_max, self.consecutive_max);
        set_ms(&mut policy.slow, self.slow_ms);
        set(&mut policy.slow_percent, self.slow_percent);
        set_ms(&mut policy.open_min, self.open_min_ms);
        set_ms(&mut policy.open_max, self.open_max_ms);
        set(&mut policy.jitter_percent, self.jitter_percent);
        set(&mut policy.probes, self.probes);
    }

    /// Returns the built-in policy with what is set.
    pub(crate) fn policy(&self) -> BreakerPolicy {
        let mut policy = BreakerPolicy::default();
        self.apply(&mut policy);
        policy
    }
}

/// Settings of retries, as written for a service: what is absent is as in `[rpc] retry`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetrySettings {
    /// [`RetryPolicy::attempts_max`].
    pub attempts_max: Option<u32>,
    /// [`RetryPolicy::backoff_base_ms`].
    pub backoff_base_ms: Option<u64>,
    /// [`RetryPolicy::backoff_max_ms`].
    pub backoff_max_ms: Option<u64>,
    /// [`RetryPolicy::budget_percent`].
    pub budget_percent: Option<u32>,
    /// [`RetryPolicy::budget_reserve`].
    pub budget_reserve: Option<u32>,
}

impl RetrySettings {
    pub(super) fn apply(&self, policy: &mut RetryPolicy) {
        set(&mut policy.attempts_max, self.attempts_max);
        set(&mut policy.backoff_base_ms, self.backoff_base_ms);
        set(&mut policy.backoff_max_ms, self.backoff_max_ms);
        set(&mut policy.budget_percent, self.budget_percent);
        set(&mut policy.budget_reserve, self.budget_reserve);
    }
}

/// Settings of the calls to one service, as written in a configuration: what is absent is as in `default`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServicePolicy {
    /// [`Policy::balance`].
    pub balance: Option<Balance>,
    /// [`Policy::hash_on`].
    pub hash_on: Option<HashOn>,
    /// [`Policy::hash_balance_percent`].
    pub hash_balance_percent: Option<u32>,
    /// [`Policy::slow_start`], in milliseconds.
    pub slow_start_ms: Option<u64>,
    /// [`Policy::ejection_max_percent`].
    pub ejection_max_percent: Option<u32>,
    /// [`Policy::stable_version`]; empty for none.
    pub stable_version: Option<String>,
    /// [`Policy::connect_timeout`], in milliseconds.
    pub connect_timeout_ms: Option<u64>,
    /// [`Policy::keep_alive_interval`], in milliseconds.
    pub keep_alive_interval_ms: Option<u64>,
    /// [`Policy::keep_alive_timeout`], in milliseconds.
    pub keep_alive_timeout_ms: Option<u64>,
    /// Breaker of each endpoint.
    pub breaker: BreakerSettings,
    /// Retries, and the budget of the service.
    pub retry: RetrySettings,
}

impl ServicePolicy {
    /// Changes what is set.
    pub(super) fn apply(&self, policy: &mut Policy) {
        set(&mut policy.balance, self.balance);
        set(&mut policy.hash_on, self.hash_on);
        set(&mut policy.hash_balance_percent, self.hash_balance_percent);
        set_ms(&mut policy.slow_start, self.slow_start_ms);
        set(&mut policy.ejection_max_percent, self.ejection_max_percent);
        if let Some(version) = &self.stable_version {
            policy.stable_version = Some(version.clone()).filter(|version| !version.is_empty());
        }
        set_ms(&mut policy.connect_timeout, self.connect_timeout_ms);
        set_ms(&mut policy.keep_alive_interval, self.keep_alive_interval_ms);
        set_ms(&mut policy.keep_alive_timeout, self.keep_alive_timeout_ms);
        self.breaker.apply(&mut policy.breaker);
    }
}

fn set<T: Copy>(value: &mut T, new: Option<T>) {
    if let Some(new) = new {
        *value = new;
    }
}

fn set_ms(value: &mut Duration, ms: Option<u64>) {
    set(value, ms.map(Duration::from_millis));
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
