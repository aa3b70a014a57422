//! Where calls go by what travels with them: versions, zones, users; and what an operator sees.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mallard_rpc::{Balance, Call, Caller, CallerKind, Channels, Config, Discover, HashOn, Origin, Policy, scope};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::support::{CHANGE, ProbeClient};
use crate::upstream::{
    Behaviour, Host, MS, SECOND, call, local, no_retries, read, remote, remote_at, start, with_secret,
};

const WELL: Behaviour = Behaviour::Well(MS);

/// Makes calls and returns the hosts that answered, in the order of their names, and `error` if any failed.
async fn reached(client: &ProbeClient, who: Call, calls: u32) -> Vec<String> {
    let mut client = client.clone();
    let reached = async {
        let mut reached = BTreeSet::new();
        for _ in 0..calls {
            reached.insert(call(&mut client, CHANGE, SECOND).await.unwrap_or_else(|code| format!("error {code}")));
        }
        reached.into_iter().collect()
    };
    scope(who, reached).await
}

fn wanting(version: &str) -> Call {
    let versions = vec![("cart".to_owned(), "v9".to_owned()), ("probe".to_owned(), version.to_owned())];
    Call { versions: Some(Arc::new(versions)), ..Call::default() }
}

#[tokio::test(start_paused = true)]
async fn a_canary_is_called_by_those_who_ask_for_it_and_by_nobody_else() {
    let hosts = ["old", "older", "new"].map(|name| Host::new(name, WELL));
    let texts = ["http://old#version=v1", "http://older#version=v1;weight=2", "http://new#version=v2"];
    let config = || read(json!({ "services": { "probe": { "stable_version": "v1" } } }));
    let (_channels, client) = remote_at(&hosts, &texts, config(), |_| {});
    assert_eq!(reached(&client, Call::default(), 100).await, ["old", "older"]);
    assert_eq!(reached(&client, wanting("v2"), 100).await, ["new"]);
    assert_eq!(reached(&client, wanting("v3"), 100).await, ["old", "older"], "there is no such version");
    // The canary hangs: its callers suffer until its breaker opens, then they get the stable version.
    hosts[2].behave(Behaviour::Hanging);
    let codes = reached(&client, wanting("v2"), 20).await;
    assert_eq!(codes, ["error deadline_exceeded", "old", "older"]);
    assert_eq!(reached(&client, Call::default(), 100).await, ["old", "older"]);

    // Nothing says which version is stable: whoever asks for none may get any.
    let hosts = hosts.map(|host| Host::new(host.name, WELL));
    let (_channels, client) = remote_at(&hosts, &texts, Config::default(), |_| {});
    assert_eq!(reached(&client, Call::default(), 300).await, ["new", "old", "older"]);
    assert_eq!(reached(&client, wanting("v2"), 100).await, ["new"]);
}

#[tokio::test(start_paused = true)]
async fn calls_leave_their_zone_when_less_than_half_of_it_is_left() {
    let hosts = ["near1", "near2", "far"].map(|name| Host::new(name, WELL));
    let texts = ["http://near1#zone=a", "http://near2#zone=a", "http://far#zone=b"];
    let config = Config { services: no_retries(), ..read(json!({ "zone": "a" })) };
    let (_channels, client) = remote_at(&hosts, &texts, config, |_| {});
    assert_eq!(reached(&client, Call::default(), 100).await, ["near1", "near2"]);
    let settled = async |client: &ProbeClient| {
        // Calls fail until the breaker opens.
        reached(client, Call::default(), 30).await;
        reached(client, Call::default(), 100).await
    };
    hosts[0].behave(Behaviour::Gone);
    hosts[1].behave(Behaviour::Gone);
    // Connections there are still serve, and fail: the answers open what they may, one of three.
    let names = settled(&client).await;
    assert!(names.contains(&"far".to_owned()), "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn a_user_keeps_their_host_and_an_anonymous_one_is_known_by_address() {
    let hosts = ["a", "b", "c", "d", "e"].map(|name| Host::new(name, WELL));
    let from = |address: &str| Origin { address: address.into(), user_agent: String::new() };
    let user = |id: &str, session: &str, address: &str| Call {
        caller: Caller { kind: CallerKind::User, user_id: id.into(), session_id: session.into(), ..Caller::default() },
        origin: Some(Arc::new(from(address))),
        ..Call::default()
    };
    let client =
        |balance, hash_on| remote(&hosts, move |policy| (policy.balance, policy.hash_on) = (balance, hash_on)).1;
    let one = async |client: &ProbeClient, who: Call| {
        let names = reached(client, who, 20).await;
        assert_eq!(names.len(), 1, "{names:?}");
        names[0].clone()
    };
    // What the hosts of twenty callers are, where only one thing about them differs.
    let spread = async |client: &ProbeClient, who: &dyn Fn(usize) -> Call| {
        let mut names = BTreeSet::new();
        for number in 0..20 {
            names.insert(one(client, who(number)).await);
        }
        names.len()
    };
    let by_user = client(Balance::ConsistentHash, HashOn::User);
    assert!(spread(&by_user, &|number| user(&format!("usr_{number}"), "ses", "1.1.1.1")).await > 3);
    assert_eq!(spread(&by_user, &|number| user("usr", &format!("ses_{number}"), &format!("1.1.1.{number}"))).await, 1);
    let by_session = client(Balance::ConsistentHash, HashOn::Session);
    assert!(spread(&by_session, &|number| user("usr", &format!("ses_{number}"), "1.1.1.1")).await > 3);
    assert_eq!(spread(&by_session, &|number| user(&format!("usr_{number}"), "ses", "1.1.1.1")).await, 1);
    let by_address = client(Balance::IpHash, HashOn::User);
    assert!(spread(&by_address, &|number| user("usr", "ses", &format!("1.1.1.{number}"))).await > 3);
    assert_eq!(spread(&by_address, &|number| user(&format!("usr_{number}"), "ses", "1.1.1.1")).await, 1);
    // Who is not signed in has an address.
    let anonymous =
        |number: usize| Call { origin: Some(Arc::new(from(&format!("1.1.2.{number}")))), ..Call::default() };
    assert!(spread(&by_user, &anonymous).await > 3);
    assert!(reached(&by_user, Call::default(), 50).await.len() > 3, "nothing is known of the caller");
}

/// A registry of one service.
struct Registry(watch::Sender<Vec<String>>);

impl Discover for Registry {
    fn watch(&self, _service: &str) -> watch::Receiver<Vec<String>> {
        self.0.subscribe()
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_joins_warms_up_and_one_whose_attributes_change_keeps_its_connection() {
    let hosts = ["one", "two"].map(|name| Host::new(name, Behaviour::Well(Duration::ZERO)));
    let registry = Registry(watch::channel(Vec::new()).0);
    let list = |texts: &[&str]| _ = registry.0.send_replace(texts.iter().map(ToString::to_string).collect());
    let channels = Channels::new(with_secret(Config::default()));
    let policy = Policy {
        connect: Some(start(&hosts)),
        slow_start: 100 * SECOND,
        balance: Balance::WeightedRoundRobin,
        ..Policy::default()
    };
    channels.mount_discovered_with("probe", &registry, policy).unwrap();
    let mut client: ProbeClient = channels.client();
    assert_eq!(call(&mut client, CHANGE, SECOND).await, Err("no_endpoint".into()));
    // The first list warms nobody up, however late it comes: there is nobody else to bear the calls.
    list(&["http://one"]);
    assert_eq!(call(&mut client, CHANGE, SECOND).await, Ok("one".into()));
    list(&["http://one", "http://two", "http://three#weight=0", "nonsense"]);
    let percent_of_two = async |client: &ProbeClient| {
        hosts.iter().for_each(|host| _ = host.take_calls());
        reached(client, Call::default(), 200).await;
        hosts[1].take_calls() * 100 / 200
    };
    assert!((5..=10).contains(&percent_of_two(&client).await), "a tenth of the other's");
    sleep(50 * SECOND).await;
    assert!((30..=35).contains(&percent_of_two(&client).await), "half of the other's");
    sleep(50 * SECOND).await;
    assert_eq!(percent_of_two(&client).await, 50);
    list(&["http://one#zone=b", "http://two#weight=3"]);
    assert_eq!(percent_of_two(&client).await, 75);
    assert_eq!((hosts[0].connections(), hosts[1].connections()), (1, 1));
    list(&["http://two"]);
    assert_eq!(percent_of_two(&client).await, 100);
}

#[tokio::test(start_paused = true)]
async fn an_operator_sees_every_endpoint_and_every_method_with_a_policy() {
    let hosts = ["a", "b"].map(|name| Host::new(name, WELL));
    let config = read(json!({
        "methods": { "probe.Read": { "fallback": "empty" }, "other.Get": { "concurrency_max": 1 } },
        "retry": { "attempts_max": 1 },
    }));
    let texts = ["http://a#version=v1;zone=z;weight=7", "http://b"];
    let (channels, mut client) = remote_at(&hosts, &texts, config, |policy| policy.balance = Balance::RoundRobin);
    hosts[1].behave(Behaviour::Hanging);
    let mut hung = 0;
    while hung < 5 {
        hung += u32::from(call(&mut client, CHANGE, SECOND).await.is_err());
    }
    let snapshot = channels.snapshot();
    let [a, b] = snapshot.endpoints.as_slice() else { panic!("{snapshot:?}") };
    assert_eq!((&*a.service, &*a.endpoint, &*a.version, &*a.zone, a.weight), ("probe", "http://a", "v1", "z", 7));
    assert_eq!((a.state, a.failed, a.opened, a.open_for), ("closed", 0, 0, None));
    assert!(a.calls > 0 && a.average_us >= 900, "{a:?}");
    assert_eq!((b.state, b.opened, &*b.reason), ("open", 1, "5 calls in a row without an answer"));
    assert!(b.open_for.is_some_and(|left| left <= 500 * MS && left >= 400 * MS), "{b:?}");
    let [method] = snapshot.methods.as_slice() else { panic!("{snapshot:?}") };
    assert_eq!((&*method.method, &*method.policy, method.state), ("Read", "fallback empty", "closed"));

    let host = Host::new("host", Behaviour::Failing);
    let (channels, mut client) = local(&host, json!({ "retry": { "attempts_max": 1 } }));
    for _ in 0..3 {
        let _ = call(&mut client, CHANGE, SECOND).await;
    }
    let snapshot = channels.snapshot();
    let [near] = snapshot.endpoints.as_slice() else { panic!("{snapshot:?}") };
    assert_eq!((&*near.endpoint, near.calls, near.failed, near.in_flight), ("local", 3, 3, 0));
    assert_eq!(Channels::default().snapshot(), mallard_rpc::Snapshot::default());
}
