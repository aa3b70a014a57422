//! Limits and policies of the calls a process makes and takes.

mod method;
mod service;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mallard_types::{Error, Result};
use serde::{Deserialize, Deserializer, de};
use tonic::transport::{Channel, Endpoint};

use crate::slow::SLOW_CALL_MS;

pub use self::method::{Fallback, KnownMethod, MethodPolicy, MethodRetry};
pub use self::service::{Balance, BreakerPolicy, BreakerSettings, HashOn, Policy, RetrySettings, ServicePolicy};

/// Largest gRPC message, in bytes. Generated clients and servers set it as their decoding limit (tonic's own is 4 MiB).
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Largest list of headers either side accepts, in bytes: room for error details.
pub(crate) const HEADER_LIST_BYTES_MAX: u32 = 128 * 1024;

/// Key of `services` whose settings hold for every service that does not set its own.
const DEFAULT: &str = "default";

/// Limits and policies of every call the process makes. Reading one from a configuration checks it.
#[derive(Clone, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct Config {
    /// Deadline of a call made outside of any other, in milliseconds.
    pub deadline_default_ms: u64,
    /// A call that takes this long to answer, or longer, is remembered for operators, in milliseconds.
    pub slow_call_ms: u64,
    /// Secret the processes of one cluster share; without it they trust one another on loopback only.
    #[serde(skip)]
    pub cluster_secret: String,
    /// Zone of this process: endpoints of the same one are preferred. Empty when there are no zones.
    pub zone: String,
    /// When and how often idempotent calls are tried again.
    pub retry: RetryPolicy,
    /// What is different for a service, by its name; `default` is for all.
    pub services: BTreeMap<String, ServicePolicy>,
    /// What is different for a method, by service and name: `catalog.GetProduct`.
    pub methods: BTreeMap<String, MethodPolicy>,
    /// Seed of balancing, jitter and span ids; unpredictable when absent.
    #[serde(skip)]
    pub seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            deadline_default_ms: 10_000,
            slow_call_ms: SLOW_CALL_MS,
            cluster_secret: String::new(),
            zone: String::new(),
            retry: RetryPolicy::default(),
            services: BTreeMap::new(),
            methods: BTreeMap::new(),
            seed: None,
        }
    }
}

impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The derived function of the same name reads the fields.
        let config = Config::deserialize(deserializer)?;
        config.validate().map_err(|error| de::Error::custom(error.message))?;
        Ok(config)
    }
}

impl Config {
    /// Checks every value.
    ///
    /// # Errors
    /// `invalid` (`bad_rpc_config`) naming the key, its value and what it may be.
    pub fn validate(&self) -> Result<()> {
        let checks = Checks("rpc");
        checks.range("deadline_default_ms", self.deadline_default_ms, 1, 3_600_000)?;
        checks.range("slow_call_ms", self.slow_call_ms, 1, 3_600_000)?;
        self.retry.validate("rpc.retry")?;
        for name in self.services.keys() {
            let at = format!("rpc.services.{name}");
            self.retry(name).validate(&format!("{at}.retry"))?;
            self.policy(name).validate(&at)?;
        }
        for (name, method) in &self.methods {
            let at = format!("rpc.methods.\"{name}\"");
            let word =
                |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
            let Some((service, _)) = name.split_once('.').filter(|(service, method)| word(service) && word(method))
            else {
                return Err(bad(&at, "is not a service and a method, as in \"catalog.GetProduct\""));
            };
            method.validate(&at, &self.retry(service))?;
        }
        Ok(())
    }

    /// Compares what is named with what there is: the mall's `services`, and the `methods` of the contracts. Apart from
    /// [`Config::validate`], because only the composition root sees every service.
    ///
    /// # Errors
    /// `invalid` (`bad_rpc_config`) naming the key, and the names there are.
    pub fn check_names(&self, services: &[&str], methods: &[KnownMethod]) -> Result<()> {
        let no_service = |at: &str, name: &str| {
            bad(at, &format!("is of no service: there is no {name}; the services are {}", services.join(", ")))
        };
        let exists = |name: &str| services.contains(&name);
        if let Some(name) = self.services.keys().find(|name| *name != DEFAULT && !exists(name)) {
            return Err(no_service(&format!("rpc.services.{name}"), name));
        }
        for (key, policy) in &self.methods {
            let at = format!("rpc.methods.\"{key}\"");
            let (service, name) = key.split_once('.').unwrap_or((key, ""));
            if !exists(service) {
                return Err(no_service(&at, service));
            }
            let mut own = methods.iter().filter(|method| method.is_of(service));
            let Some(method) = own.clone().find(|method| method.name == name) else {
                let names: Vec<_> = own.by_ref().map(|method| method.name).collect();
                return Err(bad(&at, &format!("is no method of {service}; there are {}", names.join(", "))));
            };
            policy.check_safe(&at, method.safe)?;
        }
        Ok(())
    }

    /// Returns the policy of a service: the built-in one, changed by `services.default`, changed by its own settings.
    pub fn policy(&self, service: &str) -> Policy {
        let mut policy = Policy { zone: self.zone.clone(), ..Policy::default() };
        for settings in [DEFAULT, service].iter().filter_map(|name| self.services.get(*name)) {
            settings.apply(&mut policy);
        }
        policy
    }

    /// Returns how calls to a service are tried again.
    pub(crate) fn retry(&self, service: &str) -> RetryPolicy {
        let mut retry = self.retry.clone();
        for settings in [DEFAULT, service].iter().filter_map(|name| self.services.get(*name)) {
            settings.retry.apply(&mut retry);
        }
        retry
    }

    /// Returns the methods of a service that have a policy, by name.
    pub(crate) fn methods_of(&self, service: &str) -> impl Iterator<Item = (&str, &MethodPolicy)> {
        self.methods.iter().filter_map(move |(key, policy)| {
            let (of, name) = key.split_once('.')?;
            (of == service).then_some((name, policy))
        })
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("deadline_default_ms", &self.deadline_default_ms)
            .field("slow_call_ms", &self.slow_call_ms)
            .field("cluster_secret", &if self.cluster_secret.is_empty() { "" } else { "***" })
            .field("zone", &self.zone)
            .field("retry", &self.retry)
            .field("services", &self.services)
            .field("methods", &self.methods)
            .field("seed", &self.seed)
            .finish()
    }
}

/// When and how often idempotent calls are tried again.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RetryPolicy {
    /// Attempts per call, the first included; 1 turns retries off.
    pub attempts_max: u32,
    /// Longest pause before the second attempt, in milliseconds; doubles with each further one.
    pub backoff_base_ms: u64,
    /// Longest pause before any attempt, in milliseconds.
    pub backoff_max_ms: u64,
    /// Retries and hedges allowed per hundred calls to one service.
    pub budget_percent: u32,
    /// Retries and hedges allowed on top, once.
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

impl RetryPolicy {
    fn validate(&self, at: &str) -> Result<()> {
        let checks = Checks(at);
        checks.range("attempts_max", self.attempts_max, 1, 10)?;
        checks.range("backoff_max_ms", self.backoff_max_ms, 0, 60_000)?;
        checks.range("backoff_base_ms", self.backoff_base_ms, 0, self.backoff_max_ms)?;
        checks.range("budget_percent", self.budget_percent, 0, 100)?;
        checks.range("budget_reserve", self.budget_reserve, 0, 10_000)
    }
}

/// Opens the connection of an endpoint; the seam for simulated networks.
pub type Connect = Arc<dyn Fn(Endpoint) -> Channel + Send + Sync>;

/// Checks values below one key.
struct Checks<'a>(&'a str);

impl Checks<'_> {
    fn range(&self, key: &str, value: impl Into<u64>, min: u64, max: u64) -> Result<()> {
        let value = value.into();
        if (min..=max).contains(&value) {
            return Ok(());
        }
        Err(bad(&format!("{}.{key}", self.0), &format!("is {value}; it must be {min} to {max}")))
    }
}

fn bad(key: &str, what: &str) -> Error {
    Error::invalid("bad_rpc_config", format!("{key} {what}")).param(key.to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn read(value: serde_json::Value) -> Result<Config, String> {
        serde_json::from_value(value).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_named_exists_and_only_reads_are_hedged_or_invented() {
        let method = |service, name, safe| KnownMethod { service, name, safe };
        let methods = [
            method("order", "GetOrder", true),
            method("order", "PlaceOrder", false),
            method("cart", "GetCart", true),
            method("", "Deliver", false),
        ];
        let check = |value| {
            let refused = read(value).unwrap().check_names(&["cart", "order"], &methods).err()?;
            Some((refused.param.unwrap().to_string(), refused.message.to_string()))
        };
        let policies = json!({
            "services": { "default": {}, "order": { "balance": "round_robin" } },
            "methods": {
                "order.GetOrder": { "hedge_after_ms": 50, "fallback": "last_good" },
                "order.PlaceOrder": { "timeout_ms": 500, "fallback": "none" },
                "cart.Deliver": { "concurrency_max": 9 },
            },
        });
        assert_eq!(check(policies), None);
        for (value, at, told) in [
            (json!({ "services": { "oder": {} } }), "rpc.services.oder", "no oder; the services are cart, order"),
            (json!({ "methods": { "oder.GetOrder": {} } }), "rpc.methods.\"oder.GetOrder\"", "no oder; the services"),
            (json!({ "methods": { "default.GetOrder": {} } }), "rpc.methods.\"default.GetOrder\"", "no default;"),
            (
                json!({ "methods": { "order.GetCart": {} } }),
                "rpc.methods.\"order.GetCart\"",
                "no method of order; there are GetOrder, PlaceOrder, Deliver",
            ),
            (
                json!({ "methods": { "order.PlaceOrder": { "hedge_after_ms": 50 } } }),
                "rpc.methods.\"order.PlaceOrder\".hedge_after_ms",
                "changes nothing",
            ),
            (
                json!({ "methods": { "cart.Deliver": { "fallback": "empty" } } }),
                "rpc.methods.\"cart.Deliver\".fallback",
                "changes nothing",
            ),
        ] {
            let (param, message) = check(value.clone()).unwrap_or_else(|| panic!("{value} is taken"));
            assert_eq!(param, at);
            assert!(message.starts_with(at) && message.contains(told), "{message}");
        }
    }

    #[test]
    fn a_service_has_its_own_settings_over_those_of_all_over_the_built_in_ones() {
        let config = read(json!({
            "zone": "a",
            "retry": { "budget_percent": 20 },
            "services": {
                "default": { "balance": "round_robin", "breaker": { "probes": 5 }, "retry": { "attempts_max": 2 } },
                "catalog": {
                    "balance": "consistent_hash", "hash_on": "session", "slow_start_ms": 5, "ejection_max_percent": 30,
                    "stable_version": "v1", "breaker": { "slow_ms": 200, "slow_percent": 40 },
                    "retry": { "budget_percent": 30 },
                },
            },
        }))
        .unwrap();
        let catalog = config.policy("catalog");
        assert_eq!((catalog.balance, catalog.hash_on), (Balance::ConsistentHash, HashOn::Session));
        assert_eq!((catalog.slow_start, catalog.ejection_max_percent), (Duration::from_millis(5), 30));
        assert_eq!((&*catalog.zone, catalog.stable_version.as_deref()), ("a", Some("v1")));
        let breaker = &catalog.breaker;
        assert_eq!((breaker.probes, breaker.slow, breaker.slow_percent), (5, Duration::from_millis(200), 40));
        assert_eq!(breaker.window, BreakerPolicy::default().window);
        assert_eq!(config.policy("cart").balance, Balance::RoundRobin);
        let (catalog, cart) = (config.retry("catalog"), config.retry("cart"));
        assert_eq!((catalog.budget_percent, catalog.attempts_max), (30, 2));
        assert_eq!((cart.budget_percent, cart.attempts_max, cart.backoff_base_ms), (20, 2, 25));
        assert_eq!(Config::default().policy("cart").balance, Balance::P2c);
    }

    #[test]
    fn a_value_that_cannot_be_is_refused_by_the_name_of_its_key() {
        let service = |settings| json!({ "services": { "catalog": settings } });
        let method = |name: &str, settings| json!({ "methods": { name: settings } });
        let cases = [
            (json!({ "deadline_default_ms": 0 }), "rpc.deadline_default_ms is 0; it must be 1 to 3600000"),
            (json!({ "slow_call_ms": 0 }), "rpc.slow_call_ms is 0; it must be 1 to 3600000"),
            (json!({ "retry": { "budget_percent": 101 } }), "rpc.retry.budget_percent is 101; it must be 0 to 100"),
            (json!({ "retires": {} }), "unknown field `retires`"),
            (service(json!({ "balance": "random" })), "unknown variant `random`, expected one of `p2c`, `round_robin`"),
            (service(json!({ "hash_on": "colour" })), "unknown variant `colour`, expected one of `user`"),
            (service(json!({ "ejection_max_percent": 101 })), "rpc.services.catalog.ejection_max_percent is 101"),
            (service(json!({ "breaker": { "probes": 0 } })), "rpc.services.catalog.breaker.probes is 0"),
            (service(json!({ "breaker": { "open_min_ms": 3000 } })), "breaker.open_max_ms is 2000; it must be 3000 to"),
            (service(json!({ "breaker": { "slow_percent": 5 } })), "breaker.slow_percent is 5, but slow_ms is not set"),
            (service(json!({ "hash_balance_percent": 99 })), "rpc.services.catalog.hash_balance_percent is 99"),
            (service(json!({ "retry": { "backoff_base_ms": 2000 } })), "catalog.retry.backoff_base_ms is 2000"),
            (method("GetProduct", json!({})), "rpc.methods.\"GetProduct\" is not a service and a method"),
            (method("a.b.c", json!({})), "rpc.methods.\"a.b.c\" is not a service and a method"),
            (method("a.B", json!({ "timeout_ms": 0 })), "rpc.methods.\"a.B\".timeout_ms is 0"),
            (method("a.B", json!({ "timeout_ms": 5, "hedge_after_ms": 5 })), "hedge_after_ms is 5; it must be 1 to 4"),
            (method("a.B", json!({ "concurrency_max": 0 })), "rpc.methods.\"a.B\".concurrency_max is 0"),
            (method("a.B", json!({ "fallback": "guess" })), "unknown variant `guess`, expected one of `none`, `empty`"),
            (method("a.B", json!({ "breaker": { "calls_min": 0 } })), "rpc.methods.\"a.B\".breaker.calls_min is 0"),
            (method("a.B", json!({ "retry": { "attempts_max": 11 } })), "rpc.methods.\"a.B\".retry.attempts_max is 11"),
        ];
        for (value, expected) in cases {
            let refused = read(value.clone()).err().unwrap_or_else(|| panic!("{value} was accepted"));
            assert!(refused.contains(expected), "{value}: {refused}");
        }
    }

    #[test]
    fn an_empty_configuration_is_the_default_one_and_is_valid() {
        assert_eq!(format!("{:?}", read(json!({})).unwrap()), format!("{:?}", Config::default()));
        assert!(Config::default().validate().is_ok());
        let secret = Config { cluster_secret: "open sesame".into(), ..Config::default() };
        assert!(!format!("{secret:?}").contains("sesame"));
    }
}
