//! Hosts that misbehave as told, and channels to them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::stream;
use hyper_util::rt::TokioIo;
use mallard_rpc::{
    Channels, Config, Policy, ServerConfig, ServicePolicy, current, error, register_safe, serve_incoming, status,
};
use mallard_types::Error;
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tonic::{Request, Status};

use crate::support::{Note, ProbeClient, note, routes};

pub const MS: Duration = Duration::from_millis(1);
pub const SECOND: Duration = Duration::from_secs(1);
/// A method without side effects.
pub const READ: &str = "/mallard.probe.v1.ProbeService/Read";

const SECRET: &str = "open sesame";
/// Connections waiting to be taken.
const CONNECTIONS_MAX: usize = 16;
/// Bytes on the way in one direction.
const PIPE_BYTES: usize = 64 * 1024;

/// How a host treats a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Behaviour {
    /// Answers after this time.
    Well(Duration),
    /// Fails at once.
    Failing,
    /// Fails at once, and says when to come again.
    FailingFor(Duration),
    /// Fails every second call at once.
    FailingHalf,
    /// Never answers.
    Hanging,
    /// Answers at once and fails at once, for this time each.
    Flapping(Duration),
    /// Takes no new connection, and breaks those there are when it is called.
    Gone,
}

/// A host of the probe. Its answers carry its name, so that a caller sees who answered.
#[derive(Clone)]
pub struct Host {
    pub name: &'static str,
    behaviour: Arc<Mutex<Behaviour>>,
    calls: Arc<AtomicU32>,
    under_way: Arc<AtomicU32>,
    most_under_way: Arc<AtomicU32>,
    connections: Arc<AtomicU32>,
}

impl Host {
    pub fn new(name: &'static str, behaviour: Behaviour) -> Host {
        let behaviour = Arc::new(Mutex::new(behaviour));
        let [calls, under_way, most_under_way, connections] = std::array::from_fn(|_| Arc::default());
        Host { name, behaviour, calls, under_way, most_under_way, connections }
    }

    pub fn behave(&self, behaviour: Behaviour) {
        *self.behaviour.lock() = behaviour;
    }

    /// Returns the calls since it was last asked.
    pub fn take_calls(&self) -> u32 {
        self.calls.swap(0, Ordering::SeqCst)
    }

    /// Returns the most calls under way at once since it was last asked.
    pub fn take_most_under_way(&self) -> u32 {
        self.most_under_way.swap(self.under_way(), Ordering::SeqCst)
    }

    /// Returns the connections ever opened to it.
    pub fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }

    pub fn under_way(&self) -> u32 {
        self.under_way.load(Ordering::SeqCst)
    }

    pub async fn handle(&self, request: Request<Note>, started: Instant) -> Result<Note, Status> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let under_way = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_under_way.fetch_max(under_way, Ordering::SeqCst);
        let _leaves = Leaves(Arc::clone(&self.under_way));
        let behaviour = *self.behaviour.lock();
        let text = format!("{} {} {}", self.name, current().caller.user_id, request.get_ref().text);
        let good = Ok(Note { text, ..request.into_inner() });
        let away = || Error::unavailable("db_away", "away");
        match behaviour {
            Behaviour::Well(pause) => {
                sleep(pause).await;
                good
            }
            Behaviour::FailingHalf if call.is_multiple_of(2) => good,
            Behaviour::Failing | Behaviour::FailingHalf | Behaviour::Gone => Err(status(away())),
            Behaviour::FailingFor(pause) => Err(status(away().retry_after_ms(pause.as_millis() as u64))),
            Behaviour::Hanging => std::future::pending().await,
            Behaviour::Flapping(period) => {
                let well = (started.elapsed().as_micros() / period.as_micros()).is_multiple_of(2);
                if well { good } else { Err(status(away())) }
            }
        }
    }
}

struct Leaves(Arc<AtomicU32>);

impl Drop for Leaves {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Starts a server for each host and returns how to connect to them. Host `a` is at `http://a`.
pub fn start(hosts: &[Host]) -> mallard_rpc::Connect {
    let mut doors = BTreeMap::new();
    for host in hosts {
        let (door, incoming) = mpsc::channel::<DuplexStream>(CONNECTIONS_MAX);
        let incoming = stream::unfold(incoming, |mut incoming| async {
            incoming.recv().await.map(|pipe| (Ok::<_, io::Error>(pipe), incoming))
        });
        let (host, served, started) = (host.clone(), host.clone(), Instant::now());
        let routes = routes(move |request| {
            let host = served.clone();
            async move { host.handle(request, started).await }
        });
        let config = ServerConfig { cluster_secret: SECRET.into(), ..ServerConfig::default() };
        tokio::spawn(serve_incoming(incoming, vec![("probe", routes)], config, std::future::pending()));
        doors.insert(host.name, (host, door));
    }
    let doors = Arc::new(doors);
    Arc::new(move |endpoint| {
        let doors = Arc::clone(&doors);
        endpoint.connect_with_connector_lazy(tower::service_fn(move |uri: http::Uri| {
            let doors = Arc::clone(&doors);
            async move {
                let (host, door) = uri.host().and_then(|name| doors.get(name)).ok_or(io::ErrorKind::NotFound)?;
                if *host.behaviour.lock() == Behaviour::Gone {
                    return Err(io::Error::from(io::ErrorKind::ConnectionRefused));
                }
                host.connections.fetch_add(1, Ordering::SeqCst);
                let (near, far) = tokio::io::duplex(PIPE_BYTES);
                door.send(far).await.map_err(|_| io::ErrorKind::ConnectionRefused)?;
                Ok(TokioIo::new(near))
            }
        }))
    })
}

/// Makes a channel to the probe on these hosts with the usual policy, changed by `change`.
pub fn remote(hosts: &[Host], change: impl Fn(&mut Policy)) -> (Channels, ProbeClient) {
    let texts: Vec<_> = hosts.iter().map(|host| format!("http://{}", host.name)).collect();
    remote_at(hosts, &texts, Config::default(), change)
}

/// As [`remote`], at these endpoints, with this configuration.
pub fn remote_at<T: ToString>(
    hosts: &[Host],
    texts: &[T],
    config: Config,
    change: impl Fn(&mut Policy),
) -> (Channels, ProbeClient) {
    register_safe(&[READ]);
    let config = with_secret(config);
    let mut policy = Policy { connect: Some(start(hosts)), ..config.policy("probe") };
    change(&mut policy);
    let channels = Channels::new(config);
    channels.mount_remote_with("probe", texts.iter().map(ToString::to_string).collect(), policy).unwrap();
    let client = channels.client();
    (channels, client)
}

/// Makes a channel to a host of this process with policies of methods, read as from a configuration file.
pub fn local(host: &Host, config: serde_json::Value) -> (Channels, ProbeClient) {
    register_safe(&[READ]);
    let (host, started) = (host.clone(), Instant::now());
    let channels = Channels::new(read(config));
    channels.mount_local(
        "probe",
        routes(move |request| {
            let host = host.clone();
            async move { host.handle(request, started).await }
        }),
    );
    let client = channels.client();
    (channels, client)
}

/// Adds the secret of the hosts, which are not on loopback.
pub fn with_secret(config: Config) -> Config {
    Config { seed: Some(1), cluster_secret: SECRET.into(), ..config }
}

/// Reads a configuration.
pub fn read(config: serde_json::Value) -> Config {
    Config { seed: Some(1), ..serde_json::from_value(config).unwrap() }
}

/// Returns the configuration of retries: none, so that every call is one attempt.
pub fn no_retries() -> BTreeMap<String, ServicePolicy> {
    serde_json::from_value(serde_json::json!({ "probe": { "retry": { "attempts_max": 1 } } })).unwrap()
}

/// One call; returns the host that answered, or the code of the error.
pub async fn call(client: &mut ProbeClient, path: &'static str, timeout: Duration) -> Result<String, String> {
    let mut request = Request::new(note("x"));
    request.set_timeout(timeout);
    let answer = client.send(path, request).await.map_err(|status| error(status).code.into_owned())?;
    Ok(answer.text.split(' ').next().unwrap_or_default().to_owned())
}
