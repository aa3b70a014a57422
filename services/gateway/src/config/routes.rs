//! What holds for single routes: `[[gateway.routes]]`, `[gateway.friction]`, `[[gateway.canary]]`.

use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;
use mallard_gateway_core::canary;
use mallard_gateway_core::friction::{self, DIFFICULTY_BITS_MAX};
use mallard_gateway_core::policy::RouteConfig;
use serde::Deserialize;

/// Fewest characters of a secret.
const SECRET_CHARS_MIN: usize = 16;
/// Longest time for any request, in milliseconds: an idempotency key is held for a minute.
pub const TIMEOUT_MS_MAX: u64 = 600_000;

/// Limits of its own for a route.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Path template as in the contract, or a beginning followed by `*`; with a verb in front only that verb.
    pub path: String,
    /// Longest time for a request, in milliseconds; the route is then no measure of the load.
    #[serde(default)]
    pub timeout_ms: Option<u64>,
    /// Most bytes of a body.
    #[serde(default)]
    pub body_bytes_max: Option<usize>,
}

impl Route {
    /// Returns what the edge takes.
    ///
    /// # Errors
    /// Text naming the key.
    pub fn settings(&self, index: usize) -> Result<RouteConfig, String> {
        if let Some(ms) = self.timeout_ms.filter(|ms| !(1..=TIMEOUT_MS_MAX).contains(ms)) {
            return Err(format!(
                "gateway.routes[{index}].timeout_ms: must be between 1 and {TIMEOUT_MS_MAX}, not {ms}"
            ));
        }
        if self.body_bytes_max == Some(0) {
            return Err(format!("gateway.routes[{index}].body_bytes_max: must be at least 1, not 0"));
        }
        if self.timeout_ms.is_none() && self.body_bytes_max.is_none() {
            let path = &self.path;
            return Err(format!(
                "gateway.routes[{index}]: {path} has neither timeout_ms nor body_bytes_max; set one of them"
            ));
        }
        Ok(RouteConfig {
            path: self.path.clone(),
            timeout: self.timeout_ms.map(Duration::from_millis),
            body_bytes_max: self.body_bytes_max,
        })
    }
}

/// Work asked of clients on hot routes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Friction {
    /// Path templates as in the contract, or beginnings followed by `*`, with or without a verb in front; none switches it off.
    pub routes: Vec<String>,
    /// Zero bits that a hash must begin with.
    pub difficulty_bits: u32,
    /// How long a challenge is good, in seconds.
    pub lifetime_s: u32,
    /// Secret that gateways share to take each other's challenges; each has its own when it is empty.
    pub secret: String,
    /// Most spent proofs remembered.
    pub spent_max: usize,
}

impl Default for Friction {
    fn default() -> Self {
        let friction::Settings { difficulty_bits, lifetime_s, spent_max, .. } = friction::Settings::default();
        Friction { routes: Vec::new(), difficulty_bits, lifetime_s, secret: String::new(), spent_max }
    }
}

impl Friction {
    /// Returns what the edge takes; `own_secret` is for a gateway that shares none.
    ///
    /// # Errors
    /// Text naming the key.
    pub fn settings(&self, own_secret: [u8; 32]) -> Result<friction::Settings, String> {
        let wrong = |key: &str, why: String| Err(format!("gateway.friction.{key}: {why}"));
        if self.difficulty_bits > DIFFICULTY_BITS_MAX {
            return wrong("difficulty_bits", format!("must be at most {DIFFICULTY_BITS_MAX}"));
        }
        if self.lifetime_s == 0 || self.spent_max == 0 {
            return wrong("lifetime_s", "lifetime_s and spent_max must be at least 1".to_owned());
        }
        if !self.secret.is_empty() && self.secret.len() < SECRET_CHARS_MIN {
            return wrong("secret", format!("must have at least {SECRET_CHARS_MIN} characters"));
        }
        let secret = if self.secret.is_empty() { own_secret.to_vec() } else { self.secret.clone().into_bytes() };
        Ok(friction::Settings {
            routes: self.routes.clone(),
            difficulty_bits: self.difficulty_bits,
            lifetime_s: self.lifetime_s,
            secret,
            spent_max: self.spent_max,
        })
    }
}

/// A version of a service on trial.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    /// Service, e.g. `order`.
    pub service: String,
    /// Version, e.g. `v2`.
    pub version: String,
    /// Header that asks for it by a value of `v2` or `order=v2`; empty: nobody may ask.
    #[serde(default)]
    pub header: String,
    /// Part of the clients that get it without asking.
    #[serde(default)]
    pub weight_percent: f64,
}

impl Canary {
    /// Returns what the edge takes.
    ///
    /// # Errors
    /// Text naming the key.
    pub fn settings(&self, index: usize, services: &[&str]) -> Result<canary::Canary, String> {
        let key = |name: &str| format!("gateway.canary[{index}].{name}");
        if !services.contains(&self.service.as_str()) {
            return Err(format!("{}: there is no service {:?}", key("service"), self.service));
        }
        let shaped = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        if self.version.is_empty() || !self.version.chars().all(shaped) {
            return Err(format!("{}: must be letters, digits, _, - or .", key("version")));
        }
        let header = match self.header.as_str() {
            "" => None,
            name => Some(HeaderName::try_from(name).map_err(|_| format!("{}: {name:?} is no header", key("header")))?),
        };
        let percent = self.weight_percent;
        let weight = canary::weight(percent)
            .ok_or_else(|| format!("{}: must be between 0 and 100, not {percent}", key("weight_percent")))?;
        if header.is_none() && weight == 0 {
            return Err(format!(
                "gateway.canary[{index}]: neither header nor weight_percent lets anybody to {:?}; set one of them, the weight to at \
                 least 0.01",
                self.version
            ));
        }
        Ok(canary::Canary { service: self.service.clone(), version: self.version.clone(), header, weight })
    }
}

/// Returns what the edge takes.
///
/// # Errors
/// Text naming the key.
pub fn canaries(list: &[Canary], services: &[&str]) -> Result<Vec<canary::Canary>, String> {
    let mut percents = BTreeMap::new();
    let mut canaries = Vec::new();
    for (index, canary) in list.iter().enumerate() {
        canaries.push(canary.settings(index, services)?);
        *percents.entry(&canary.service).or_insert(0.0) += canary.weight_percent;
    }
    // Sums of decimal fractions are not exact.
    match percents.iter().find(|(_, percent)| **percent > 100.001) {
        Some((service, percent)) => {
            Err(format!("gateway.canary: the weight_percent of {service:?} add up to {percent}; they may to 100"))
        }
        None => Ok(canaries),
    }
}
