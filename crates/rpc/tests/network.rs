//! The real client and server over a simulated network: partitions, crashes and repairs, the same for the same seed.

mod support;

use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use mallard_rpc::{Channels, Config, Policy, ServerConfig, error, serve_incoming};
use mallard_types::Kind;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep};
use tonic::Request;
use tonic::transport::server::{Connected, TcpConnectInfo};
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

use support::{GET, ProbeClient, echo, note};

const PORT: u16 = 9_000;
/// Simulated hosts are not on loopback, so they need one.
const SECRET: &str = "open sesame";
const MS: Duration = Duration::from_millis(1);
/// Seeds of the default run; set SEED to repeat one.
const SEEDS: u64 = 50;

/// A simulated connection as tonic's server wants it.
struct Connection(TcpStream);

impl Connected for Connection {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        TcpConnectInfo { local_addr: self.0.local_addr().ok(), remote_addr: self.0.peer_addr().ok() }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Serves the probe on a simulated host for ever.
async fn server() -> turmoil::Result {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
    let incoming = futures_util::stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await.map(|(stream, _): (_, SocketAddr)| Connection(stream));
        Some((accepted, listener))
    });
    let config = ServerConfig { cluster_secret: SECRET.into(), ..ServerConfig::default() };
    serve_incoming(incoming, vec![("probe", echo())], config, std::future::pending()).await?;
    Ok(())
}

/// Makes a channel to the probe on these hosts, over the simulated network.
fn client(hosts: &[&str], seed: u64) -> ProbeClient {
    let connect = |endpoint: tonic::transport::Endpoint| {
        endpoint.connect_with_connector_lazy(tower::service_fn(|uri: http::Uri| async move {
            let host = uri.host().unwrap_or_default().to_owned();
            TcpStream::connect((host, PORT)).await.map(TokioIo::new)
        }))
    };
    let policy = Policy { connect: Some(Arc::new(connect)), ..Policy::default() };
    let channels = Channels::new(Config { seed: Some(seed), cluster_secret: SECRET.into(), ..Config::default() });
    let endpoints = hosts.iter().map(|host| format!("http://{host}:{PORT}")).collect();
    channels.mount_remote_with("probe", endpoints, policy).expect("the endpoints are good");
    channels.client()
}

fn simulation(seed: u64) -> Sim<'static> {
    Builder::new()
        .rng_seed(seed)
        .tick_duration(5 * MS)
        .simulation_duration(Duration::from_secs(300))
        .min_message_latency(MS)
        .max_message_latency(20 * MS)
        .build()
}

/// One call with a deadline of two seconds; its code is `ok` or the error's.
async fn call(client: &mut ProbeClient) -> String {
    let mut request = Request::new(note("x"));
    request.set_timeout(Duration::from_secs(2));
    match client.send(GET, request).await {
        Ok(_) => "ok".into(),
        Err(status) => {
            let e = error(status);
            assert!(matches!(e.kind, Kind::Unavailable | Kind::Deadline), "{e}");
            e.code.into_owned()
        }
    }
}

/// What happened when, in milliseconds of simulated time.
type Log = Arc<Mutex<Vec<(u128, String)>>>;

/// Runs `scenario` for every seed, twice, and expects the same log both times.
fn for_every_seed(scenario: fn(u64, Log)) {
    let seeds = match std::env::var("SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..SEEDS,
    };
    let many = seeds.end - seeds.start > 1;
    let mut logs = Vec::new();
    for seed in seeds {
        let run = || {
            let log = Log::default();
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario(seed, Arc::clone(&log))));
            if let Err(panic) = caught {
                eprintln!("repeat with: SEED={seed} cargo test -p mallard-rpc --test network");
                std::panic::resume_unwind(panic);
            }
            Arc::into_inner(log).map(Mutex::into_inner).unwrap_or_default()
        };
        let (first, second) = (run(), run());
        assert!(!first.is_empty(), "seed {seed} logged nothing");
        assert_eq!(first, second, "seed {seed} does not repeat: SEED={seed} cargo test -p mallard-rpc --test network");
        logs.push(first);
    }
    assert!(!many || logs.iter().any(|log| *log != logs[0]), "no seed made a difference");
}

/// Calls every 100 ms for `duration` and returns the codes.
async fn calls(client: &mut ProbeClient, duration: Duration, log: &Log, start: Instant) -> Vec<String> {
    let end = Instant::now() + duration;
    let mut codes = Vec::new();
    while Instant::now() < end {
        let code = call(client).await;
        log.lock().push((start.elapsed().as_millis(), code.clone()));
        codes.push(code);
        sleep(100 * MS).await;
    }
    codes
}

/// Waits for the first good call and returns how long it took.
async fn recovered(client: &mut ProbeClient) -> Duration {
    let started = Instant::now();
    while call(client).await != "ok" {
        assert!(started.elapsed() < Duration::from_secs(60), "never recovered");
        sleep(10 * MS).await;
    }
    started.elapsed()
}

#[test]
fn a_partition_fails_fast_and_its_repair_is_noticed_at_once() {
    for_every_seed(|seed, log| {
        let mut sim = simulation(seed);
        sim.host("server", server);
        sim.client("client", async move {
            let (mut client, start) = (client(&["server"], seed), Instant::now());
            let before = calls(&mut client, Duration::from_secs(2), &log, start).await;
            assert!(before.iter().all(|code| code == "ok"), "{before:?}");

            turmoil::partition("client", "server");
            // Ping, its time-out and the failures that open the breaker; then every call fails fast.
            calls(&mut client, Duration::from_secs(8), &log, start).await;
            let during = calls(&mut client, Duration::from_secs(6), &log, start).await;
            let fast = during.iter().filter(|code| *code == "no_endpoint").count();
            assert!(fast * 10 > during.len() * 7, "{fast} of {} failed fast: {during:?}", during.len());
            assert!(!during.contains(&"ok".to_owned()));

            turmoil::repair("client", "server");
            let took = recovered(&mut client).await;
            log.lock().push((start.elapsed().as_millis(), format!("recovered after {} ms", took.as_millis())));
            // The longest pause of the breaker, the connection under way, the new one.
            assert!(took < Duration::from_millis(3_500), "{took:?}");
            // The probes that follow close the breaker for good.
            let after = calls(&mut client, Duration::from_secs(2), &log, start).await;
            assert!(after.iter().all(|code| code == "ok"), "{after:?}");
            Ok(())
        });
        sim.run().expect("the simulation ends well");
    });
}

#[test]
fn one_host_of_two_behind_a_partition_costs_a_few_calls() {
    for_every_seed(|seed, log| {
        let mut sim = simulation(seed);
        sim.host("one", server);
        sim.host("two", server);
        sim.client("client", async move {
            let (mut client, start) = (client(&["one", "two"], seed), Instant::now());
            calls(&mut client, Duration::from_secs(1), &log, start).await;
            turmoil::partition("client", "one");
            let during = calls(&mut client, Duration::from_secs(10), &log, start).await;
            let failed = during.iter().filter(|code| *code != "ok").count();
            assert!(failed <= 3, "{failed} of {} failed: {during:?}", during.len());
            turmoil::repair("client", "one");
            calls(&mut client, Duration::from_secs(5), &log, start).await;
            turmoil::partition("client", "two");
            let during = calls(&mut client, Duration::from_secs(10), &log, start).await;
            let failed = during.iter().filter(|code| *code != "ok").count();
            assert!(failed <= 3, "{failed} of {} failed: {during:?}", during.len());
            Ok(())
        });
        sim.run().expect("the simulation ends well");
    });
}

#[test]
fn a_host_that_crashes_and_starts_again_is_used_again() {
    for_every_seed(|seed, log| {
        let mut sim = simulation(seed);
        sim.host("server", server);
        let crashed_at = Duration::from_millis(1_000 + seed * 7);
        sim.client("client", async move {
            let (mut client, start) = (client(&["server"], seed), Instant::now());
            let codes = calls(&mut client, Duration::from_secs(9), &log, start).await;
            assert!(codes.iter().any(|code| code != "ok"), "the crash was noticed");
            assert_eq!(codes.last().map(String::as_str), Some("ok"), "{codes:?}");
            Ok(())
        });
        while sim.elapsed() < crashed_at {
            assert!(!sim.step().expect("the simulation goes on"));
        }
        sim.crash("server");
        while sim.elapsed() < crashed_at + Duration::from_secs(4) {
            assert!(!sim.step().expect("the simulation goes on"));
        }
        sim.bounce("server");
        sim.run().expect("the simulation ends well");
    });
}
