//! Endpoints that misbehave: breakers and balancing.

use std::time::Duration;

use futures_util::future::join_all;
use mallard_rpc::{Balance, Channels, Policy};
use tokio::time::{Instant, sleep, timeout};

use crate::support::{CHANGE, ProbeClient};
use crate::upstream::{Behaviour, Host, MS, SECOND, call, remote};

const ALL: [Balance; 6] = [
    Balance::P2c,
    Balance::RoundRobin,
    Balance::WeightedRoundRobin,
    Balance::LeastConnections,
    Balance::IpHash,
    Balance::ConsistentHash,
];
const WELL: Behaviour = Behaviour::Well(Duration::from_millis(5));

/// Calls that change something, one after the other, so that nothing is tried again; returns how many failed.
async fn failures(client: &mut ProbeClient, calls: u32) -> u32 {
    let mut failed = 0;
    for _ in 0..calls {
        failed += u32::from(call(client, CHANGE, SECOND).await.is_err());
    }
    failed
}

fn state_of(channels: &Channels, host: &Host) -> (&'static str, String, u64) {
    let endpoint = format!("http://{}", host.name);
    let state = channels.snapshot().endpoints.into_iter().find(|state| state.endpoint == endpoint).unwrap();
    (state.state, state.reason, state.opened)
}

fn balanced(balance: Balance) -> impl Fn(&mut Policy) {
    move |policy| policy.balance = balance
}

#[tokio::test(start_paused = true)]
async fn a_slow_host_is_left_out_where_answer_times_matter() {
    for balance in ALL {
        let (slow, well) = (Host::new("slow", Behaviour::Well(300 * MS)), Host::new("well", WELL));
        let (channels, mut client) = remote(&[slow.clone(), well.clone()], |policy| {
            policy.balance = balance;
            (policy.breaker.slow, policy.breaker.slow_percent) = (200 * MS, 50);
            policy.breaker.calls_min = 10;
        });
        let started = Instant::now();
        assert_eq!(failures(&mut client, 300).await, 0);
        assert!(slow.take_calls() < 40, "{balance:?}");
        assert!(started.elapsed() < 15 * SECOND, "{balance:?}");
        if !matches!(balance, Balance::P2c) {
            // Two choices hardly meet it often enough to have to leave it out.
            let (_, reason, opened) = state_of(&channels, &slow);
            assert!(opened > 0 && reason.contains("took 200 ms or more") || reason.contains("were slow"), "{reason}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_fast_costs_few_calls() {
    for balance in ALL {
        let (bad, well) = (Host::new("bad", Behaviour::Failing), Host::new("well", WELL));
        let (_channels, mut client) = remote(&[bad.clone(), well.clone()], balanced(balance));
        let failed = failures(&mut client, 1_000).await;
        // Five in a row open it; then there are three probes each pause at most.
        assert!(failed < 40, "{balance:?}: {failed} of 1000 failed");
        assert_eq!(failed, bad.take_calls(), "{balance:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_fails_half_the_time_is_left_out() {
    for balance in ALL {
        let (half, well) = (Host::new("half", Behaviour::FailingHalf), Host::new("well", WELL));
        let (channels, mut client) = remote(&[half.clone(), well.clone()], balanced(balance));
        let failed = failures(&mut client, 1_000).await;
        // It may pass three probes by luck. Without a breaker every fourth call would fail, of some balancers.
        assert!(failed < 125, "{balance:?}: {failed} of 1000 failed");
        if !matches!(balance, Balance::P2c | Balance::LeastConnections) {
            assert!(state_of(&channels, &half).2 > 0, "{balance:?}: it was never opened");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_hangs_costs_a_few_calls_their_deadline_and_no_more() {
    for balance in ALL {
        let (hanging, well) = (Host::new("hanging", Behaviour::Hanging), Host::new("well", WELL));
        let (channels, mut client) = remote(&[hanging.clone(), well.clone()], balanced(balance));
        let failed = failures(&mut client, 500).await;
        // Five in a row open it; the probes of the pauses that follow hang as well.
        assert!(failed <= 5 + 3 * 6, "{balance:?}: {failed} of 500 hung");
        assert_eq!(hanging.under_way(), 0, "{balance:?}: calls that were given up go on");
        assert_eq!(failed, hanging.take_calls(), "{balance:?}");
        if balance != Balance::P2c && balance != Balance::LeastConnections {
            assert!(state_of(&channels, &hanging).2 > 0, "{balance:?}");
        }
        hanging.behave(WELL);
        sleep(11 * SECOND).await;
        failures(&mut client, 10).await;
        failures(&mut client, 200).await;
        assert!(hanging.take_calls() > 20, "{balance:?}: it is used again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_flaps_is_used_while_it_is_well() {
    for balance in ALL {
        let flapping = Host::new("flapping", Behaviour::Flapping(5 * SECOND));
        let (_channels, mut client) = remote(&[flapping.clone(), Host::new("well", WELL)], balanced(balance));
        let (mut failed, mut calls) = (0, 0);
        let started = Instant::now();
        while started.elapsed() < 60 * SECOND {
            failed += failures(&mut client, 1).await;
            calls += 1;
            sleep(40 * MS).await;
        }
        // Five failures and four pauses' probes each time; without a breaker it would be a quarter.
        assert!(failed * 8 < calls, "{balance:?}: {failed} of {calls} failed");
        assert!(flapping.take_calls() > 2 * failed, "{balance:?}: it is left out for good");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_gone_costs_five_calls_and_one_that_comes_back_is_used() {
    for balance in ALL {
        let (gone, well) = (Host::new("gone", Behaviour::Gone), Host::new("well", WELL));
        let (channels, mut client) = remote(&[gone.clone(), well.clone()], balanced(balance));
        let failed = failures(&mut client, 200).await;
        assert!((1..=5 + 3 * 3).contains(&failed), "{balance:?}: {failed}");
        gone.behave(WELL);
        sleep(11 * SECOND).await;
        failures(&mut client, 10).await;
        failures(&mut client, 100).await;
        assert!(gone.take_calls() > 10, "{balance:?}: it is used again");
        assert_eq!(state_of(&channels, &gone).0, "closed");
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_good_calls_do_not_keep_a_breaker_from_opening_within_one_window() {
    let host = Host::new("host", Behaviour::Well(MS));
    let (channels, mut client) = remote(std::slice::from_ref(&host), |policy| {
        // Only the ratio shall decide.
        policy.breaker.consecutive_max = 1_000_000;
        policy.ejection_max_percent = 100;
    });
    assert_eq!(failures(&mut client, 10_000).await, 0);
    host.behave(Behaviour::Failing);
    let outage = Instant::now();
    while state_of(&channels, &host).0 == "closed" {
        assert!(outage.elapsed() <= Policy::default().breaker.window, "still closed after a whole window");
        failures(&mut client, 1).await;
        sleep(10 * MS).await;
    }
    assert_eq!(call(&mut client, CHANGE, SECOND).await, Err("no_endpoint".into()));
}

#[tokio::test(start_paused = true)]
async fn the_only_host_is_left_out_for_silence_and_not_for_its_answers() {
    let host = Host::new("host", Behaviour::Failing);
    let (channels, mut client) = remote(std::slice::from_ref(&host), |_| {});
    for _ in 0..200 {
        assert_eq!(call(&mut client, CHANGE, SECOND).await, Err("db_away".into()));
    }
    assert_eq!(state_of(&channels, &host).2, 0);
    host.behave(Behaviour::Hanging);
    while state_of(&channels, &host).0 == "closed" {
        assert_eq!(call(&mut client, CHANGE, SECOND).await, Err("deadline_exceeded".into()));
    }
    assert_eq!(state_of(&channels, &host).1, "5 calls in a row without an answer");
}

#[tokio::test(start_paused = true)]
async fn no_more_hosts_are_left_out_for_their_answers_than_the_cap() {
    let hosts: Vec<_> = ["a", "b", "c", "d"].map(|name| Host::new(name, Behaviour::Failing)).into();
    let (channels, mut client) = remote(&hosts, balanced(Balance::RoundRobin));
    for _ in 0..400 {
        // There is always somebody to ask.
        assert_eq!(call(&mut client, CHANGE, SECOND).await, Err("db_away".into()));
        let out = hosts.iter().filter(|host| state_of(&channels, host).0 != "closed").count();
        assert!(out <= 2, "{out} of four are left out");
    }
    assert_eq!(hosts.iter().filter(|host| state_of(&channels, host).0 != "closed").count(), 2);
}

/// Leaves the only host out and waits until it may be tried again.
async fn left_out(behaviour: Behaviour) -> (Host, Channels, ProbeClient) {
    let host = Host::new("host", Behaviour::Hanging);
    let (channels, mut client) = remote(std::slice::from_ref(&host), |_| {});
    while call(&mut client, CHANGE, SECOND).await != Err("no_endpoint".into()) {}
    sleep(SECOND).await;
    host.behave(behaviour);
    (host, channels, client)
}

#[tokio::test(start_paused = true)]
async fn a_crowd_at_a_host_that_may_be_back_is_no_more_than_the_probes() {
    let (host, channels, client) = left_out(Behaviour::Well(50 * MS)).await;
    host.take_most_under_way();
    let crowd = (0..100).map(|_| {
        let mut client = client.clone();
        async move { call(&mut client, CHANGE, SECOND).await }
    });
    let answers = join_all(crowd).await;
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!((good, host.take_most_under_way()), (3, 3));
    assert!(answers.iter().all(|answer| answer.is_ok() || *answer == Err("no_endpoint".into())));
    assert_eq!(state_of(&channels, &host).0, "closed");
}

#[tokio::test(start_paused = true)]
async fn probes_given_up_by_their_callers_make_room_for_others() {
    let (host, _channels, mut client) = left_out(Behaviour::Hanging).await;
    for _ in 0..20 {
        let given_up = timeout(MS, call(&mut client, CHANGE, SECOND)).await;
        assert!(given_up.is_err(), "it was sent, and hung");
    }
    host.behave(Behaviour::Well(MS));
    assert_eq!(call(&mut client, CHANGE, SECOND).await, Ok("host".into()));
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_to_a_call_of_before_does_not_close_the_breaker() {
    let host = Host::new("host", Behaviour::Well(5 * SECOND));
    let (channels, client) = remote(std::slice::from_ref(&host), |_| {});
    let patient = || {
        let mut client = client.clone();
        tokio::spawn(async move { call(&mut client, CHANGE, 20 * SECOND).await })
    };
    let early: Vec<_> = (0..10).map(|_| patient()).collect();
    sleep(MS).await;
    host.behave(Behaviour::Hanging);
    let mut hasty = client.clone();
    while call(&mut hasty, CHANGE, SECOND).await != Err("no_endpoint".into()) {
        assert_ne!(host.under_way(), 0);
        if state_of(&channels, &host).0 == "open" {
            break;
        }
    }
    let opened = state_of(&channels, &host);
    for call in early {
        assert_eq!(call.await.unwrap(), Ok("host".into()), "they end well, later");
    }
    assert_eq!(state_of(&channels, &host), opened);
}

#[tokio::test(start_paused = true)]
async fn a_host_is_left_alone_for_as_long_as_it_asks() {
    let (busy, well) = (Host::new("busy", Behaviour::FailingFor(8 * SECOND)), Host::new("well", WELL));
    let (channels, mut client) = remote(&[busy.clone(), well], balanced(Balance::RoundRobin));
    while state_of(&channels, &busy).0 == "closed" {
        failures(&mut client, 1).await;
    }
    busy.take_calls();
    let opened = Instant::now();
    while opened.elapsed() < Duration::from_millis(7_900) {
        assert_eq!(failures(&mut client, 1).await, 0);
        sleep(50 * MS).await;
    }
    assert_eq!(busy.take_calls(), 0);
    sleep(200 * MS).await;
    assert_eq!(failures(&mut client, 1).await, 1, "the probe");
}
