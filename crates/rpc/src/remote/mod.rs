//! The callee in other processes: its endpoints, each with a connection, a breaker and a load.
//!
//! | file | idea |
//! |---|---|
//! | `discover.rs`, `endpoint.rs` | where endpoints are learnt from, and their text |
//! | `member.rs`, `load.rs`, `judge.rs` | what is known of an endpoint, and learnt from each call |
//! | `select.rs` | who may be chosen: breakers, then `version.rs`, then `zone.rs` |
//! | `balance/` | who is chosen |

mod balance;
mod discover;
mod endpoint;
mod judge;
mod load;
mod member;
mod select;
mod set;
#[cfg(test)]
mod tests;
mod version;
mod zone;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{HeaderMap, HeaderValue};
use http::{Request, Response};
use mallard_types::{Error, Result};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

pub use discover::{Discover, StaticEndpoints};
pub(crate) use judge::hint;

use self::balance::hash;
use self::endpoint::Endpoint;
use self::judge::judge;
use self::load::Load;
use self::member::Member;
use self::select::{Fleet, Selector, Wish};
use crate::body::drop_bad_details;
use crate::breaker::{Breaker, Quota};
use crate::chance::Chance;
use crate::config::{Balance, HEADER_LIST_BYTES_MAX, HashOn, Policy};
use crate::error::status;
use crate::guard::deadline_exceeded;
use crate::metadata::{self, CLUSTER, SERVICE};
use crate::policy::retry::{Answer, head_code};
use crate::snapshot::EndpointState;

/// Most endpoints of one service that are connected to.
const ENDPOINTS_MAX: usize = 256;

/// One remote service.
pub(crate) struct Remote {
    name: Arc<str>,
    service: HeaderValue,
    cluster_secret: Option<HeaderValue>,
    policy: Policy,
    chance: Arc<Chance>,
    quota: Arc<Quota>,
    selector: Selector,
    listed: Mutex<watch::Receiver<Vec<String>>>,
    endpoints: RwLock<Arc<Endpoints>>,
}

/// The endpoints at one time; `channels` are those of the fleet's members, in their order.
struct Endpoints {
    fleet: Fleet,
    channels: Vec<tonic::transport::Channel>,
}

/// Remembers the endpoint of a call's last attempt, so that the next goes to another; 0 before the first.
#[derive(Debug, Default)]
pub(crate) struct Tried(AtomicU64);

impl Remote {
    /// Makes the callee from its first list of endpoints.
    ///
    /// # Errors
    /// `invalid` when an endpoint of the first list is no good, or the name or secret cannot be sent in a header.
    pub(crate) fn new(
        service: &str,
        secret: &str,
        discover: &dyn Discover,
        policy: Policy,
        chance: Arc<Chance>,
    ) -> Result<Self> {
        let mut listed = discover.watch(service);
        let first = listed.borrow_and_update().clone();
        let mut cluster_secret = None;
        if !secret.is_empty() {
            let mut value = header(secret, "cluster_secret")?;
            value.set_sensitive(true);
            cluster_secret = Some(value);
        }
        let quota = Arc::new(Quota::new(policy.ejection_max_percent));
        let selector = Selector::new(&policy, Arc::clone(&quota));
        let none = Endpoints { fleet: selector.fleet(Vec::new()), channels: Vec::new() };
        let remote = Remote {
            name: service.into(),
            service: header(service, "service")?,
            cluster_secret,
            policy,
            chance,
            quota,
            selector,
            listed: Mutex::new(listed),
            endpoints: RwLock::new(Arc::new(none)),
        };
        for text in &first {
            Endpoint::parse(text)?;
        }
        remote.replace(&first);
        Ok(remote)
    }

    /// Makes one attempt at the endpoint the balancer picks, another than the last attempt's where there is one.
    pub(crate) async fn call(&self, mut request: Request<Body>, deadline: Instant, tried: &Tried) -> Answer {
        let started = Instant::now();
        let endpoints = self.endpoints();
        let picked = {
            let version = metadata::version(request.headers(), &self.name);
            let key = if self.selector.hashes() { self.key(request.headers()) } else { None };
            let wish = Wish { version: version.as_deref(), key, avoid: tried.0.load(Ordering::Relaxed) };
            self.selector.pick(&endpoints.fleet, wish, started, &self.chance)
        };
        let Some((index, turn)) = picked else {
            return Err(status(no_endpoint()));
        };
        tried.0.store(endpoints.fleet.members[index].id, Ordering::Relaxed);
        let headers = request.headers_mut();
        headers.insert(SERVICE, self.service.clone());
        if let Some(secret) = &self.cluster_secret {
            headers.insert(CLUSTER, secret.clone());
        }
        let mut channel = endpoints.channels[index].clone();
        let sent = async move {
            std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
            channel.call(request).await
        };
        // The deadline is enforced here as well as outside: an endpoint that does not answer must be blamed for it.
        let answer = match timeout_at(deadline, sent).await {
            Ok(Ok(response)) => repaired(response, deadline),
            Ok(Err(error)) => Err(transport_status(error, deadline)),
            Err(_) => Err(status(deadline_exceeded())),
        };
        let now = Instant::now();
        turn.settle(judge(&answer, now - started, self.policy.connect_timeout), now);
        answer
    }

    /// Returns what is known of the endpoints.
    pub(crate) fn states(&self, now: Instant) -> Vec<EndpointState> {
        self.endpoints().fleet.members.iter().map(|member| member.state(now)).collect()
    }

    /// Returns the hash of what the same endpoint is chosen for: the first of user, session and address that the call
    /// has, from the one that is asked for on.
    fn key(&self, headers: &HeaderMap) -> Option<u64> {
        let (user, session, address) = metadata::identity(headers);
        let order = match (self.policy.balance, self.policy.hash_on) {
            (Balance::IpHash, _) | (_, HashOn::Address) => [address, session, user],
            (_, HashOn::User) => [user, session, address],
            (_, HashOn::Session) => [session, user, address],
        };
        order.into_iter().find(|text| !text.is_empty()).map(|text| hash::of(text.as_bytes()))
    }

    /// Returns the present endpoints, taking in what discovery has learnt since the last call.
    fn endpoints(&self) -> Arc<Endpoints> {
        if let Some(mut listed) = self.listed.try_lock()
            && listed.has_changed().unwrap_or(false)
        {
            let texts = listed.borrow_and_update().clone();
            self.replace(&texts);
        }
        Arc::clone(&self.endpoints.read())
    }

    /// Keeps the connections of endpoints that stay and opens those of new ones. A text that is no good is left out.
    fn replace(&self, texts: &[String]) {
        let known = Arc::clone(&self.endpoints.read());
        let (mut members, mut channels): (Vec<Arc<Member>>, Vec<_>) = Default::default();
        for text in texts {
            if members.len() >= ENDPOINTS_MAX {
                tracing::warn!(service = &*self.name, endpoints_max = ENDPOINTS_MAX, "left out further endpoints");
                break;
            }
            let endpoint = match Endpoint::parse(text) {
                Ok(endpoint) => endpoint,
                Err(error) => {
                    tracing::warn!(service = &*self.name, endpoint = text, %error, "left out an endpoint");
                    continue;
                }
            };
            if members.iter().any(|member| member.endpoint.uri == endpoint.uri) {
                continue;
            }
            match self.joined(&known, endpoint) {
                Ok((member, channel)) => {
                    members.push(member);
                    channels.push(channel);
                }
                Err(error) => tracing::warn!(service = &*self.name, endpoint = text, %error, "left out an endpoint"),
            }
        }
        for gone in known.fleet.members.iter().filter(|old| !members.iter().any(|new| new.id == old.id)) {
            gone.show_state(0.0);
        }
        *self.endpoints.write() = Arc::new(Endpoints { fleet: self.selector.fleet(members), channels });
    }

    /// Takes over what is known of an endpoint, or makes a new one.
    fn joined(&self, known: &Endpoints, endpoint: Endpoint) -> Result<(Arc<Member>, tonic::transport::Channel)> {
        let Some(place) = known.fleet.members.iter().position(|member| member.endpoint.uri == endpoint.uri) else {
            // The first ones bear everything anyhow; one that joins them warms up.
            let later = !known.fleet.members.is_empty() && !self.policy.slow_start.is_zero();
            let now = Instant::now();
            let quota = Some(Arc::clone(&self.quota));
            let breaker = Breaker::new(self.policy.breaker.clone(), quota, Arc::clone(&self.chance), now);
            let channel = self.connect(&endpoint.uri)?;
            let slow_start = later.then_some((now, self.policy.slow_start));
            return Ok((Member::new(Arc::clone(&self.name), endpoint, breaker, Load::new(), slow_start), channel));
        };
        let channel = known.channels[place].clone();
        let old = &known.fleet.members[place];
        if old.endpoint == endpoint {
            return Ok((Arc::clone(old), channel));
        }
        let (breaker, load) = (Arc::clone(&old.breaker), Arc::clone(&old.load));
        Ok((Member::new(Arc::clone(&self.name), endpoint, breaker, load, old.slow_start), channel))
    }

    fn connect(&self, uri: &str) -> Result<tonic::transport::Channel> {
        let policy = &self.policy;
        let endpoint = tonic::transport::Endpoint::from_shared(uri.to_owned())
            .map_err(|error| Error::invalid("bad_endpoint", format!("{uri} is no endpoint")).source(error))?
            .connect_timeout(policy.connect_timeout)
            .http2_keep_alive_interval(policy.keep_alive_interval)
            .keep_alive_timeout(policy.keep_alive_timeout)
            .keep_alive_while_idle(true)
            .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
            .tcp_nodelay(true);
        Ok(match &policy.connect {
            Some(connect) => connect(endpoint),
            None => endpoint.connect_lazy(),
        })
    }
}

fn header(text: &str, name: &'static str) -> Result<HeaderValue> {
    HeaderValue::from_str(text)
        .map_err(|_| Error::invalid("bad_header_value", "cannot be sent in a header").param(name))
}

fn no_endpoint() -> Error {
    Error::unavailable("no_endpoint", "no endpoint of the service can be reached")
}

/// Removes what tonic's client would panic on; tonic also says Cancelled where the deadline passed.
fn repaired(mut response: Response<Body>, deadline: Instant) -> Answer {
    drop_bad_details(response.headers_mut());
    if head_code(response.headers()) == Some(Code::Cancelled) && Instant::now() >= deadline {
        return Err(status(deadline_exceeded()));
    }
    Ok(response)
}

/// Makes the status of an attempt that ended without an answer: whatever broke, the callee is Unavailable. Only what
/// the request itself is to blame for (too large to encode) keeps its code.
fn transport_status(error: tonic::transport::Error, deadline: Instant) -> Status {
    let found = Status::from_error(Box::new(error));
    match found.code() {
        Code::OutOfRange => found,
        Code::Cancelled if Instant::now() >= deadline => status(deadline_exceeded()),
        _ => status(Error::unavailable("connection_lost", "the connection to the service was lost").source(found)),
    }
}
