//! Rate limits, `[[gateway.limits]]`.

use std::time::Duration;

use mallard_gateway_core::limits::{By, Rule, WhenUnknown};
use mallard_gateway_core::tiers::{self, TIERS};
use mallard_rpc::Surface;
use serde::Deserialize;

/// Most keys that a rule may remember: about 400 MB.
const KEYS_MAX: usize = 10_000_000;
const VERBS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

/// A rate limit.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// Name in answers and metrics.
    pub name: String,
    /// Path templates as in the contract, or beginnings followed by `*`, with or without a verb in front; empty means all.
    #[serde(default)]
    pub routes: Vec<String>,
    /// Verbs; empty means all.
    #[serde(default)]
    pub verbs: Vec<String>,
    /// `store`, `auth`, `seller` or `admin`; all when left out.
    #[serde(default)]
    pub surface: Option<String>,
    /// `pay`, `order`, `cart`, `browse` or `assistant`; all when left out.
    #[serde(default)]
    pub tier: Option<String>,
    /// Whose requests count together: `address`, `address_prefix`, `user`, `session`, `key` or `route`.
    pub by: String,
    /// Requests per `per_s`.
    pub rate: u32,
    /// Seconds.
    #[serde(default = "one_second")]
    pub per_s: u32,
    /// Requests that may come at once after a pause; the rate when left out.
    #[serde(default)]
    pub burst: Option<u32>,
    /// `open` or `closed`: what becomes of a request whose key is missing, or one too many to be remembered.
    #[serde(default = "open")]
    pub when_unknown: String,
    /// Most keys remembered.
    #[serde(default = "keys_max")]
    pub keys_max: usize,
}

fn one_second() -> u32 {
    1
}

fn open() -> String {
    "open".to_owned()
}

fn keys_max() -> usize {
    100_000
}

/// Returns the limits of a mall that says nothing of its own: generous, because a whole office may share an address.
pub fn defaults() -> Vec<Limit> {
    let limit = |name: &str, routes: &[&str], by: &str, burst| Limit {
        name: name.to_owned(),
        routes: routes.iter().map(|route| (*route).to_owned()).collect(),
        verbs: vec!["POST".to_owned()],
        surface: None,
        tier: None,
        by: by.to_owned(),
        rate: 100,
        per_s: 1,
        burst: Some(burst),
        when_unknown: open(),
        keys_max: keys_max(),
    };
    let doors =
        ["/auth/v1/login", "/auth/v1/register", "/auth/v1/reauthenticate", "/auth/v1/password", "/auth/v1/refresh"];
    vec![
        limit("sign_in", &doors, "address", 3_000),
        limit("buy", &["/store/v1/orders", "/store/v1/orders/{id}/pay"], "user", 300),
    ]
}

impl Limit {
    /// Returns the rule.
    ///
    /// # Errors
    /// Text naming the key.
    pub fn rule(&self, index: usize) -> Result<Rule, String> {
        let key = |name: &str| format!("gateway.limits[{index}].{name}");
        let shaped = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if self.name.is_empty() || self.name.len() > 64 || !self.name.chars().all(shaped) {
            return Err(format!("{}: must be 1 to 64 letters, digits, _, - or .", key("name")));
        }
        if let Some(verb) = self.verbs.iter().find(|verb| !VERBS.contains(&verb.as_str())) {
            return Err(format!("{}: {verb:?} is none of {}", key("verbs"), VERBS.join(", ")));
        }
        if self.rate == 0 || self.per_s == 0 || self.burst == Some(0) {
            return Err(format!("{}: rate, per_s and burst must be at least 1", key("rate")));
        }
        if !(1..=KEYS_MAX).contains(&self.keys_max) {
            return Err(format!("{}: must be between 1 and {KEYS_MAX}", key("keys_max")));
        }
        let by = match self.by.as_str() {
            "address" => By::Address,
            "address_prefix" => By::AddressPrefix,
            "user" => By::User,
            "session" => By::Session,
            "key" => By::Key,
            "route" => By::Route,
            other => return Err(format!("{}: {other:?} is no key to count by", key("by"))),
        };
        let when_unknown = match self.when_unknown.as_str() {
            "open" => WhenUnknown::Open,
            "closed" => WhenUnknown::Closed,
            other => return Err(format!("{}: must be open or closed, not {other:?}", key("when_unknown"))),
        };
        let surface = match self.surface.as_deref() {
            None => None,
            Some("store") => Some(Surface::Store),
            Some("auth") => Some(Surface::Auth),
            Some("seller") => Some(Surface::Seller),
            Some("admin") => Some(Surface::Admin),
            Some(other) => return Err(format!("{}: there is no surface {other:?}", key("surface"))),
        };
        let tier = match self.tier.as_deref() {
            None => None,
            Some(name) => match TIERS.into_iter().find(|tier| tiers::name(*tier) == name) {
                Some(tier) => Some(tier),
                None => return Err(format!("{}: there is no tier {name:?}", key("tier"))),
            },
        };
        Ok(Rule {
            name: self.name.clone(),
            routes: self.routes.clone(),
            verbs: self.verbs.clone(),
            surface,
            tier,
            by,
            rate: self.rate,
            window: Duration::from_secs(self.per_s.into()),
            burst: self.burst.unwrap_or(self.rate),
            when_unknown,
            keys_max: self.keys_max,
        })
    }
}
