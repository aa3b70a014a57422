//! What is counted of a call, by a recorder that only adds up.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mallard_rpc::{Channels, Config, status};
use mallard_types::Error;
use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use parking_lot::Mutex;
use tonic::Request;

use support::{Note, ProbeClient, note, routes};

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

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}

#[test]
fn a_call_counts_once_with_its_code_and_each_attempt_where_it_is_handled() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let sums = Sums::default();
    metrics::with_local_recorder(&sums, || runtime.block_on(play()));
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
    assert_eq!(sums.get(), expected.map(|(name, sum)| (name.to_owned(), sum)).into());
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
