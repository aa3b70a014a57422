//! The callee in other processes: its endpoints, each with a connection, a breaker and a load.

mod balancer;
mod breaker;
mod discover;
mod load;
mod window;

use std::sync::Arc;
use std::time::Duration;

use http::header::HeaderValue;
use http::{Request, Response};
use mallard_types::{Error, Result};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::transport::Endpoint;
use tonic::{Code, Status};
use tower::Service;

pub use discover::{Discover, StaticEndpoints};

use self::balancer::{Member, Turn, pick};
use self::breaker::{Breaker, Change, Outcome};
use self::load::Load;
use crate::body::drop_bad_details;
use crate::chance::Chance;
use crate::config::{HEADER_LIST_BYTES_MAX, Policy};
use crate::error::{is_answer, status};
use crate::guard::deadline_exceeded;
use crate::metadata::{CLUSTER, SERVICE};
use crate::retry::{Answer, head_code};

/// Most endpoints of one service that are connected to.
const ENDPOINTS_MAX: usize = 256;

/// One remote service.
pub(crate) struct Remote {
    service: HeaderValue,
    cluster_secret: Option<HeaderValue>,
    policy: Policy,
    listed: Mutex<watch::Receiver<Vec<String>>>,
    endpoints: RwLock<Arc<[Arc<Peer>]>>,
}

/// One endpoint of a service.
struct Peer {
    uri: String,
    channel: tonic::transport::Channel,
    member: Member,
}

impl Remote {
    /// Makes the callee from its first list of endpoints.
    ///
    /// # Errors
    /// `invalid` when an endpoint of the first list is no URI, or the name or secret cannot be sent in a header.
    pub(crate) fn new(service: &str, secret: &str, discover: &dyn Discover, policy: Policy) -> Result<Self> {
        let mut listed = discover.watch(service);
        let first = listed.borrow_and_update().clone();
        let mut cluster_secret = None;
        if !secret.is_empty() {
            let mut value = header(secret, "cluster_secret")?;
            value.set_sensitive(true);
            cluster_secret = Some(value);
        }
        let remote = Remote {
            service: header(service, "service")?,
            cluster_secret,
            policy,
            listed: Mutex::new(listed),
            endpoints: RwLock::new(Arc::new([])),
        };
        let peers = first.iter().take(ENDPOINTS_MAX).map(|uri| remote.connect(uri)).collect::<Result<_>>()?;
        *remote.endpoints.write() = peers;
        Ok(remote)
    }

    /// Makes one attempt at the endpoint the balancer picks.
    pub(crate) async fn call(&self, mut request: Request<Body>, deadline: Instant, chance: &Chance) -> Answer {
        let started = Instant::now();
        let endpoints = self.endpoints();
        let Some((peer, turn)) = pick(&endpoints, |peer| &peer.member, started, chance) else {
            return Err(status(no_endpoint()));
        };
        let headers = request.headers_mut();
        headers.insert(SERVICE, self.service.clone());
        if let Some(secret) = &self.cluster_secret {
            headers.insert(CLUSTER, secret.clone());
        }
        let mut channel = peer.channel.clone();
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
        peer.settle(turn, judge(&answer, started.elapsed(), self.policy.connect_timeout), started);
        answer
    }

    /// Returns the present endpoints, taking in what discovery has learnt since the last call.
    fn endpoints(&self) -> Arc<[Arc<Peer>]> {
        if let Some(mut listed) = self.listed.try_lock()
            && listed.has_changed().unwrap_or(false)
        {
            let uris = listed.borrow_and_update().clone();
            self.replace(&uris);
        }
        Arc::clone(&self.endpoints.read())
    }

    /// Keeps the connections of endpoints that stay and opens those of new ones. One that is no URI is left out.
    fn replace(&self, uris: &[String]) {
        let known = Arc::clone(&self.endpoints.read());
        let mut peers: Vec<Arc<Peer>> = Vec::with_capacity(uris.len().min(ENDPOINTS_MAX));
        for uri in uris {
            if peers.len() >= ENDPOINTS_MAX || peers.iter().any(|peer| peer.uri == *uri) {
                continue;
            }
            match known
                .iter()
                .find(|peer| peer.uri == *uri)
                .map_or_else(|| self.connect(uri), |peer| Ok(Arc::clone(peer)))
            {
                Ok(peer) => peers.push(peer),
                Err(error) => tracing::warn!(uri, %error, "left out an endpoint"),
            }
        }
        *self.endpoints.write() = peers.into();
    }

    fn connect(&self, uri: &str) -> Result<Arc<Peer>> {
        let policy = &self.policy;
        let endpoint = Endpoint::from_shared(uri.to_owned())
            .map_err(|error| Error::invalid("bad_endpoint", format!("{uri} is no endpoint")).source(error))?
            .connect_timeout(policy.connect_timeout)
            .http2_keep_alive_interval(policy.keep_alive_interval)
            .keep_alive_timeout(policy.keep_alive_timeout)
            .keep_alive_while_idle(true)
            .http2_max_header_list_size(HEADER_LIST_BYTES_MAX)
            .tcp_nodelay(true);
        let channel = match &policy.connect {
            Some(connect) => connect(endpoint),
            None => endpoint.connect_lazy(),
        };
        let now = Instant::now();
        let member = Member { breaker: Breaker::new(policy.breaker.clone(), now), load: Load::new() };
        Ok(Arc::new(Peer { uri: uri.to_owned(), channel, member }))
    }
}

impl Peer {
    /// Tells breaker and load how the attempt ended.
    fn settle(&self, turn: Turn, judgement: Judgement, started: Instant) {
        let now = Instant::now();
        self.member.load.observe(now, now - started, judgement != Judgement::Good);
        let outcome = match judgement {
            Judgement::Good | Judgement::Failing => Outcome::Good,
            Judgement::Away => Outcome::Failed,
            Judgement::Late => return,
        };
        match turn.permit.settle(outcome, now) {
            Change::None => {}
            Change::Opened => {
                tracing::warn!(endpoint = self.uri, "left out an endpoint that does not answer");
                metrics::counter!("mallard_rpc_breaker_opened_total", "endpoint" => self.uri.clone()).increment(1);
            }
            Change::Closed => {
                self.member.load.reset();
                tracing::info!(endpoint = self.uri, "endpoint answers again");
            }
        }
    }
}

/// What the end of an attempt says about the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Judgement {
    /// All is well; a refusal is the caller's affair.
    Good,
    /// The callee answered that it failed: other endpoints are preferred, but this one is alive. Its dependency may be
    /// down, and leaving it out would spread that outage to everything it serves.
    Failing,
    /// The caller had too little time to tell.
    Late,
    /// Nothing answered.
    Away,
}

/// Judges an attempt that took `took`; a missed deadline counts against the endpoint from `patience` on.
fn judge(answer: &Answer, took: Duration, patience: Duration) -> Judgement {
    let (code, answered) = match answer {
        Ok(response) => (head_code(response.headers()).unwrap_or(Code::Ok), true),
        Err(status) => (status.code(), false),
    };
    match code {
        Code::Unavailable if !answered || !made_by_callee(answer) => Judgement::Away,
        Code::DeadlineExceeded if !answered && took < patience => Judgement::Late,
        Code::DeadlineExceeded if !answered => Judgement::Away,
        Code::Unavailable | Code::DeadlineExceeded | Code::Internal | Code::Unknown | Code::DataLoss => {
            Judgement::Failing
        }
        _ => Judgement::Good,
    }
}

/// Tells whether a handler made this answer, as opposed to a proxy on the way.
fn made_by_callee(answer: &Answer) -> bool {
    let found = answer.as_ref().ok().and_then(|response| Status::from_header_map(response.headers()));
    found.is_some_and(|status| is_answer(&status))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::INTERNAL_TEXT;

    const PATIENCE: Duration = Duration::from_secs(1);

    #[test]
    fn an_endpoint_is_blamed_for_silence_and_not_for_its_answers() {
        let answered = |status: Status| Ok(status.into_http());
        let away = || status(Error::unavailable("db_away", "away"));
        let late = || status(deadline_exceeded());
        let cases = [
            (Ok(Response::new(Body::empty())), 0, Judgement::Good),
            (answered(status(Error::refused("no", "no"))), 0, Judgement::Good),
            (answered(status(Error::too_many("slow_down", "wait"))), 0, Judgement::Good),
            (answered(away()), 0, Judgement::Failing),
            (answered(status(Error::internal("bug", INTERNAL_TEXT))), 0, Judgement::Failing),
            (answered(late()), 5, Judgement::Failing),
            (answered(Status::unavailable("from a proxy")), 0, Judgement::Away),
            (Err(away()), 0, Judgement::Away),
            (Err(late()), 0, Judgement::Late),
            (Err(late()), 1, Judgement::Away),
        ];
        for (index, (answer, seconds, expected)) in cases.into_iter().enumerate() {
            assert_eq!(judge(&answer, Duration::from_secs(seconds), PATIENCE), expected, "case {index}");
        }
    }

    #[test]
    fn details_tonic_would_panic_on_are_removed() {
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert(Status::GRPC_STATUS, HeaderValue::from_static("14"));
        response.headers_mut().insert(Status::GRPC_STATUS_DETAILS, HeaderValue::from_static("%%%"));
        let answer = repaired(response, Instant::now() + PATIENCE);
        assert_eq!(judge(&answer, PATIENCE, PATIENCE), Judgement::Away);
    }
}
