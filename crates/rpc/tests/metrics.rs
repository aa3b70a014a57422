//! What is counted of a call, by a recorder that only adds up.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mallard_rpc::{Channels, Config, Policy, register_safe, status};
use mallard_types::Error;
use metrics::{Counter, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;
use tonic::Request;

use support::{Note, ProbeClient, note, routes};

/// A method without side effects.
const READ: &str = "/mallard.probe.v1.ProbeService/Read";

#[derive(Default)]
struct Sums(Mutex<BTreeMap<String, Arc<AtomicU64>>>);

impl Sums {
    fn get(&self) -> BTreeMap<String, u64> {
        self.0.lock().iter().map(|(name, sum)| (name.clone(), sum.load(Ordering::SeqCst))).collect()
    }
}

impl Recorder for Sums {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let labels: Vec<_> = key.labels().map(|label| label.value()).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Counter::from_arc(Arc::clone(self.0.lock().entry(name).or_default()))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        let labels: Vec<_> = key.labels().map(|label| label.value()).collect();
        let name = format!("{} {}", key.name(), labels.join(" "));
        Gauge::from_arc(Arc::new(Shown(Arc::clone(self.0.lock().entry(name).or_default()))))
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

/// A gauge that shows whole numbers.
struct Shown(Arc<AtomicU64>);

impl GaugeFn for Shown {
    fn increment(&self, value: f64) {
        self.0.fetch_add(value as u64, Ordering::SeqCst);
    }

    fn decrement(&self, value: f64) {
        self.0.fetch_sub(value as u64, Ordering::SeqCst);
    }

    fn set(&self, value: f64) {
        self.0.store(value as u64, Ordering::SeqCst);
    }
}

/// Runs on a paused clock and returns what was counted.
fn counted(play: impl Future<Output = ()>) -> BTreeMap<String, u64> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let sums = Sums::default();
    metrics::with_local_recorder(&sums, || runtime.block_on(play));
    sums.get()
}

#[test]
fn a_call_counts_once_with_its_code_and_each_attempt_where_it_is_handled() {
    let expected = [
        ("mallard_rpc_calls_total probe Change deadline_exceeded", 1),
        ("mallard_rpc_calls_total probe Change internal", 1),
        ("mallard_rpc_calls_total probe Get ok", 1),
        ("mallard_rpc_calls_total probe Get unavailable", 1),
        ("mallard_rpc_handled_total probe Change deadline_exceeded", 1),
        ("mallard_rpc_handled_total probe Change internal", 1),
        ("mallard_rpc_handled_total probe Get ok", 1),
        ("mallard_rpc_handled_total probe Get unavailable", 3),
        ("mallard_rpc_retries_total probe Get", 2),
    ];
    assert_eq!(counted(play()), expected.map(|(name, sum)| (name.to_owned(), sum)).into());
}

async fn play() {
    let channels = Channels::new(Config { seed: Some(1), ..Config::default() });
    let handler = |request: Request<Note>| async move {
        match request.get_ref().text.as_str() {
            "away" => Err(status(Error::unavailable("away", "away"))),
            "boom" => panic!("in the handler"),
            "hang" => std::future::pending().await,
            _ => Ok(request.into_inner()),
        }
    };
    channels.mount_local("probe", routes(handler));
    let mut client: ProbeClient = channels.client();
    assert!(client.get(note("fine")).await.is_ok());
    assert!(client.get(note("away")).await.is_err());
    assert!(client.change(note("boom")).await.is_err());
    assert!(client.change(note("hang")).await.is_err());
}

#[test]
fn what_policies_do_is_counted_and_the_states_of_breakers_are_shown() {
    let sums = counted(async {
        register_safe(&[READ]);
        let policy = serde_json::json!({
            "fallback": "empty", "concurrency_max": 1, "hedge_after_ms": 10, "timeout_ms": 1500,
            "breaker": { "consecutive_max": 2, "jitter_percent": 0 },
        });
        let config = serde_json::json!({ "methods": { "probe.Read": policy }, "retry": { "attempts_max": 1 } });
        let channels = Channels::new(Config { seed: Some(1), ..serde_json::from_value(config).unwrap() });
        channels.mount_local("probe", routes(|_| std::future::pending()));
        let client: ProbeClient = channels.client();
        let read = || {
            let mut client = client.clone();
            async move { client.send(READ, Request::new(note(""))).await }
        };
        // The second has no place; both are answered.
        let (one, two) = tokio::join!(read(), read());
        assert!(one.is_ok() && two.is_ok());
        assert!(read().await.is_ok());
        // The breaker is open by now.
        assert!(read().await.is_ok());
    });
    let expected = [
        ("mallard_rpc_fallbacks_total probe Read empty", 4),
        ("mallard_rpc_bulkhead_rejected_total probe Read", 1),
        ("mallard_rpc_hedges_total probe Read", 2),
        ("mallard_rpc_method_breaker_opened_total probe Read", 1),
        ("mallard_rpc_method_breaker_state probe Read", 2),
        ("mallard_rpc_calls_total probe Read ok", 4),
    ];
    for (name, sum) in expected {
        assert_eq!(sums.get(name), Some(&sum), "{name}: {sums:?}");
    }
}

#[test]
fn what_becomes_of_endpoints_is_counted_and_shown() {
    let gone = |endpoint: tonic::transport::Endpoint| {
        endpoint.connect_with_connector_lazy(tower::service_fn(|_: http::Uri| async {
            Err::<hyper_util::rt::TokioIo<tokio::io::DuplexStream>, _>(std::io::Error::other("gone"))
        }))
    };
    let calls = |after: Duration| {
        counted(async move {
            let channels = Channels::new(Config { seed: Some(1), ..Config::default() });
            let policy = Policy { connect: Some(Arc::new(gone)), ..Policy::default() };
            channels.mount_remote_with("probe", vec!["http://a".into()], policy).unwrap();
            let mut client: ProbeClient = channels.client();
            for _ in 0..5 {
                assert!(client.change(note("")).await.is_err());
            }
            tokio::time::sleep(after).await;
            assert!(client.change(note("")).await.is_err());
        })
    };
    let (at_once, later) = (calls(Duration::ZERO), calls(Duration::from_secs(3)));
    let (opened, state) =
        ("mallard_rpc_breaker_opened_total probe http://a", "mallard_rpc_breaker_state probe http://a");
    assert_eq!((at_once.get(opened), at_once.get(state)), (Some(&1), Some(&2)), "{at_once:?}");
    assert_eq!((later.get(opened), later.get(state)), (Some(&1), Some(&1)), "half open: {later:?}");
    assert_eq!(at_once.get("mallard_rpc_ejections_total probe http://a"), None, "nothing answers: no ejection");
}
