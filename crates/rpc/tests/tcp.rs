//! Calls between processes, over real sockets.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use mallard_rpc::{
    Call, Caller, Channels, Client, Config, Discover, Policy, ServerConfig, current, error, scope, serve, status,
};
use mallard_types::{Error, Kind};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tonic::service::Routes;
use tonic::{Code, Request};

use support::{Note, ProbeClient, echo, note, routes};

/// Longer than any of these tests takes on any machine: what they are about is not how fast it is.
const PATIENCE: Duration = Duration::from_secs(600);

/// Waits for a slow machine.
fn patient() -> Config {
    Config { deadline_default_ms: PATIENCE.as_millis() as u64, ..Config::default() }
}

/// As [`patient`], for connections.
fn patient_policy() -> Policy {
    Policy {
        connect_timeout: PATIENCE,
        keep_alive_interval: PATIENCE,
        keep_alive_timeout: PATIENCE,
        ..Policy::default()
    }
}

/// An address of this machine that no other server of any test has: once a server is gone, nobody else answers at its port.
fn own_address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::SeqCst));
    format!("127.{}.{}.{number}:0", 1 + (process >> 8) % 254, process % 256)
}

/// A server on a port of its own.
struct Process {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Process {
    async fn start(services: Vec<(&'static str, Routes)>) -> Process {
        let config = ServerConfig { drain_max_ms: PATIENCE.as_millis() as u64, ..ServerConfig::default() };
        Process::start_on(&own_address(), services, config).await
    }

    async fn start_on(address: &str, services: Vec<(&'static str, Routes)>, config: ServerConfig) -> Process {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(listener, services, config, async {
            let _ = stopped.await;
        }));
        Process { address, stop: Some(stop), server }
    }

    fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Tells the server to stop, without waiting.
    fn begin_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    async fn stopped(self) {
        self.server.await.unwrap().unwrap();
    }
}

fn remote(service: &str, endpoints: Vec<String>) -> Channels {
    remote_by(patient(), service, endpoints)
}

fn remote_by(config: Config, service: &str, endpoints: Vec<String>) -> Channels {
    let channels = Channels::new(config);
    channels.mount_remote_with(service, endpoints, patient_policy()).unwrap();
    channels
}

/// Routes that answer with the caller's id and the backdated time.
fn who() -> Routes {
    routes(|_| async {
        let call = current();
        Ok(Note { text: call.caller.user_id, number: call.at.unwrap_or(-1) })
    })
}

fn replay() -> Call {
    Call { caller: Caller::system("replay"), at: Some(42), ..Call::default() }
}

#[tokio::test]
async fn context_answers_and_errors_are_the_same_as_near_by() {
    let handler = |request: Request<Note>| async move {
        match request.get_ref().text.as_str() {
            "refuse" => Err(status(Error::refused("stock_short", "only 3 left").param("items[0]"))),
            "boom" => panic!("in the handler"),
            "hang" => std::future::pending().await,
            _ => {
                assert!(current().deadline.is_some());
                Ok(Note { text: current().caller.user_id, number: current().trace.trace_id as i64 })
            }
        }
    };
    let process = Process::start(vec![("probe", routes(handler))]).await;
    let channels = remote("probe", vec![process.endpoint()]);
    let mut client: ProbeClient = channels.client();

    let call = Call { trace: mallard_rpc::Trace::new(77, 1), ..replay() };
    let answer = scope(call, client.get(note(""))).await.unwrap();
    assert_eq!((answer.text.as_str(), answer.number), ("replay", 77));

    let e = error(client.get(note("refuse")).await.unwrap_err());
    assert_eq!((e.kind, &*e.code, e.param.as_deref()), (Kind::Refused, "stock_short", Some("items[0]")));

    let e = error(client.get(note("boom")).await.unwrap_err());
    assert_eq!((e.kind, &*e.code), (Kind::Internal, "panic"));

    let mut request = Request::new(note("hang"));
    request.set_timeout(Duration::from_millis(50));
    assert_eq!(client.send(support::GET, request).await.unwrap_err().code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn a_peer_is_believed_on_loopback_or_with_the_secret_and_else_is_refused() {
    let cases = [
        // Secret of the server, secret of the client, what the caller gets.
        ("", "", Ok(("replay".to_owned(), 42))),
        ("", "open sesame", Ok(("replay".to_owned(), 42))),
        ("open sesame", "open sesame", Ok(("replay".to_owned(), 42))),
        ("open sesame", "open says me", Err("peer_not_trusted".to_owned())),
        ("open sesame", "", Err("peer_not_trusted".to_owned())),
    ];
    for (expected, sent, seen) in cases {
        let config = ServerConfig { cluster_secret: expected.into(), ..ServerConfig::default() };
        let process = Process::start_on(&own_address(), vec![("probe", who())], config).await;
        let config = Config { cluster_secret: sent.into(), ..patient() };
        let channels = remote_by(config, "probe", vec![process.endpoint()]);
        let answer = scope(replay(), channels.client::<ProbeClient>().get(note(""))).await;
        let got = answer.map(|note| (note.text, note.number)).map_err(|status| {
            let refused = error(status);
            // The remedy is in the log: whoever asked can do nothing about it, and must not believe that its token is bad.
            assert_eq!(refused.kind, Kind::Unavailable);
            assert!(!refused.message.contains("secret") && refused.retry_after_ms.is_some(), "{refused}");
            refused.code.into_owned()
        });
        assert_eq!(got, seen, "{expected:?} {sent:?}");
    }
}

#[tokio::test]
async fn a_call_without_identity_is_refused_even_of_a_trusted_peer() {
    let process = Process::start(vec![("probe", who())]).await;
    let endpoint = tonic::transport::Endpoint::from_shared(process.endpoint()).unwrap();
    let mut grpc = tonic::client::Grpc::new(endpoint.connect().await.unwrap());
    let path = || http::uri::PathAndQuery::from_static(support::GET);
    let codec = || tonic_prost::ProstCodec::<Note, Note>::default();
    let mut call = async |request: Request<Note>| {
        grpc.ready().await.unwrap();
        grpc.unary(request, path(), codec()).await.map(tonic::Response::into_inner).map_err(error)
    };
    let refused = call(Request::new(note(""))).await.unwrap_err();
    assert_eq!((refused.kind, &*refused.code), (Kind::Unauthenticated, "identity_missing"));
    let mut request = Request::new(note(""));
    request.metadata_mut().insert("mallard-caller", "a;s;;;;;".parse().unwrap());
    let answer = call(request).await.unwrap();
    assert_eq!(answer, Note { text: String::new(), number: -1 }, "nobody is a legitimate caller");
}

#[tokio::test]
async fn the_clusters_secret_does_not_reach_the_handler() {
    let config = ServerConfig { cluster_secret: "open sesame".into(), ..ServerConfig::default() };
    let handler = |request: Request<Note>| async move {
        assert!(!format!("{:?}", request.metadata()).contains("sesame"));
        Ok(request.into_inner())
    };
    let process = Process::start_on(&own_address(), vec![("probe", routes(handler))], config.clone()).await;
    let secret = config.cluster_secret.clone();
    let channels = remote_by(Config { cluster_secret: secret, ..patient() }, "probe", vec![process.endpoint()]);
    channels.client::<ProbeClient>().get(note("")).await.unwrap();
    assert!(!format!("{config:?}").contains("sesame"));
}

#[tokio::test]
async fn services_with_the_same_grpc_name_share_a_port() {
    let named = |name: &'static str| routes(move |_| async move { Ok(note(name)) });
    let process = Process::start(vec![("order", named("order")), ("payment", named("payment"))]).await;
    for service in ["order", "payment"] {
        let channels = remote(service, vec![process.endpoint()]);
        let mut client = ProbeClient::from_channel(channels.channel(service));
        assert_eq!(client.get(note("")).await.unwrap().text, service);
    }
    let channels = remote("cart", vec![process.endpoint()]);
    let e = error(ProbeClient::from_channel(channels.channel("cart")).change(note("")).await.unwrap_err());
    assert_eq!((e.kind, &*e.code), (Kind::Unavailable, "service_not_running"));
}

#[tokio::test]
async fn messages_up_to_sixteen_mebibytes_pass() {
    let process = Process::start(vec![("probe", echo())]).await;
    let channels = remote("probe", vec![process.endpoint()]);
    let mut client: ProbeClient = channels.client();
    let mebibyte = 1024 * 1024;
    let large = note("x".repeat(15 * mebibyte));
    assert!(client.change(large.clone()).await.unwrap() == large);
    let too_large = client.change(note("x".repeat(17 * mebibyte))).await.unwrap_err();
    assert_eq!(too_large.code(), Code::OutOfRange);
    assert!(client.change(note("")).await.is_ok());
}

#[tokio::test]
async fn a_drain_answers_every_request_under_way() {
    const CALLS: usize = 200;
    let (arrived, released) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let (arrivals, releases) = (Arc::clone(&arrived), Arc::clone(&released));
    let handler = move |request: Request<Note>| {
        let (arrivals, releases) = (Arc::clone(&arrivals), Arc::clone(&releases));
        async move {
            arrivals.add_permits(1);
            releases.acquire().await.unwrap().forget();
            Ok(request.into_inner())
        }
    };
    let mut process = Process::start(vec![("probe", routes(handler))]).await;
    let channels = remote("probe", vec![process.endpoint()]);
    let calls: Vec<_> = (0..CALLS)
        .map(|index| {
            let mut client: ProbeClient = channels.client();
            tokio::spawn(async move { client.change(note(index.to_string())).await })
        })
        .collect();
    arrived.acquire_many(CALLS as u32).await.unwrap().forget();

    process.begin_stop();
    // The port is closed before the requests are answered.
    while tokio::net::TcpStream::connect(process.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!process.server.is_finished());
    released.add_permits(CALLS);
    for (index, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap().unwrap(), note(index.to_string()));
    }
    process.stopped().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_under_load_answers_whatever_it_ran() {
    let ran = Arc::new(AtomicU32::new(0));
    let runs = Arc::clone(&ran);
    let handler = move |request: Request<Note>| {
        let runs = Arc::clone(&runs);
        async move {
            tokio::time::sleep(Duration::from_millis(2)).await;
            runs.fetch_add(1, Ordering::SeqCst);
            Ok(request.into_inner())
        }
    };
    let mut process = Process::start(vec![("probe", routes(handler))]).await;
    let channels = remote("probe", vec![process.endpoint()]);
    let over = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..16)
        .map(|_| {
            let (mut client, over): (ProbeClient, _) = (channels.client(), Arc::clone(&over));
            tokio::spawn(async move {
                let mut answered = 0;
                while !over.load(Ordering::SeqCst) {
                    match client.change(note("")).await {
                        Ok(_) => answered += 1,
                        Err(refused) => assert_eq!(refused.code(), Code::Unavailable),
                    }
                }
                answered
            })
        })
        .collect();
    while ran.load(Ordering::SeqCst) < 500 {
        tokio::task::yield_now().await;
    }
    process.begin_stop();
    process.stopped().await;
    over.store(true, Ordering::SeqCst);
    let mut answered = 0;
    for client in clients {
        answered += client.await.unwrap();
    }
    assert_eq!(answered, ran.load(Ordering::SeqCst), "every request that ran was answered");
}

#[tokio::test]
async fn a_drain_that_takes_too_long_is_given_up() {
    let config = ServerConfig { drain_max_ms: 50, ..ServerConfig::default() };
    let arrived = Arc::new(Semaphore::new(0));
    let arrivals = Arc::clone(&arrived);
    let handler = move |_| {
        arrivals.add_permits(1);
        std::future::pending()
    };
    let mut process = Process::start_on(&own_address(), vec![("probe", routes(handler))], config).await;
    let channels = remote("probe", vec![process.endpoint()]);
    let mut client: ProbeClient = channels.client();
    let call = tokio::spawn(async move { client.change(note("")).await });
    arrived.acquire().await.unwrap().forget();
    process.begin_stop();
    process.stopped().await;
    call.abort();
}

#[tokio::test]
async fn a_service_that_is_gone_fails_fast_and_comes_back() {
    let mut process = Process::start(vec![("probe", echo())]).await;
    let channels = remote("probe", vec![process.endpoint()]);
    let mut client: ProbeClient = channels.client();
    client.change(note("")).await.unwrap();
    let address = process.address.to_string();
    process.begin_stop();
    process.stopped().await;
    loop {
        let e = error(client.change(note("")).await.unwrap_err());
        assert_eq!(e.kind, Kind::Unavailable);
        if e.code == "no_endpoint" {
            break;
        }
    }
    let _again = Process::start_on(&address, vec![("probe", echo())], ServerConfig::default()).await;
    while client.change(note("")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_host_that_fails_fast_attracts_no_traffic_and_is_not_left_out_alone() {
    let (bad, good) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counted = |calls: &Arc<AtomicU32>, fails: bool| {
        let calls = Arc::clone(calls);
        let handler = move |request: Request<Note>| {
            calls.fetch_add(1, Ordering::SeqCst);
            let answer =
                if fails { Err(status(Error::unavailable("db_away", "away"))) } else { Ok(request.into_inner()) };
            async { answer }
        };
        vec![("probe", routes(handler))]
    };
    let one = Process::start(counted(&bad, true)).await;
    let two = Process::start(counted(&good, false)).await;
    let mut is_told_apart = false;
    for _ in 0..50 {
        bad.store(0, Ordering::SeqCst);
        let channels = remote("probe", vec![one.endpoint(), two.endpoint()]);
        let mut client: ProbeClient = channels.client();
        let (begun, mut longest) = (Instant::now(), Duration::ZERO);
        for _ in 0..500 {
            let asked = Instant::now();
            let _ = client.change(note("")).await;
            longest = longest.max(asked.elapsed());
        }
        // A good host that takes seconds is no better than one that fails: then this round says nothing.
        is_told_apart = longest < Duration::from_secs(1);
        if is_told_apart {
            // A failure counts for ten seconds; then one call finds out whether it is over.
            let found_out = begun.elapsed().as_secs() as u32 / 10;
            assert!(bad.load(Ordering::SeqCst) <= 3 + found_out, "{bad:?} of 500 went to the failing host");
            break;
        }
    }
    assert!(is_told_apart, "the good host took a second or more in every round");

    // Alone it keeps answering: its dependency is down, it is not.
    let channels = remote("probe", vec![one.endpoint()]);
    let mut client: ProbeClient = channels.client();
    for _ in 0..100 {
        assert_eq!(error(client.change(note("")).await.unwrap_err()).code, "db_away");
    }
}

/// A registry of one service.
struct Registry(watch::Sender<Vec<String>>);

impl Discover for Registry {
    fn watch(&self, service: &str) -> watch::Receiver<Vec<String>> {
        assert_eq!(service, "probe");
        self.0.subscribe()
    }
}

#[tokio::test]
async fn endpoints_come_and_go_with_discovery() {
    let named = |name: &'static str| vec![("probe", routes(move |_| async move { Ok(note(name)) }))];
    let (one, two) = (Process::start(named("one")).await, Process::start(named("two")).await);
    let registry = Registry(watch::channel(Vec::new()).0);
    let channels = Channels::new(patient());
    channels.mount_discovered_with("probe", &registry, patient_policy()).unwrap();
    let mut client: ProbeClient = channels.client();
    assert_eq!(error(client.change(note("")).await.unwrap_err()).code, "no_endpoint");

    registry.0.send_replace(vec![one.endpoint(), "not a uri".into(), one.endpoint()]);
    assert_eq!(client.change(note("")).await.unwrap().text, "one");

    registry.0.send_replace(vec![one.endpoint(), two.endpoint()]);
    while client.change(note("")).await.unwrap().text != "two" {}

    registry.0.send_replace(vec![two.endpoint()]);
    for _ in 0..20 {
        assert_eq!(client.change(note("")).await.unwrap().text, "two");
    }
}

#[test]
fn an_endpoint_that_is_no_uri_is_refused() {
    let refused = Channels::default().mount_remote("probe", vec!["not a uri".into()]);
    assert_eq!(refused.unwrap_err().code, "bad_endpoint");
}

mod health {
    use super::*;
    use http::uri::PathAndQuery;
    use tonic::Status;
    use tonic_prost::ProstCodec;

    #[derive(Clone, PartialEq, prost::Message)]
    struct CheckRequest {
        #[prost(string, tag = "1")]
        service: String,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    struct CheckResponse {
        #[prost(int32, tag = "1")]
        status: i32,
    }

    async fn check(channel: &tonic::transport::Channel, service: &str) -> Result<i32, Status> {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
        let codec = ProstCodec::<CheckRequest, CheckResponse>::default();
        let request = Request::new(CheckRequest { service: service.into() });
        Ok(grpc.unary(request, path, codec).await?.into_inner().status)
    }

    #[tokio::test]
    async fn the_standard_health_check_knows_the_services_of_the_port() {
        let process = Process::start(vec![("probe", echo())]).await;
        let endpoint = tonic::transport::Endpoint::from_shared(process.endpoint()).unwrap();
        let channel = endpoint.connect().await.unwrap();
        for name in ["", "probe", "mallard.probe.v1.ProbeService"] {
            assert_eq!(check(&channel, name).await.unwrap(), 1, "{name}");
        }
        assert_eq!(check(&channel, "order").await.unwrap_err().code(), Code::NotFound);
    }

    #[tokio::test]
    async fn health_is_answered_whoever_asks() {
        let config = ServerConfig { cluster_secret: "open sesame".into(), ..ServerConfig::default() };
        let process = Process::start_on(&own_address(), vec![("probe", echo())], config).await;
        let endpoint = tonic::transport::Endpoint::from_shared(process.endpoint()).unwrap();
        assert_eq!(check(&endpoint.connect().await.unwrap(), "probe").await.unwrap(), 1);
    }
}
