//! What an edge has let in and what it has turned away, in numbers.

/// A rate limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Name of the rule.
    pub name: String,
    /// What it says, e.g. `12 per 60 s, burst 20, by address`.
    pub rule: String,
    /// Requests it let pass.
    pub allowed: u64,
    /// Requests it refused.
    pub limited: u64,
    /// Keys it remembers.
    pub keys: u64,
}

/// A tier of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierState {
    /// `pay`, `order`, `cart`, `browse` or `assistant`.
    pub name: &'static str,
    /// Requests that were let in.
    pub admitted: u64,
    /// Requests that were told to come back.
    pub shed: u64,
}

/// What an edge does at present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Rate limits, in order of the configuration.
    pub rate_limits: Vec<RateLimit>,
    /// Tiers, the last to be shed first.
    pub tiers: Vec<TierState>,
    /// Requests under way.
    pub in_flight: u64,
    /// Requests the edge takes at once at present.
    pub limit: u64,
}
