//! Methods that misbehave: time-out, retries and their budget, hedge, bulkhead, breaker, fallback.

use std::time::Duration;

use futures_util::future::join_all;
use mallard_rpc::{Call, Caller, CallerKind, Channels, MethodState, error, scope};
use mallard_types::Kind;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};
use tonic::Request;

use crate::support::{CHANGE, GET, Note, ProbeClient, note};
use crate::upstream::{Behaviour, Host, MS, READ, SECOND, call, local, read, remote_at};

const WELL: Behaviour = Behaviour::Well(Duration::ZERO);

fn method(channels: &Channels, name: &str) -> MethodState {
    channels.snapshot().methods.into_iter().find(|state| state.method == name).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_hanging_method_ends_at_its_own_time_out_or_the_callers_nearer_deadline() {
    let host = Host::new("host", Behaviour::Hanging);
    let (_channels, mut client) = local(&host, json!({ "methods": { "probe.Change": { "timeout_ms": 300 } } }));
    for (path, asked, took) in [(CHANGE, 5 * SECOND, 300 * MS), (CHANGE, 100 * MS, 100 * MS), (GET, SECOND, SECOND)] {
        let started = Instant::now();
        assert_eq!(call(&mut client, path, asked).await, Err("deadline_exceeded".into()));
        assert_eq!(started.elapsed(), took);
    }
    let started = Instant::now();
    assert!(client.change(note("")).await.is_err());
    assert_eq!(started.elapsed(), 300 * MS, "without any deadline of the caller");
}

#[tokio::test(start_paused = true)]
async fn retries_of_a_method_are_its_own_and_the_budget_its_services() {
    let host = Host::new("host", Behaviour::Failing);
    let (channels, mut client) = local(
        &host,
        json!({
            "services": { "probe": { "retry": { "attempts_max": 1, "budget_percent": 30, "budget_reserve": 5 } } },
            "methods": { "probe.Get": { "retry": { "attempts_max": 10 } } },
        }),
    );
    for _ in 0..1_000 {
        assert!(client.get(note("")).await.is_err());
    }
    assert_eq!(host.take_calls(), 1_000 + 300 + 5, "30 % and the reserve, to the call");
    assert_eq!(method(&channels, "Get").retries, 305);
    // Of a method without a policy of its own, the service's: none.
    assert!(client.send(READ, Request::new(note(""))).await.is_err());
    assert_eq!(host.take_calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_fails_half_the_time_is_saved_by_retries_and_the_budget_is_not_spent() {
    let host = Host::new("host", Behaviour::FailingHalf);
    let (_channels, mut client) = local(&host, json!({ "retry": { "budget_percent": 100 } }));
    for _ in 0..500 {
        assert!(client.get(note("")).await.is_ok());
    }
    assert!(host.take_calls() <= 1_001);
}

#[tokio::test(start_paused = true)]
async fn a_method_with_side_effects_is_neither_tried_again_nor_hedged_nor_made_up_whatever_is_configured() {
    let policy = json!({
        "retry": { "attempts_max": 5 }, "hedge_after_ms": 10, "fallback": "empty", "timeout_ms": 1000,
    });
    let config =
        json!({ "methods": { "probe.Change": policy, "probe.Get": { "hedge_after_ms": 10, "fallback": "empty" } } });
    for (behaviour, code) in [(Behaviour::Failing, "db_away"), (Behaviour::Hanging, "deadline_exceeded")] {
        let host = Host::new("host", behaviour);
        let (channels, mut client) = local(&host, config.clone());
        assert_eq!(call(&mut client, CHANGE, 2 * SECOND).await, Err(code.into()));
        assert_eq!(host.take_calls(), 1);
        let state = method(&channels, "Change");
        assert_eq!((state.calls, state.retries, state.hedges, state.fallbacks), (1, 0, 0, 0));
        // One that may run twice, but not for nothing: tried again, nothing more.
        assert_eq!(call(&mut client, GET, 2 * SECOND).await, Err(code.into()));
        let state = method(&channels, "Get");
        assert_eq!((state.hedges, state.fallbacks), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_is_asked_for_elsewhere_and_the_loser_is_cancelled() {
    for behaviour in [Behaviour::Well(5 * SECOND), Behaviour::Hanging] {
        let (late, well) = (Host::new("late", behaviour), Host::new("well", Behaviour::Well(5 * MS)));
        let config = read(json!({
            "retry": { "budget_percent": 100 },
            "methods": { "probe.Read": { "hedge_after_ms": 50 } },
        }));
        let texts = ["http://late", "http://well"];
        let (channels, mut client) = remote_at(&[late.clone(), well], &texts, config, |policy| {
            policy.balance = mallard_rpc::Balance::RoundRobin
        });
        for _ in 0..50 {
            let started = Instant::now();
            assert_eq!(call(&mut client, READ, 2 * SECOND).await, Ok("well".into()));
            assert!(started.elapsed() < 70 * MS, "{behaviour:?}: {:?}", started.elapsed());
        }
        let asked = late.take_calls();
        assert!(asked > 0);
        assert_eq!(method(&channels, "Read").hedges, u64::from(asked), "one for each that was late, no more");
        // The cancellations travel; nothing else does.
        sleep(MS).await;
        assert_eq!(late.under_way(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn hedges_and_retries_share_one_budget() {
    let host = Host::new("host", Behaviour::Hanging);
    let (channels, client) = local(
        &host,
        json!({
            "retry": { "budget_percent": 30, "budget_reserve": 5 },
            "methods": { "probe.Read": { "hedge_after_ms": 50, "timeout_ms": 200 } },
        }),
    );
    for _ in 0..200 {
        let mut client = client.clone();
        assert_eq!(call(&mut client, READ, SECOND).await, Err("deadline_exceeded".into()));
    }
    assert_eq!(method(&channels, "Read").hedges, 60 + 5);
    assert_eq!(host.take_calls(), 200 + 60 + 5);
    host.behave(Behaviour::Failing);
    for _ in 0..100 {
        assert!(client.clone().send(READ, Request::new(note(""))).await.is_err());
    }
    assert_eq!(host.take_calls(), 100 + 30);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_hangs_takes_no_more_than_its_places() {
    let host = Host::new("host", Behaviour::Hanging);
    let (channels, client) = local(&host, json!({ "methods": { "probe.Change": { "concurrency_max": 4 } } }));
    let crowd = (0..100).map(|_| {
        let mut client = client.clone();
        async move {
            let started = Instant::now();
            let refused = error(client.change(note("")).await.unwrap_err());
            (refused.kind, refused.code.into_owned(), refused.retry_after_ms, started.elapsed())
        }
    });
    let ends = join_all(crowd).await;
    let full = (Kind::Unavailable, "bulkhead_full".to_owned(), Some(100), Duration::ZERO);
    assert_eq!(ends.iter().filter(|end| **end == full).count(), 96, "refused at once");
    assert_eq!((host.take_calls(), host.take_most_under_way()), (4, 4));
    assert_eq!(method(&channels, "Change").rejected, 96);
    // A caller that gives up leaves its place.
    for _ in 0..10 {
        assert!(timeout(MS, client.clone().change(note(""))).await.is_err());
    }
    assert_eq!(host.take_calls(), 10);
    // Other methods have places of their own.
    host.behave(WELL);
    assert!(client.clone().get(note("")).await.is_ok());
}

fn breaker(change: serde_json::Value) -> serde_json::Value {
    let mut settings = json!({ "jitter_percent": 0 });
    settings.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    json!({ "methods": { "probe.Change": { "breaker": settings, "timeout_ms": 1000 } } })
}

#[tokio::test(start_paused = true)]
async fn a_method_that_misbehaves_is_left_alone_and_called_again_once_it_is_well() {
    let slow = json!({ "slow_ms": 200, "slow_percent": 50 });
    let cases = [
        (Behaviour::Failing, json!({}), 5, "5 calls in a row without an answer"),
        (Behaviour::Hanging, json!({}), 5, "5 calls in a row without an answer"),
        (Behaviour::FailingHalf, json!({}), 20, "10 of 20 calls failed"),
        (Behaviour::Well(300 * MS), slow, 20, "20 of 20 calls took 200 ms or more"),
    ];
    for (behaviour, settings, calls, reason) in cases {
        // Near or far makes no difference: it is the method's breaker.
        let host = Host::new("host", behaviour);
        let (channels, mut client) = local(&host, breaker(settings));
        while method(&channels, "Change").state == "closed" {
            let _ = call(&mut client, CHANGE, 5 * SECOND).await;
        }
        assert_eq!((host.take_calls(), &*method(&channels, "Change").reason), (calls, reason), "{behaviour:?}");
        let refused = error(client.change(note("")).await.unwrap_err());
        assert_eq!((refused.kind, &*refused.code), (Kind::Unavailable, "breaker_open"), "{behaviour:?}");
        assert!(refused.retry_after_ms.is_some_and(|ms| ms <= 501), "{refused:?}");
        assert_eq!(host.take_calls(), 0, "{behaviour:?}: it was called all the same");
        host.behave(WELL);
        sleep(501 * MS).await;
        for _ in 0..10 {
            assert!(client.change(note("")).await.is_ok(), "{behaviour:?}");
        }
        assert_eq!(method(&channels, "Change").state, "closed", "{behaviour:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_method_that_flaps_is_called_while_it_is_well() {
    let host = Host::new("host", Behaviour::Flapping(5 * SECOND));
    let (_channels, mut client) = local(&host, breaker(json!({})));
    let (mut good, mut refused, mut failed) = (0, 0, 0);
    let started = Instant::now();
    while started.elapsed() < 60 * SECOND {
        match call(&mut client, CHANGE, SECOND).await {
            Ok(_) => good += 1,
            Err(code) if code == "breaker_open" => refused += 1,
            Err(_) => failed += 1,
        }
        sleep(10 * MS).await;
    }
    assert!(failed <= 6 * 5 + 40, "{failed} calls went to a method that failed");
    assert!(good > 2_200, "{good} of about 3000 good seconds' calls, {refused} refused");
}

#[tokio::test(start_paused = true)]
async fn refusals_of_a_caller_with_too_little_time_and_of_the_rules_do_not_open_the_breaker() {
    let host = Host::new("host", Behaviour::Hanging);
    let (channels, mut client) = local(&host, breaker(json!({})));
    for _ in 0..100 {
        assert_eq!(call(&mut client, CHANGE, 10 * MS).await, Err("deadline_exceeded".into()));
    }
    assert_eq!(method(&channels, "Change").state, "closed");
}

fn user(id: &str) -> Call {
    let caller = Caller { kind: CallerKind::User, user_id: id.into(), language: "en".into(), ..Caller::default() };
    Call { caller, ..Call::default() }
}

/// One call of a user; returns the text of the answer and how it was made up, if it was.
async fn ask(client: &ProbeClient, who: &Call, text: &str) -> Result<(String, Option<String>), String> {
    let mut client = client.clone();
    let answer = scope(who.clone(), async move { client.answer(READ, Request::new(note(text))).await }).await;
    let answer = answer.map_err(|status| error(status).code.into_owned())?;
    let made_up = answer.metadata().get("mallard-fallback").map(|kind| kind.to_str().unwrap().to_owned());
    Ok((answer.into_inner().text, made_up))
}

fn fallback(kind: &str, shared: bool) -> serde_json::Value {
    let policy = json!({
        "fallback": kind, "fallback_shared": shared, "timeout_ms": 500, "retry": { "attempts_max": 1 },
        "concurrency_max": 4, "breaker": { "consecutive_max": 3 }, "last_good_age_max_ms": 600_000,
    });
    json!({ "methods": { "probe.Read": policy } })
}

#[tokio::test(start_paused = true)]
async fn the_last_good_answer_to_the_same_caller_stands_in_for_none() {
    let (ann, bob) = (user("ann"), user("bob"));
    let host = Host::new("host", WELL);
    let (channels, client) = local(&host, fallback("last_good", false));
    assert_eq!(ask(&client, &ann, "1").await, Ok(("host ann 1".into(), None)));
    let kept = Ok(("host ann 1".to_owned(), Some("last_good".to_owned())));
    for behaviour in [Behaviour::Failing, Behaviour::Hanging, Behaviour::Failing] {
        host.behave(behaviour);
        assert_eq!(ask(&client, &ann, "1").await, kept, "{behaviour:?}");
    }
    // By now the breaker is open: nobody is asked.
    host.take_calls();
    assert_eq!(ask(&client, &ann, "1").await, kept);
    assert_eq!((host.take_calls(), method(&channels, "Read").fallbacks), (0, 4));
    // Another request, another caller, another version: not that answer.
    for (who, text) in [(&ann, "2"), (&bob, "1"), (&Call::default(), "1")] {
        assert_eq!(ask(&client, who, text).await, Err("breaker_open".into()));
    }
    sleep(601 * SECOND).await;
    assert_eq!(ask(&client, &ann, "1").await, Err("db_away".into()), "it is too old");
}

#[tokio::test(start_paused = true)]
async fn where_answers_do_not_depend_on_who_asks_one_serves_all_of_a_language() {
    let host = Host::new("host", WELL);
    let (_channels, client) = local(&host, fallback("last_good", true));
    assert!(ask(&client, &user("ann"), "1").await.is_ok());
    host.behave(Behaviour::Failing);
    assert_eq!(ask(&client, &user("bob"), "1").await, Ok(("host ann 1".into(), Some("last_good".into()))));
    let mut german = user("bob");
    german.caller.language = "de".into();
    assert_eq!(ask(&client, &german, "1").await, Err("db_away".into()));
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_stands_in_for_none_also_when_there_is_no_place() {
    let ann = user("ann");
    let empty = Ok((String::new(), Some("empty".to_owned())));
    let host = Host::new("host", Behaviour::Hanging);
    let (channels, client) = local(&host, fallback("empty", false));
    let answers = join_all((0..100).map(|_| ask(&client, &ann, "1"))).await;
    assert!(answers.iter().all(|answer| *answer == empty), "{answers:?}");
    let state = method(&channels, "Read");
    assert_eq!((host.take_calls(), state.rejected, state.fallbacks), (4, 96, 100));
    assert_eq!(state.state, "open", "four that hung are enough");
    assert_eq!(ask(&client, &ann, "1").await, empty);
    assert_eq!(state.policy, "timeout 500 ms, retry 1, at most 4 at once, breaker, fallback empty");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_an_answer_and_an_answer_that_is_large_passes_unkept() {
    let host = Host::new("host", WELL);
    let (_channels, client) = local(&host, fallback("last_good", false));
    let large = "x".repeat(300 * 1024);
    let mut asked = client.clone();
    let answer: Note = asked.send(READ, Request::new(note(large.clone()))).await.unwrap();
    assert_eq!(answer.text.len(), large.len() + "host  ".len());
    host.behave(Behaviour::Failing);
    assert_eq!(error(asked.send(READ, Request::new(note(large))).await.unwrap_err()).code, "db_away");
}

#[tokio::test(start_paused = true)]
async fn fallbacks_work_far_away_as_well() {
    let host = Host::new("host", WELL);
    let config = read(fallback("last_good", false));
    let (_channels, client) = remote_at(std::slice::from_ref(&host), &["http://host"], config, |_| {});
    assert!(ask(&client, &user("ann"), "1").await.is_ok());
    for behaviour in [Behaviour::Failing, Behaviour::Hanging] {
        host.behave(behaviour);
        let kept = Ok(("host ann 1".into(), Some("last_good".into())));
        assert_eq!(ask(&client, &user("ann"), "1").await, kept, "{behaviour:?}");
    }
}
