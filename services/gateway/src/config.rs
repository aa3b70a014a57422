//! Settings of the gateway, section `[gateway]`.

use std::time::Duration;

use mallard_gateway_core::EdgeConfig;
use mallard_gateway_core::body::{BODY_BYTES_MAX, Patience};
use mallard_gateway_core::origin::Proxies;
use mallard_gateway_core::policy::RouteConfig;
use serde::Deserialize;

use crate::copies;

mod clients;
mod concurrency;
mod limits;
mod routes;

use routes::TIMEOUT_MS_MAX;

/// Limits and pauses.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Longest time for a request, in milliseconds; it is the deadline of the calls made for it.
    pub timeout_ms: u64,
    /// The same for what shoppers read: a page without an answer is better than a page that hangs.
    pub read_timeout_ms: u64,
    /// Longest time for a check of all books, in milliseconds.
    pub check_timeout_ms: u64,
    /// Most requests under way at once, those whose bodies are still on their way included.
    pub requests_max: usize,
    /// Most bytes of a body.
    pub body_bytes_max: usize,
    /// Longest time for a body to arrive, in milliseconds.
    pub body_timeout_ms: u64,
    /// Slowest rate of a body, in bytes per second, after a grace of [`Config::body_grace_ms`].
    pub body_bytes_per_s_min: u32,
    /// Time before the rate of a body counts, in milliseconds.
    pub body_grace_ms: u64,
    /// Most headers of a request.
    pub headers_max: usize,
    /// Most bytes of their names and values.
    pub header_bytes_max: usize,
    /// Networks of the proxies in front, which are believed about the client.
    pub trusted_proxies: Vec<String>,
    /// The header they write: `x-forwarded-for` or `forwarded`.
    pub forwarded_header: String,
    /// Clients always come over TLS.
    pub tls: bool,
    /// How long browsers that came over TLS are told to come no other way, in seconds; 0 tells them nothing.
    pub hsts_max_age_s: u32,
    /// Pause between looks for revoked sessions, in milliseconds.
    pub revocation_poll_ms: u64,
    /// Pause between looks for accounts that stand differently, in milliseconds.
    pub standing_poll_ms: u64,
    /// Pause between looks for changed policies, roles and allow-list, in milliseconds.
    pub policy_poll_ms: u64,
    /// Pause between looks for changed signing keys, in milliseconds.
    pub keys_poll_ms: u64,
    /// Pause between reports of the sessions in use, in milliseconds.
    pub touch_interval_ms: u64,
    /// Dangerous actions want a password entered within this time, in seconds; the same as identity's.
    pub trust_s: u64,
    /// Most verified tokens remembered.
    pub token_cache_max: usize,
    /// Public answers that are given again.
    pub copies: copies::Settings,
    /// Networks that may or may not knock.
    pub addresses: clients::Addresses,
    /// Rate limits. A list of one's own replaces the default.
    pub limits: Vec<limits::Limit>,
    /// How many requests at once.
    pub concurrency: concurrency::Concurrency,
    /// Pages of other origins that may call.
    pub cors: clients::Cors,
    /// Work asked of clients on hot routes.
    pub friction: routes::Friction,
    /// Versions on trial.
    pub canary: Vec<routes::Canary>,
    /// Routes with limits of their own; the last word counts.
    pub routes: Vec<routes::Route>,
}

impl Default for Config {
    fn default() -> Self {
        let edge = EdgeConfig::default();
        let admission = mallard_admission::Settings::default();
        Config {
            timeout_ms: 15_000,
            read_timeout_ms: 2_000,
            check_timeout_ms: 120_000,
            requests_max: 10_000,
            body_bytes_max: BODY_BYTES_MAX,
            body_timeout_ms: 10_000,
            body_bytes_per_s_min: 1_024,
            body_grace_ms: 2_000,
            headers_max: edge.headers_max,
            header_bytes_max: edge.header_bytes_max,
            trusted_proxies: Vec::new(),
            forwarded_header: "x-forwarded-for".to_owned(),
            tls: false,
            hsts_max_age_s: edge.hsts_max_age_s,
            revocation_poll_ms: admission.revocation_poll_ms,
            standing_poll_ms: admission.standing_poll_ms,
            policy_poll_ms: admission.policy_poll_ms,
            keys_poll_ms: admission.keys_poll_ms,
            touch_interval_ms: admission.touch_interval_ms,
            trust_s: admission.trust_s,
            token_cache_max: admission.token_cache_max,
            copies: copies::Settings::default(),
            addresses: clients::Addresses::default(),
            limits: limits::defaults(),
            concurrency: concurrency::Concurrency::default(),
            cors: clients::Cors::default(),
            friction: routes::Friction::default(),
            canary: Vec::new(),
            routes: Vec::new(),
        }
    }
}

impl Config {
    /// Returns what is needed to decide who comes in.
    pub fn admission(&self) -> mallard_admission::Settings {
        mallard_admission::Settings {
            revocation_poll_ms: self.revocation_poll_ms,
            standing_poll_ms: self.standing_poll_ms,
            policy_poll_ms: self.policy_poll_ms,
            keys_poll_ms: self.keys_poll_ms,
            touch_interval_ms: self.touch_interval_ms,
            trust_s: self.trust_s,
            token_cache_max: self.token_cache_max,
        }
    }

    /// Returns what the edge takes. `services` are the mall's; `secret` signs challenges where none is shared.
    ///
    /// # Errors
    /// Text naming the key that cannot be used.
    pub fn edge(&self, services: &[&str], secret: [u8; 32]) -> Result<EdgeConfig, String> {
        for (key, ms) in [
            ("timeout_ms", self.timeout_ms),
            ("read_timeout_ms", self.read_timeout_ms),
            ("check_timeout_ms", self.check_timeout_ms),
            ("body_timeout_ms", self.body_timeout_ms),
        ] {
            if !(1..=TIMEOUT_MS_MAX).contains(&ms) {
                return Err(format!("gateway.{key}: must be between 1 and {TIMEOUT_MS_MAX}, not {ms}"));
            }
        }
        for (key, value) in [
            ("requests_max", self.requests_max),
            ("body_bytes_max", self.body_bytes_max),
            ("headers_max", self.headers_max),
            ("header_bytes_max", self.header_bytes_max),
        ] {
            if value == 0 {
                return Err(format!("gateway.{key}: must be at least 1, not 0, which would refuse everybody"));
            }
        }
        let check = RouteConfig {
            path: "/admin/v1/check".to_owned(),
            timeout: Some(Duration::from_millis(self.check_timeout_ms)),
            body_bytes_max: None,
        };
        let mut routes = vec![check];
        for (index, route) in self.routes.iter().enumerate() {
            routes.push(route.settings(index)?);
        }
        let limits = self.limits.iter().enumerate().map(|(index, limit)| limit.rule(index));
        Ok(EdgeConfig {
            timeout: Duration::from_millis(self.timeout_ms),
            read_timeout: Duration::from_millis(self.read_timeout_ms),
            body_bytes_max: self.body_bytes_max,
            patience: Patience {
                timeout: Duration::from_millis(self.body_timeout_ms),
                grace: Duration::from_millis(self.body_grace_ms),
                bytes_per_s_min: self.body_bytes_per_s_min,
            },
            headers_max: self.headers_max,
            header_bytes_max: self.header_bytes_max,
            routes,
            proxies: Proxies {
                trusted: clients::networks("gateway.trusted_proxies", &self.trusted_proxies)?,
                forwarding: clients::forwarding(&self.forwarded_header)?,
                tls: self.tls,
            },
            hsts_max_age_s: self.hsts_max_age_s,
            addresses: self.addresses.lists()?,
            limits: limits.collect::<Result<_, _>>()?,
            concurrency: self.concurrency.settings(self.requests_max)?,
            cors: self.cors.settings()?,
            friction: self.friction.settings(secret)?,
            canaries: routes::canaries(&self.canary, services)?,
            copies: self.copies.config()?,
            ..EdgeConfig::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use serde_json::{Value, json};

    /// Sets one key and reads the section as the gateway does at its start.
    fn start(key: &str, value: Value) -> Result<EdgeConfig, String> {
        let layers = mallard_runtime::Config::defaults("").set(&format!("gateway.{key}"), value);
        let config: Config = layers.section("gateway").map_err(|error| error.to_string())?;
        config.edge(&["order", "cart"], [7; 32])
    }

    #[test]
    fn what_nobody_says_is_good() {
        let edge = Config::default().edge(&[], [7; 32]).unwrap();
        assert_eq!(edge.limits.len(), 2);
        assert_eq!(edge.friction.secret, [7; 32]);
        assert!(edge.cors.origins.is_empty() && edge.canaries.is_empty() && edge.friction.routes.is_empty());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let rule = |change: Value| {
            let mut rule = json!({"name": "a", "by": "user", "rate": 1});
            rule.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            json!([rule])
        };
        let canary =
            |service: &str, weight: f64| json!([{"service": service, "version": "v2", "weight_percent": weight}]);
        let crowd = json!([
            {"service": "order", "version": "v2", "weight_percent": 60.0},
            {"service": "order", "version": "v3", "weight_percent": 40.5},
        ]);
        for (key, value, named) in [
            ("trusted_proxies", json!(["10.0.0.0/33"]), "gateway.trusted_proxies"),
            ("forwarded_header", json!("x-real-ip"), "gateway.forwarded_header"),
            ("addresses.admin_allow", json!(["home"]), "gateway.addresses.admin_allow"),
            ("addresses.nonsense", json!([]), "nonsense"),
            ("limits", rule(json!({"by": "moon"})), "gateway.limits[0].by"),
            ("limits", rule(json!({"rate": 0})), "gateway.limits[0].rate"),
            ("limits", rule(json!({"verbs": ["get"]})), "gateway.limits[0].verbs"),
            ("limits", rule(json!({"tier": "gold"})), "gateway.limits[0].tier"),
            ("limits", rule(json!({"surface": "roof"})), "gateway.limits[0].surface"),
            ("limits", rule(json!({"when_unknown": "ajar"})), "gateway.limits[0].when_unknown"),
            ("limits", rule(json!({"keys_max": 0})), "gateway.limits[0].keys_max"),
            ("limits", rule(json!({"rates": 1})), "rates"),
            ("limits", json!([{"name": "a b", "by": "user", "rate": 1}]), "gateway.limits[0].name"),
            ("concurrency.limit_min", json!(10_000), "gateway.concurrency.limit_min"),
            ("concurrency.tolerance", json!(0.5), "gateway.concurrency.tolerance"),
            ("concurrency.shares.browse", json!(99), "gateway.concurrency.shares"),
            ("cors", json!({"origins": ["*"], "credentials": true}), "gateway.cors.credentials"),
            ("cors.origins", json!(["shop.example"]), "gateway.cors.origins"),
            ("friction.secret", json!("short"), "gateway.friction.secret"),
            ("friction.difficulty_bits", json!(60), "gateway.friction.difficulty_bits"),
            ("canary", canary("moon", 5.0), "gateway.canary[0].service"),
            ("canary", canary("order", 105.0), "gateway.canary[0].weight_percent"),
            ("canary", canary("order", 0.0), "gateway.canary[0]: neither header nor weight_percent"),
            ("canary", canary("order", 0.001), "gateway.canary[0]: neither header nor weight_percent"),
            ("canary", crowd, "gateway.canary: the weight_percent of \"order\" add up to 100.5"),
            ("routes", json!([{"path": "/a", "timeout_ms": 0}]), "gateway.routes[0].timeout_ms"),
            ("routes", json!([{"path": "/a", "body_bytes_max": 0}]), "gateway.routes[0].body_bytes_max"),
            ("routes", json!([{"path": "/a"}]), "gateway.routes[0]: /a has neither timeout_ms nor body_bytes_max"),
            ("timeout_ms", json!(0), "gateway.timeout_ms"),
            ("requests_max", json!(0), "gateway.requests_max"),
            ("body_bytes_max", json!(0), "gateway.body_bytes_max"),
            ("headers_max", json!(0), "gateway.headers_max"),
            ("header_bytes_max", json!(0), "gateway.header_bytes_max"),
            ("copies.load_timeout_ms", json!(0), "gateway.copies.load_timeout_ms"),
            ("copies.services", json!(["nope"]), "gateway.copies.services: \"nope\""),
            ("copies.services", json!(["catalog", "cart"]), "gateway.copies.services: \"cart\""),
        ] {
            let error = start(key, value.clone()).err().unwrap_or_else(|| panic!("{key} = {value} is taken"));
            assert!(error.contains(named), "{key} = {value}: {error}");
        }
    }

    #[test]
    fn an_origin_is_written_as_browsers_send_it() {
        for (written, sent) in [
            ("https://SHOP.example", "https://shop.example"),
            ("HTTPS://shop.example", "https://shop.example"),
            ("https://shop.example:443", "https://shop.example"),
            ("http://shop.example:80", "http://shop.example"),
            ("http://[::1]:080", "http://[::1]"),
            ("https://shop.example:08443", "https://shop.example:8443"),
        ] {
            let error = start("cors.origins", json!([written])).unwrap_err();
            assert!(
                error.starts_with("gateway.cors.origins") && error.ends_with(&format!("write {sent:?}")),
                "{error}"
            );
            assert!(start("cors.origins", json!([sent])).is_ok(), "{sent}");
        }
        for wrong in [
            "https://",
            "https://a/",
            "https://a b",
            "https://u@a",
            "https://a?b",
            "https://:1",
            "ftp://a",
            "https://a:x",
        ] {
            let error = start("cors.origins", json!([wrong])).err().unwrap_or_else(|| panic!("{wrong} is taken"));
            assert!(error.contains("is no origin such as"), "{error}");
        }
        for right in ["*", "http://127.0.0.1:8080", "https://shop.example:80", "http://[::1]:443"] {
            assert!(start("cors.origins", json!([right])).is_ok(), "{right}");
        }
    }

    #[test]
    fn what_is_said_holds() {
        let canaries = json!([
            {"service": "order", "version": "v2", "weight_percent": 60.0},
            {"service": "order", "version": "v3", "weight_percent": 40.0},
            {"service": "cart", "version": "v2", "weight_percent": 100.0},
            {"service": "cart", "version": "v3", "header": "X-Mallard-Canary"},
        ]);
        assert_eq!(start("canary", canaries).unwrap().canaries.len(), 4);
        assert!(start("copies.services", json!([])).unwrap().copies.services.is_empty());
        let limits = json!([{"name": "a", "by": "address_prefix", "rate": 12, "per_s": 60, "tier": "pay"}]);
        let edge = start("limits", limits).unwrap();
        let rule = &edge.limits[0];
        assert_eq!((rule.rate, rule.window.as_secs(), rule.burst, rule.keys_max), (12, 60, 12, 100_000));
        let edge = start("addresses.deny", json!(["192.0.2.7", "2001:db8::/32"])).unwrap();
        assert_eq!(edge.addresses.everywhere.deny.len(), 2);
        let edge = start("routes", json!([{"path": "/admin/v1/check", "timeout_ms": 5}])).unwrap();
        assert_eq!(edge.routes.last().unwrap().timeout, Some(Duration::from_millis(5)));
    }
}
