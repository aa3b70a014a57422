//! Rate limits: how often a client may ask, as rules declare it.
//!
//! Each rule is a GCRA (generic cell rate algorithm) per key: a request passes when the time at which it would be due, were all
//! requests evenly spread, lies at most a burst ahead. There is no window, so there is no edge of a window at which twice the
//! rate passes; a clock that steps back only makes clients wait.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, Reference};
use governor::middleware::StateInformationMiddleware;
use governor::{Quota, RateLimiter};
use http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;
use mallard_proto::rest::{RouteInfo, Tier};
use mallard_rpc::{Caller, Surface};
use mallard_types::{Error, Result};
use tokio::time::Instant;

use crate::protection::RateLimit;
use crate::table::Route;
use crate::tiers;

mod keys;

use keys::Keys;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const LIMIT: HeaderName = HeaderName::from_static("ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("ratelimit-reset");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Longest time after which a key has its whole burst again; what is longer is a ban, not a rate.
const RECOVERY_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Whose requests count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The client's address.
    Address,
    /// The client's network: /24 of IPv4, /56 of IPv6, which is what one subscriber gets.
    AddressPrefix,
    /// The signed-in user.
    User,
    /// The session.
    Session,
    /// The header `X-Api-Key`.
    Key,
    /// The route, whoever asks.
    Route,
}

impl By {
    /// Tells whether the key is known only after the token was checked.
    fn needs_caller(self) -> bool {
        matches!(self, By::User | By::Session)
    }

    fn as_str(self) -> &'static str {
        match self {
            By::Address => "address",
            By::AddressPrefix => "address prefix",
            By::User => "user",
            By::Session => "session",
            By::Key => "API key",
            By::Route => "route",
        }
    }
}

/// What becomes of a request whose key is missing or cannot be remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenUnknown {
    /// It passes.
    Open,
    /// It is refused.
    Closed,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Name in answers, metrics and logs.
    pub name: String,
    /// Routes as [`is_meant`] reads them; empty means all.
    pub routes: Vec<String>,
    /// Verbs; empty means all.
    pub verbs: Vec<String>,
    /// Only routes of this surface.
    pub surface: Option<Surface>,
    /// Only routes of this tier.
    pub tier: Option<Tier>,
    /// Whose requests count together.
    pub by: By,
    /// Requests per window.
    pub rate: u32,
    /// The window.
    pub window: Duration,
    /// Requests that may come at once after a pause.
    pub burst: u32,
    /// What becomes of a request without a key.
    pub when_unknown: WhenUnknown,
    /// Most keys remembered.
    pub keys_max: usize,
}

impl Rule {
    fn covers(&self, route: &Route) -> bool {
        let info = route.info;
        (self.routes.is_empty() || self.routes.iter().any(|pattern| is_meant(pattern, info)))
            && (self.verbs.is_empty() || self.verbs.iter().any(|verb| verb == info.verb))
            && self.surface.is_none_or(|surface| surface == route.surface)
            && self.tier.is_none_or(|tier| tier == tiers::of(route))
    }
}

/// Tells whether a route is meant by a pattern: its path template, or a beginning of it followed by `*`; with a verb in front,
/// e.g. `POST /store/v1/orders`, only that verb.
pub fn is_meant(pattern: &str, info: &RouteInfo) -> bool {
    let (verb, path) = pattern.split_once(' ').map_or((None, pattern), |(verb, path)| (Some(verb), path));
    let path_fits = match path.strip_suffix('*') {
        Some(prefix) => info.path.starts_with(prefix),
        None => path == info.path,
    };
    path_fits && verb.is_none_or(|verb| verb == info.verb)
}

/// What is known of who asks.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// Address of the client.
    pub address: Option<IpAddr>,
    /// The verified caller; none before the token was checked.
    pub caller: Option<&'a Caller>,
    /// Headers of the request.
    pub headers: &'a HeaderMap,
    /// The route.
    pub rpc: &'static str,
}

/// How near a client is to a limit: of several limits, the one with the least left.
#[derive(Clone, Debug)]
pub struct Standing {
    limit: u32,
    remaining: u32,
    reset_s: u64,
    policies: Vec<HeaderValue>,
}

impl Standing {
    /// Writes the headers of a limited route (draft-ietf-httpapi-ratelimit-headers-07). Reset is the time until the whole
    /// burst is there again.
    pub fn write(&self, headers: &mut HeaderMap) {
        headers.insert(LIMIT, HeaderValue::from(self.limit));
        headers.insert(REMAINING, HeaderValue::from(self.remaining));
        headers.insert(RESET, HeaderValue::from(self.reset_s));
        for policy in &self.policies {
            headers.append(POLICY, policy.clone());
        }
    }
}

/// Tells the time since the limiter was made. A type of its own because `governor` wants one.
#[derive(Clone)]
pub struct Ticks(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Ticks {
    /// Takes the time from the runtime, so that a paused clock moves it.
    pub fn tokio() -> Ticks {
        let begin = Instant::now();
        Ticks(Arc::new(move || begin.elapsed()))
    }

    /// Takes the time from a function.
    pub fn from(now: impl Fn() -> Duration + Send + Sync + 'static) -> Ticks {
        Ticks(Arc::new(now))
    }
}

impl Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        (self.0)()
    }
}

type Limiter = RateLimiter<u64, Keys, Ticks, StateInformationMiddleware>;

/// A rule at work.
struct Working {
    rule: Rule,
    limiter: Limiter,
    keys: Keys,
    begin: Duration,
    /// Time one request takes from the burst.
    cost: Duration,
    policy: HeaderValue,
    allowed: AtomicU64,
    limited: AtomicU64,
}

/// All rules at work.
pub struct Limits {
    rules: Vec<Working>,
    ticks: Ticks,
    hash: RandomState,
}

/// The rules that hold for one route.
#[derive(Clone, Debug, Default)]
pub struct RouteRules {
    /// Checked before anybody knows who asks.
    before: Box<[usize]>,
    /// Checked once the caller is known.
    after: Box<[usize]>,
}

impl Limits {
    /// Puts rules to work.
    ///
    /// # Errors
    /// Text naming the rule that cannot work and why.
    pub fn new(rules: Vec<Rule>, ticks: Ticks) -> Result<Limits, String> {
        let mut working = Vec::with_capacity(rules.len());
        for rule in rules {
            let wrong = |why: &str| format!("limits: rule {:?}: {why}", rule.name);
            if working.iter().any(|other: &Working| other.rule.name == rule.name) {
                return Err(wrong("the name is used twice"));
            }
            let (Some(burst), false) = (NonZeroU32::new(rule.burst), rule.rate == 0 || rule.window.is_zero()) else {
                return Err(wrong("rate, per_s and burst must be at least 1"));
            };
            let cost = rule.window / rule.rate;
            if cost.is_zero() || cost.checked_mul(rule.burst).is_none_or(|time| time > RECOVERY_MAX) {
                return Err(wrong("burst times per_s over rate must be at most a year"));
            }
            let quota = Quota::with_period(cost).ok_or_else(|| wrong("rate is too high"))?.allow_burst(burst);
            let recovery_s = whole_seconds(cost.saturating_mul(rule.burst));
            let policy = format!("{};w={recovery_s};name=\"{}\"", rule.burst, rule.name);
            let policy = HeaderValue::from_str(&policy).map_err(|_| wrong("the name must be plain text"))?;
            let keys = Keys::new(rule.keys_max);
            let begin = ticks.now();
            let limiter = Limiter::new(quota, keys.clone(), ticks.clone());
            working.push(Working {
                limiter,
                keys,
                begin,
                cost,
                policy,
                allowed: AtomicU64::new(0),
                limited: AtomicU64::new(0),
                rule,
            });
        }
        Ok(Limits { rules: working, ticks, hash: RandomState::new() })
    }

    /// Returns the rules that hold for a route.
    pub fn of(&self, route: &Route) -> RouteRules {
        let holding = |after: bool| {
            let rules = self.rules.iter().enumerate();
            let ours = rules.filter(|(_, one)| one.rule.by.needs_caller() == after && one.rule.covers(route));
            ours.map(|(index, _)| index).collect()
        };
        RouteRules { before: holding(false), after: holding(true) }
    }

    /// Checks that every rule means a route that there is: a slip of the pen must not leave a door open.
    ///
    /// # Errors
    /// Text naming the rule and what it does not find.
    pub fn find(&self, routes: &[Route]) -> Result<(), String> {
        for Working { rule, .. } in &self.rules {
            let unknown = |pattern: &&String| !routes.iter().any(|route| is_meant(pattern, route.info));
            if let Some(pattern) = rule.routes.iter().find(unknown) {
                return Err(format!("limits: rule {:?}: there is no route {pattern}", rule.name));
            }
            if !routes.iter().any(|route| rule.covers(route)) {
                return Err(format!("limits: rule {:?}: no route has all it asks for", rule.name));
            }
        }
        Ok(())
    }

    /// Counts a request under the rules that need no caller, or under those that do. What an earlier rule has counted stays
    /// counted when a later one refuses.
    ///
    /// # Errors
    /// `rate_limited` with the rule in its details and the time after which it may be sent again.
    pub fn check(&self, rules: &RouteRules, asking: Asking<'_>, standing: &mut Option<Standing>) -> Result<()> {
        let rules = if asking.caller.is_some() { &rules.after } else { &rules.before };
        for index in rules {
            let Some(working) = self.rules.get(*index) else { continue };
            let verdict = match self.key(working.rule.by, asking) {
                Some(key) => working.check(key, &self.ticks),
                None => working.unknown(),
            };
            let (remaining, wait) = match &verdict {
                Verdict::Passes(remaining) => (*remaining, None),
                Verdict::Waits(wait) => (0, Some(*wait)),
            };
            working.show(remaining, standing);
            let Some(wait) = wait else {
                working.allowed.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            working.limited.fetch_add(1, Ordering::Relaxed);
            metrics::counter!("mallard_rate_limited_total", "rule" => working.rule.name.clone()).increment(1);
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            return Err(Error::too_many("rate_limited", "you ask too often; come back after the time in Retry-After")
                .details(serde_json::json!({ "rule": working.rule.name }))
                .retry_after_ms(wait_ms));
        }
        Ok(())
    }

    fn key(&self, by: By, asking: Asking<'_>) -> Option<u64> {
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(|text| self.hash.hash_one(text));
        match by {
            By::Address => asking.address.map(|address| self.hash.hash_one(host(address))),
            By::AddressPrefix => asking.address.map(|address| self.hash.hash_one(network(address))),
            By::User => text(asking.caller.map(|caller| caller.user_id.as_str())),
            By::Session => text(asking.caller.map(|caller| caller.session_id.as_str())),
            By::Key => {
                let key = asking.headers.get(API_KEY).filter(|value| !value.is_empty());
                key.map(|value| self.hash.hash_one(value.as_bytes()))
            }
            By::Route => Some(self.hash.hash_one(asking.rpc)),
        }
    }

    /// Shows what the rules have done.
    pub fn protection(&self) -> Vec<RateLimit> {
        let show = |working: &Working| RateLimit {
            name: working.rule.name.clone(),
            rule: format!(
                "{} per {} s, burst {}, by {}",
                working.rule.rate,
                working.rule.window.as_secs_f64(),
                working.rule.burst,
                working.rule.by.as_str()
            ),
            allowed: working.allowed.load(Ordering::Relaxed),
            limited: working.limited.load(Ordering::Relaxed),
            keys: working.keys.len() as u64,
        };
        self.rules.iter().map(show).collect()
    }
}

enum Verdict {
    /// With so many left.
    Passes(u32),
    /// For so long.
    Waits(Duration),
}

impl Working {
    fn check(&self, key: u64, ticks: &Ticks) -> Verdict {
        let now = ticks.now();
        if !self.keys.make_room(key, now.saturating_sub(self.begin)) {
            return self.unknown();
        }
        match self.limiter.check_key(&key) {
            Ok(state) => Verdict::Passes(state.remaining_burst_capacity()),
            Err(until) => Verdict::Waits(Duration::from(until.earliest_possible().duration_since(ticks.now()))),
        }
    }

    fn unknown(&self) -> Verdict {
        match self.rule.when_unknown {
            WhenUnknown::Open => Verdict::Passes(self.rule.burst),
            WhenUnknown::Closed => Verdict::Waits(self.cost),
        }
    }

    /// Puts this rule into what the client is shown, where it is the tightest so far.
    fn show(&self, remaining: u32, standing: &mut Option<Standing>) {
        let used = self.rule.burst.saturating_sub(remaining);
        let mut shown = standing.take();
        let mut policies = shown.as_mut().map(|shown| std::mem::take(&mut shown.policies)).unwrap_or_default();
        policies.push(self.policy.clone());
        *standing = Some(match shown.filter(|shown| shown.remaining < remaining) {
            Some(tighter) => Standing { policies, ..tighter },
            None => {
                let reset_s = whole_seconds(self.cost.saturating_mul(used));
                Standing { limit: self.rule.burst, remaining, reset_s, policies }
            }
        });
    }
}

/// Returns the network that one subscriber usually has.
/// Returns what one client has: an IPv4 address, or the /64 within which an IPv6 host names itself as it likes (RFC 8981).
fn host(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(whole) => IpAddr::V6((u128::from(whole) >> 64 << 64).into()),
    }
}

fn network(address: IpAddr) -> IpNet {
    let bits = if address.is_ipv4() { 24 } else { 56 };
    // Both are within the length of their kind of address.
    IpNet::new(address, bits).map_or_else(|_| IpNet::from(address), |net| net.trunc())
}

fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}
