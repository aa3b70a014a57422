//! Cost of a call to a service of the same process.

#[path = "../tests/support/mod.rs"]
mod support;

use divan::Bencher;
use http::uri::PathAndQuery;
use mallard_rpc::{Call, Caller, CallerKind, Channels, Trace, scope};
use support::{CHANGE, Note, ProbeClient, echo, note};
use tonic_prost::ProstCodec;

fn main() {
    divan::main();
}

fn client() -> ProbeClient {
    let channels = Channels::default();
    channels.mount_local("probe", echo());
    channels.client()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime needs nothing special")
}

fn shopper() -> Call {
    let caller =
        Caller { kind: CallerKind::User, user_id: "usr_01".into(), roles: vec!["user".into()], ..Caller::default() };
    Call { caller, trace: Trace::new(1, 2), request_id: "req_01".into(), ..Call::default() }
}

/// A batch of calls per iteration hides the cost of entering the runtime.
const CALLS: usize = 100;

async fn calls(mut client: ProbeClient, get: bool) {
    for _ in 0..CALLS {
        let sent = note("small");
        let answer = if get { client.get(sent).await } else { client.change(sent).await };
        divan::black_box(answer).expect("the echo answers");
    }
}

#[divan::bench(items_count = CALLS)]
fn empty_call(bencher: Bencher) {
    let (runtime, client) = (runtime(), client());
    bencher.bench_local(|| runtime.block_on(calls(client.clone(), false)));
}

#[divan::bench(items_count = CALLS)]
fn empty_call_that_may_be_retried(bencher: Bencher) {
    let (runtime, client) = (runtime(), client());
    bencher.bench_local(|| runtime.block_on(calls(client.clone(), true)));
}

#[divan::bench(items_count = CALLS)]
fn call_of_a_shopper(bencher: Bencher) {
    let (runtime, client) = (runtime(), client());
    bencher.bench_local(|| runtime.block_on(scope(shopper(), calls(client.clone(), false))));
}

/// What tonic alone costs: no deadline, no context, no guard, no metrics.
#[divan::bench(items_count = CALLS)]
fn bare_tonic(bencher: Bencher) {
    let (runtime, routes) = (runtime(), echo().prepare());
    bencher.bench_local(|| {
        runtime.block_on(async {
            for _ in 0..CALLS {
                let mut grpc = tonic::client::Grpc::new(routes.clone());
                grpc.ready().await.expect("routes are always ready");
                let codec = ProstCodec::<Note, Note>::default();
                let request = tonic::Request::new(note("small"));
                let answer = grpc.unary(request, PathAndQuery::from_static(CHANGE), codec).await;
                divan::black_box(answer).expect("the echo answers");
            }
        });
    });
}
