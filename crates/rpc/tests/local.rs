//! Calls within one process.

mod support;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mallard_rpc::{
    Call, Caller, CallerKind, Channels, Client, Config, Fault, FaultAction, Origin, Surface, Trace, current, error,
    scope, status,
};
use mallard_types::{Error, Kind};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tonic::service::Routes;
use tonic::{Code, Request, Status};

use support::{GET, Note, ProbeClient, echo, note, routes};

const SECOND: Duration = Duration::from_secs(1);

fn mounted(routes: Routes) -> (Channels, ProbeClient) {
    let channels = Channels::new(Config { seed: Some(1), ..Config::default() });
    channels.mount_local("probe", routes);
    let client = channels.client();
    (channels, client)
}

/// Routes that count their calls.
fn counting() -> (Arc<AtomicU32>, Routes) {
    let calls = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&calls);
    let routes = routes(move |request| {
        let call = counter.fetch_add(1, Ordering::SeqCst) + 1;
        async move { Ok(Note { number: i64::from(call), ..request.into_inner() }) }
    });
    (calls, routes)
}

fn shopper() -> Call {
    Call {
        caller: Caller {
            kind: CallerKind::User,
            user_id: "usr_1".into(),
            session_id: "ses_1".into(),
            roles: vec!["seller".into(), "règle, no. 2".into()],
            seller_id: "sel_1".into(),
            surface: Surface::Store,
            language: "zh-CN".into(),
        },
        trace: Trace::new(0xabc, 0xdef),
        deadline: None,
        at: Some(-5),
        request_id: "req 1".into(),
        origin: Some(Arc::new(Origin { address: "2001:db8::1".into(), user_agent: "Browser/5 (鸭; x)".into() })),
        versions: Some(Arc::new(vec![("cart".into(), "v2".into()), ("order".into(), "2026.11".into())])),
    }
}

#[tokio::test(start_paused = true)]
async fn a_channel_taken_before_its_service_works_once_it_is_mounted_and_again_fails_once_it_is_gone() {
    let channels = Channels::default();
    let mut client: ProbeClient = channels.client();
    let gone = |status: Status| {
        let e = error(status);
        assert_eq!((e.kind, &*e.code), (Kind::Unavailable, "service_not_running"));
    };
    gone(client.change(note("early")).await.unwrap_err());
    channels.mount_local("probe", echo());
    assert_eq!(client.change(note("now")).await.unwrap(), note("now"));
    channels.unmount("probe");
    gone(client.change(note("late")).await.unwrap_err());
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_deadline_ends_after_the_default_one() {
    let (_channels, mut client) = mounted(routes(|_| std::future::pending()));
    let started = Instant::now();
    assert_eq!(client.change(note("")).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(Instant::now() - started, 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn the_nearest_of_the_callers_and_the_requests_deadline_counts() {
    let (_channels, mut client) = mounted(routes(|_| std::future::pending()));
    for (caller, request, expected) in [(3, None, 3), (3, Some(1), 1), (3, Some(8), 3), (60, None, 60)] {
        let started = Instant::now();
        let call = Call { deadline: Some(started + caller * SECOND), ..Call::default() };
        let mut asked = Request::new(note(""));
        if let Some(seconds) = request {
            asked.set_timeout(seconds * SECOND);
        }
        let e = error(scope(call, client.send(GET, asked)).await.unwrap_err());
        assert_eq!((e.kind, &*e.code), (Kind::Deadline, "deadline_exceeded"));
        assert_eq!(Instant::now() - started, expected * SECOND);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_past_its_deadline_does_not_run() {
    let (calls, routes) = counting();
    let (_channels, mut client) = mounted(routes);
    let call = Call { deadline: Some(Instant::now()), ..Call::default() };
    assert_eq!(scope(call, client.get(note(""))).await.unwrap_err().code(), Code::DeadlineExceeded);
    assert_eq!(calls.load(Ordering::SeqCst), 0);
}

/// Mounts `outer`, which waits three seconds and calls `inner`, which hands its context to the test.
fn nested() -> (Channels, Arc<Mutex<Vec<Call>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (outer_seen, inner_seen) = (Arc::clone(&seen), Arc::clone(&seen));
    let channels = Channels::new(Config { seed: Some(1), ..Config::default() });
    let inner = ProbeClient::from_channel(channels.channel("inner"));
    channels.mount_local(
        "outer",
        routes(move |request| {
            outer_seen.lock().push(current());
            let mut inner = inner.clone();
            async move {
                sleep(3 * SECOND).await;
                inner.get(request.into_inner()).await
            }
        }),
    );
    channels.mount_local(
        "inner",
        routes(move |request| {
            inner_seen.lock().push(current());
            async move { Ok(request.into_inner()) }
        }),
    );
    (channels, seen)
}

#[tokio::test(start_paused = true)]
async fn caller_time_request_and_trace_reach_a_nested_call_and_the_deadline_shrinks() {
    let (channels, seen) = nested();
    let mut client = ProbeClient::from_channel(channels.channel("outer"));
    let started = Instant::now();
    let call = Call { deadline: Some(started + 5 * SECOND), ..shopper() };
    scope(call.clone(), client.get(note(""))).await.unwrap();
    let seen = seen.lock();
    let [outer, inner] = seen.as_slice() else { panic!("{seen:?}") };
    for hop in [outer, inner] {
        assert_eq!((&hop.caller, hop.at, &hop.request_id), (&call.caller, call.at, &call.request_id));
        assert_eq!(hop.trace.trace_id, call.trace.trace_id);
        assert_eq!(hop.deadline, call.deadline, "two seconds remained of five");
    }
    assert_ne!(outer.trace.span_id, call.trace.span_id);
    assert_ne!(inner.trace.span_id, outer.trace.span_id);
    assert_eq!(current(), Call::default());
}

#[tokio::test(start_paused = true)]
async fn a_call_of_nobody_is_anonymous_and_gets_a_trace() {
    let (channels, seen) = nested();
    ProbeClient::from_channel(channels.channel("outer")).get(note("")).await.unwrap();
    let seen = seen.lock();
    assert_eq!(seen[1].caller, Caller::default());
    assert!(!seen[0].trace.is_none());
    assert_eq!(seen[0].trace.trace_id, seen[1].trace.trace_id);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_internal_error_and_the_service_goes_on() {
    let (_channels, mut client) = mounted(routes(|request: Request<Note>| async move {
        assert_ne!(request.get_ref().text, "boom", "secret");
        Ok(request.into_inner())
    }));
    let e = error(client.get(note("boom")).await.unwrap_err());
    assert_eq!((e.kind, &*e.code), (Kind::Internal, "panic"));
    assert!(!e.message.contains("secret"));
    assert!(client.get(note("fine")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_error_arrives_as_it_was_made() {
    let (_channels, mut client) = mounted(routes(|_| async {
        Err(status(
            Error::refused("stock_short", "only 3 left").param("items[0]").details(serde_json::json!({ "left": 3 })),
        ))
    }));
    let e = error(client.get(note("")).await.unwrap_err());
    assert_eq!((e.kind, &*e.code, &*e.message), (Kind::Refused, "stock_short", "only 3 left"));
    assert_eq!(e.param.as_deref(), Some("items[0]"));
    assert_eq!(e.details.as_deref(), Some(&serde_json::json!({ "left": 3 })));
}

#[tokio::test(start_paused = true)]
async fn extensions_of_the_caller_do_not_reach_the_handler() {
    #[derive(Clone)]
    struct Smuggled;
    let (_channels, mut client) = mounted(routes(|request: Request<Note>| async move {
        assert!(request.extensions().get::<Smuggled>().is_none());
        Ok(request.into_inner())
    }));
    let mut request = Request::new(note(""));
    request.extensions_mut().insert(Smuggled);
    client.send(GET, request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn identity_headers_written_by_hand_are_replaced() {
    let (_channels, mut client) = mounted(routes(|request| async move {
        assert_eq!(current().caller, Caller::default());
        Ok(request.into_inner())
    }));
    let mut request = Request::new(note(""));
    request.metadata_mut().insert("mallard-caller", "s;i;order;;;;".parse().unwrap());
    client.send(GET, request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_drops_the_handlers_work_and_a_call_can_be_spawned() {
    struct SetOnDrop(Arc<Notify>);
    impl Drop for SetOnDrop {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    let (running, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (runs, drops) = (Arc::clone(&running), Arc::clone(&dropped));
    let (_channels, mut client) = mounted(routes(move |_| {
        let (runs, guard) = (Arc::clone(&runs), SetOnDrop(Arc::clone(&drops)));
        async move {
            let _guard = guard;
            runs.notify_one();
            std::future::pending().await
        }
    }));
    let call = tokio::spawn(async move { client.change(note("")).await });
    running.notified().await;
    call.abort();
    dropped.notified().await;
}

#[tokio::test(start_paused = true)]
async fn a_loop_of_calls_leaves_room_for_other_tasks() {
    let (_channels, mut client) = mounted(echo());
    let other = tokio::spawn(async {});
    let mut calls = 0;
    while !other.is_finished() {
        client.change(note("")).await.unwrap();
        calls += 1;
        assert!(calls < 1_000, "the other task never ran");
    }
}

/// Plays a list of faults, then none.
struct Script(Mutex<VecDeque<FaultAction>>);

impl Fault for Script {
    fn decide(&self, service: &str, method: &str) -> FaultAction {
        assert_eq!(service, "probe");
        assert!(["Get", "Change"].contains(&method));
        self.0.lock().pop_front().unwrap_or_default()
    }
}

fn faulty(faults: &[FaultAction]) -> (Arc<AtomicU32>, Channels, ProbeClient) {
    let (calls, routes) = counting();
    let (channels, client) = mounted(routes);
    channels.set_fault(Arc::new(Script(Mutex::new(faults.iter().copied().collect()))));
    (calls, channels, client)
}

#[tokio::test(start_paused = true)]
async fn lost_and_repeated_messages_are_what_a_network_would_make_of_them() {
    use FaultAction::*;
    // Fault, code the caller sees, times the callee ran.
    let cases = [
        (Pass, Ok(1), 1),
        (LoseRequest, Err("request_lost"), 0),
        (LoseReply, Err("reply_lost"), 1),
        (Duplicate, Ok(2), 2),
        (Delay(2 * SECOND), Ok(1), 1),
        (Delay(20 * SECOND), Err("deadline_exceeded"), 0),
    ];
    for (fault, seen, ran) in cases {
        let (calls, channels, mut client) = faulty(&[fault]);
        let answer = client.change(note("x")).await.map(|answer| answer.number).map_err(|status| error(status).code);
        assert_eq!(answer, seen.map_err(Into::into), "{fault:?}");
        assert_eq!(calls.load(Ordering::SeqCst), ran, "{fault:?}");
        channels.clear_fault();
        assert!(client.change(note("x")).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn only_idempotent_methods_are_tried_again_and_at_most_three_times() {
    use FaultAction::*;
    let (calls, _channels, mut client) = faulty(&[LoseReply, LoseRequest]);
    assert_eq!(client.get(note("x")).await.unwrap(), Note { text: "x".into(), number: 2 });
    assert_eq!(calls.load(Ordering::SeqCst), 2);

    let (_, _channels, mut client) = faulty(&[LoseRequest, LoseRequest, LoseRequest]);
    assert_eq!(error(client.get(note("x")).await.unwrap_err()).code, "request_lost");

    let (calls, _channels, mut client) = faulty(&[LoseReply]);
    assert_eq!(error(client.change(note("x")).await.unwrap_err()).code, "reply_lost");
    assert_eq!(calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_sees_ten_percent_more_calls_and_the_reserve() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&attempts);
    let (_channels, mut client) = mounted(routes(move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
        async { Err(status(Error::unavailable("db_away", "away"))) }
    }));
    for _ in 0..1_000 {
        assert_eq!(error(client.get(note("")).await.unwrap_err()).code, "db_away");
    }
    assert_eq!(attempts.load(Ordering::SeqCst), 1_000 + 100 + 10);
}

#[test]
fn the_same_seed_plays_the_same_run() {
    let run = |seed| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(async move {
            let channels = Channels::new(Config { seed: Some(seed), ..Config::default() });
            channels.mount_local("probe", routes(|_| async { Err(status(Error::unavailable("away", "away"))) }));
            let mut client: ProbeClient = channels.client();
            let started = Instant::now();
            let mut times = Vec::new();
            for _ in 0..20 {
                let _ = client.get(note("")).await;
                times.push(started.elapsed());
            }
            times
        })
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
