//! Rate limits on a clock that a test moves.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use mallard_gateway_core::limits::{Asking, By, Limits, Rule, Standing, Ticks, WhenUnknown};
use mallard_gateway_core::{Route, routes};
use mallard_rpc::{Caller, CallerKind, Channels, Surface};
use mallard_types::Error;
use proptest::prelude::*;

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;

/// A clock in nanoseconds.
#[derive(Clone, Default)]
struct Time(Arc<AtomicU64>);

impl Time {
    fn set(&self, nanos: u64) {
        self.0.store(nanos, Ordering::SeqCst);
    }

    fn ticks(&self) -> Ticks {
        let time = self.0.clone();
        Ticks::from(move || Duration::from_nanos(time.load(Ordering::SeqCst)))
    }
}

fn rule(by: By, rate: u32, burst: u32) -> Rule {
    Rule {
        name: "test".into(),
        routes: Vec::new(),
        verbs: Vec::new(),
        surface: None,
        tier: None,
        by,
        rate,
        window: Duration::from_secs(1),
        burst,
        when_unknown: WhenUnknown::Open,
        keys_max: 10_000,
    }
}

fn all_routes() -> Vec<Route> {
    let channels = Channels::default();
    routes(|service| channels.channel(service))
}

/// Limits and the routes they hold for.
struct Bench {
    limits: Limits,
    routes: Vec<Route>,
    time: Time,
}

impl Bench {
    fn new(rules: Vec<Rule>) -> Bench {
        let time = Time::default();
        let limits = Limits::new(rules, time.ticks()).unwrap();
        Bench { limits, routes: all_routes(), time }
    }

    fn ask_of(&self, path: &str, caller: Option<&Caller>, address: Option<IpAddr>) -> (Result<(), Error>, HeaderMap) {
        let route = self.routes.iter().find(|route| route.info.path == path).unwrap();
        let mut standing: Option<Standing> = None;
        let headers = HeaderMap::new();
        let asking = Asking { address, caller, headers: &headers, rpc: route.info.rpc };
        let outcome = self.limits.check(&self.limits.of(route), asking, &mut standing);
        let mut shown = HeaderMap::new();
        standing.into_iter().for_each(|standing| standing.write(&mut shown));
        (outcome, shown)
    }

    fn user(&self, user: &str) -> Result<(), Error> {
        let caller = Caller { kind: CallerKind::User, user_id: user.into(), ..Caller::default() };
        self.ask_of("/store/v1/cart", Some(&caller), None).0
    }

    fn address(&self, address: &str) -> Result<(), Error> {
        self.ask_of("/store/v1/cart", None, address.parse().ok()).0
    }
}

/// The algorithm as in the books, in whole nanoseconds.
struct Model {
    cost: u64,
    burst: u64,
    due: HashMap<u8, u64>,
}

impl Model {
    fn passes(&mut self, key: u8, now: u64) -> bool {
        let due = self.due.get(&key).copied().unwrap_or(now);
        if due.saturating_sub(self.cost * (self.burst - 1)) > now {
            return false;
        }
        self.due.insert(key, due.max(now) + self.cost);
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_decides_as_the_model_whatever_the_clock_does(
        rate in 1u32..50,
        burst in 1u32..20,
        // Steps of the clock, some of them back.
        asks in prop::collection::vec((0u8..4, -200i64..400), 1..200),
    ) {
        let bench = Bench::new(vec![rule(By::User, rate, burst)]);
        let mut model = Model { cost: SECOND / u64::from(rate), burst: burst.into(), due: HashMap::new() };
        let mut now = 0u64;
        for (user, step_ms) in asks {
            now = now.saturating_add_signed(step_ms * MS as i64);
            bench.time.set(now);
            let passed = bench.user(&user.to_string()).is_ok();
            prop_assert_eq!(passed, model.passes(user, now), "user {} at {} ns", user, now);
        }
    }

    #[test]
    fn no_span_of_time_sees_more_than_the_burst_and_the_rate(
        rate in 1u32..50,
        burst in 1u32..20,
        gaps_ms in prop::collection::vec(0u64..120, 1..300),
    ) {
        let bench = Bench::new(vec![rule(By::User, rate, burst)]);
        let mut now = 0;
        let mut passed = Vec::new();
        for gap in gaps_ms {
            now += gap * MS;
            bench.time.set(now);
            if bench.user("usr_1").is_ok() {
                passed.push(now);
            }
        }
        for (first, from) in passed.iter().enumerate() {
            for (last, until) in passed.iter().enumerate().skip(first) {
                let count = (last - first + 1) as f64;
                let allowed = f64::from(burst) + (until - from) as f64 / SECOND as f64 * f64::from(rate);
                prop_assert!(count <= allowed + 1e-3, "{} passed between {} and {} ns", count, from, until);
            }
        }
    }
}

#[test]
fn the_edge_of_a_window_lets_no_double_burst_through() {
    let bench = Bench::new(vec![rule(By::User, 10, 10)]);
    bench.time.set(SECOND - MS);
    assert_eq!((0..20).filter(|_| bench.user("usr_1").is_ok()).count(), 10);
    bench.time.set(SECOND + MS);
    assert_eq!((0..20).filter(|_| bench.user("usr_1").is_ok()).count(), 0, "the next second is no new burst");
    bench.time.set(SECOND - MS + 100 * MS);
    assert_eq!((0..20).filter(|_| bench.user("usr_1").is_ok()).count(), 1, "one every 100 ms");
}

#[test]
fn a_clock_that_steps_back_gives_nothing_away() {
    let bench = Bench::new(vec![rule(By::User, 10, 5)]);
    bench.time.set(100 * SECOND);
    assert_eq!((0..20).filter(|_| bench.user("usr_1").is_ok()).count(), 5);
    bench.time.set(0);
    assert_eq!((0..20).filter(|_| bench.user("usr_1").is_ok()).count(), 0);
    let wait = bench.user("usr_1").unwrap_err().retry_after_ms.unwrap();
    assert!(wait > 90_000, "it waits until the clock is back: {wait} ms");
}

#[test]
fn a_refusal_says_when_to_come_back_and_then_it_passes() {
    let bench = Bench::new(vec![Rule { window: Duration::from_secs(60), ..rule(By::User, 12, 1) }]);
    assert!(bench.user("usr_1").is_ok());
    let error = bench.user("usr_1").unwrap_err();
    assert_eq!((error.code.as_ref(), error.retry_after_ms), ("rate_limited", Some(5_000)));
    assert_eq!(error.details.unwrap()["rule"], "test");
    assert!(bench.user("usr_2").is_ok(), "somebody else is served");
    bench.time.set(5 * SECOND - 1);
    assert!(bench.user("usr_1").is_err());
    bench.time.set(5 * SECOND);
    assert!(bench.user("usr_1").is_ok());
}

#[test]
fn a_million_made_up_keys_do_not_grow_the_table() {
    for (when_unknown, passes) in [(WhenUnknown::Open, true), (WhenUnknown::Closed, false)] {
        let bench = Bench::new(vec![Rule { when_unknown, keys_max: 4_096, ..rule(By::Address, 1, 1) }]);
        assert!(bench.address("192.0.2.1").is_ok());
        for key in 0..1_000_000u32 {
            let _ = bench.ask_of("/store/v1/cart", None, Some(IpAddr::from(key.to_be_bytes())));
        }
        let keys = bench.limits.protection()[0].keys;
        assert!(keys <= 4_096, "{keys}");
        assert!(bench.address("192.0.2.1").is_err(), "the one it knows is still limited");
        assert_eq!(bench.address("203.0.113.7").is_ok(), passes, "a new one is as unknown as the rule says");
        // Once the others are idle there is room, and to forget them gave nobody anything.
        bench.time.set(2 * SECOND);
        assert!(bench.address("203.0.113.7").is_ok() && bench.address("203.0.113.7").is_err());
        assert!(bench.limits.protection()[0].keys <= 4_096);
    }
}

#[test]
fn a_missing_key_is_open_or_closed_as_the_rule_says() {
    for (when_unknown, passes) in [(WhenUnknown::Open, true), (WhenUnknown::Closed, false)] {
        let bench = Bench::new(vec![Rule { when_unknown, ..rule(By::Address, 1, 1) }]);
        assert!((0..5).all(|_| bench.ask_of("/store/v1/cart", None, None).0.is_ok() == passes));
    }
}

#[test]
fn an_empty_api_key_is_none() {
    let bench = Bench::new(vec![Rule { when_unknown: WhenUnknown::Closed, ..rule(By::Key, 1, 1) }]);
    let route = bench.routes.iter().find(|route| route.info.path == "/store/v1/cart").unwrap();
    let passes = |key: &'static str| {
        let headers = HeaderMap::from_iter([(HeaderName::from_static("x-api-key"), HeaderValue::from_static(key))]);
        let asking = Asking { address: None, caller: None, headers: &headers, rpc: route.info.rpc };
        bench.limits.check(&bench.limits.of(route), asking, &mut None).is_ok()
    };
    assert!(!passes("") && passes("partner"));
}

#[test]
fn neighbours_in_a_network_count_together() {
    let bench = Bench::new(vec![rule(By::AddressPrefix, 1, 1)]);
    assert!(bench.address("192.0.2.1").is_ok() && bench.address("192.0.2.255").is_err());
    assert!(bench.address("192.0.3.1").is_ok());
    assert!(bench.address("2001:db8:0:1::1").is_ok() && bench.address("2001:db8:0:ff::2").is_err());
    assert!(bench.address("2001:db8:0:100::1").is_ok());
    let bench = Bench::new(vec![rule(By::Address, 1, 1)]);
    assert!(bench.address("192.0.2.1").is_ok() && bench.address("192.0.2.2").is_ok());
}

#[test]
fn the_tightest_of_several_rules_is_shown() {
    let wide = Rule { name: "wide".into(), ..rule(By::Address, 100, 100) };
    let narrow = Rule { name: "narrow".into(), routes: vec!["/store/v1/cart*".into()], ..rule(By::Route, 1, 3) };
    let bench = Bench::new(vec![narrow, wide]);
    let address = "192.0.2.1".parse().ok();
    let (outcome, shown) = bench.ask_of("/store/v1/cart", None, address);
    assert!(outcome.is_ok());
    let text = |name: &str| shown[name].to_str().unwrap();
    assert_eq!((text("ratelimit-limit"), text("ratelimit-remaining"), text("ratelimit-reset")), ("3", "2", "1"));
    let policies: Vec<_> = shown.get_all("ratelimit-policy").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(policies, ["3;w=3;name=\"narrow\"", "100;w=1;name=\"wide\""]);
    let (outcome, shown) = bench.ask_of("/store/v1/products", None, address);
    assert!(outcome.is_ok());
    assert_eq!(shown["ratelimit-limit"], "100", "the narrow one is for carts");
    bench.ask_of("/store/v1/cart", None, address).0.unwrap();
    bench.ask_of("/store/v1/cart", None, address).0.unwrap();
    let (outcome, shown) = bench.ask_of("/store/v1/cart", None, address);
    assert_eq!(outcome.unwrap_err().details.unwrap()["rule"], "narrow");
    assert_eq!(
        (shown["ratelimit-remaining"].to_str().unwrap(), shown["ratelimit-reset"].to_str().unwrap()),
        ("0", "3")
    );
    let states = bench.limits.protection();
    assert_eq!((states[0].allowed, states[0].limited, states[0].keys), (3, 1, 1));
    assert_eq!(states[0].rule, "1 per 1 s, burst 3, by route");
}

#[test]
fn a_rule_holds_where_all_it_asks_for_is_there() {
    let admin = Rule { surface: Some(Surface::Admin), verbs: vec!["GET".into()], ..rule(By::Route, 1, 1) };
    let bench = Bench::new(vec![admin]);
    for path in ["/admin/v1/check", "/store/v1/cart", "/admin/v1/products/{id}/list"] {
        let (_, shown) = bench.ask_of(path, None, None);
        assert_eq!(shown.contains_key("ratelimit-limit"), path == "/admin/v1/check", "{path}");
    }
}

#[test]
fn a_rule_that_cannot_work_is_refused_at_the_start() {
    let refused = |rule: Rule| Limits::new(vec![rule], Time::default().ticks()).err().unwrap();
    assert!(refused(rule(By::User, 0, 1)).contains("\"test\""));
    assert!(refused(rule(By::User, 1, 0)).contains("at least 1"));
    assert!(refused(Rule { window: Duration::from_secs(86_400), ..rule(By::User, 1, 1_000_000) }).contains("a year"));
    assert!(refused(rule(By::User, u32::MAX, 1)).contains("at most a year"), "less than a nanosecond each");
    let twice = Limits::new(vec![rule(By::User, 1, 1), rule(By::Route, 1, 1)], Time::default().ticks());
    assert!(twice.err().unwrap().contains("twice"));
    for (path, there) in [
        ("/store/v1/cart", true),
        ("/store/v1/*", true),
        ("GET /store/v1/cart", true),
        ("/store/v1/kart", false),
        ("PATCH /store/v1/cart", false),
    ] {
        let rules = vec![Rule { routes: vec![path.into()], ..rule(By::User, 1, 1) }];
        let found = Limits::new(rules, Time::default().ticks()).unwrap().find(&all_routes());
        assert_eq!(found.is_ok(), there, "{path}");
    }
    let nowhere = Rule { surface: Some(Surface::Auth), routes: vec!["/store/*".into()], ..rule(By::User, 1, 1) };
    assert!(Limits::new(vec![nowhere], Time::default().ticks()).unwrap().find(&all_routes()).is_err());
}
