//! The one way to call a service, near or far.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::header::HeaderValue;
use http::{HeaderMap, Request, Response};
use mallard_types::Error;
use parking_lot::RwLock;
use tokio::time::{Instant, sleep};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::Service;

use crate::body::guarded;
use crate::call::with_current;
use crate::chance::Chance;
use crate::config::Config;
use crate::error::status;
use crate::fault::{Fault, FaultAction};
use crate::guard::{deadline_exceeded, guard};
use crate::metadata::{TIMEOUT, read_timeout, timeout_value, write_call, write_timeout, write_trace};
use crate::methods::{Method, Methods};
use crate::policy::gate::Gate;
use crate::policy::hedge::hedge;
use crate::policy::retry::{Answer, Retries, head_code};
use crate::remote::{Remote, Tried};
use crate::replay::Replay;
use crate::served::Served;
use crate::slow::SlowCalls;
use crate::snapshot::Snapshot;

/// A client of a tonic service, made over the channel to it. The generated clients implement it.
pub trait Client: Sized {
    /// Name of the service, e.g. `order`.
    const SERVICE: &'static str;

    /// Makes the client.
    fn from_channel(channel: ServiceChannel) -> Self;
}

/// The way to one service, in this process or in others. Cheap to clone; always ready; fails with a status.
///
/// A call passes these layers, outside in, wherever the callee is: trace context, deadline, identity, metrics, the
/// policies of its method (fallback, bulkhead, breaker, hedge), retry, transport (with the faults of a simulation in
/// front). Dropping the call drops the handler's work.
#[derive(Clone)]
pub struct ServiceChannel(pub(crate) Arc<Route>);

impl ServiceChannel {
    /// Returns the name of the service.
    pub fn service(&self) -> &str {
        &self.0.service
    }
}

impl std::fmt::Debug for ServiceChannel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceChannel").field("service", &self.0.service).finish_non_exhaustive()
    }
}

impl Service<Request<Body>> for ServiceChannel {
    type Response = Response<Body>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let route = Arc::clone(&self.0);
        let started = Instant::now();
        let method = route.methods.get(request.uri().path());
        // The context is read here, in the caller's task: the future may be polled in another.
        let deadline = route.write_context(request.headers_mut(), started, &method);
        Box::pin(route.run(request, started, deadline, method))
    }
}

/// What every channel of a process shares.
pub(crate) struct Common {
    pub(crate) chance: Arc<Chance>,
    pub(crate) fault: RwLock<Option<Arc<dyn Fault>>>,
    /// Spares calls the lock where there is no fault, which is everywhere but in a simulation.
    pub(crate) has_fault: AtomicBool,
    /// What the services of this process were slow to answer.
    pub(crate) slow: SlowCalls,
}

/// Where the service is.
#[derive(Clone)]
pub(crate) enum Callee {
    /// Not mounted yet, or no more.
    Absent,
    /// In this process.
    Local(Served),
    /// In others.
    Remote(Arc<Remote>),
}

/// The way to one service; the callee may be filled in later.
pub(crate) struct Route {
    service: Arc<str>,
    common: Arc<Common>,
    deadline_default: Duration,
    /// Header of the usual deadline, made once.
    timeout_default: Option<HeaderValue>,
    methods: Methods,
    retries: Retries,
    pub(crate) callee: RwLock<Callee>,
}

impl Route {
    pub(crate) fn new(service: &str, config: &Config, common: Arc<Common>) -> Self {
        let service: Arc<str> = service.into();
        let deadline_default = Duration::from_millis(config.deadline_default_ms);
        let retry = config.retry(&service);
        let gates = config.methods_of(&service).map(|(name, policy)| {
            let gate = Gate::new(Arc::clone(&service), name, policy, &retry, &common.chance);
            (name.into(), Arc::new(gate))
        });
        Route {
            methods: Methods::with_gates(Arc::clone(&service), gates.collect()),
            retries: Retries::new(retry),
            service,
            common,
            deadline_default,
            timeout_default: timeout_value(deadline_default),
            callee: RwLock::new(Callee::Absent),
        }
    }

    /// Writes what travels with the call and returns when its answer is no longer wanted.
    fn write_context(&self, headers: &mut HeaderMap, started: Instant, method: &Method) -> Instant {
        with_current(|call| {
            // Trace context: outermost, so that everything below belongs to the new hop.
            write_trace(headers, call.trace.next_hop(&self.common.chance));
            // Deadline: the nearest of the caller's own, one asked for with `set_timeout` and the method's; relative on
            // the wire because clocks differ, absolute inside because time passes.
            let asked = read_timeout(headers).map(|timeout| started + timeout);
            let longest = method.gate().and_then(Gate::timeout).map(|timeout| started + timeout);
            let deadline = match [call.deadline, asked, longest].into_iter().flatten().min() {
                Some(deadline) => {
                    write_timeout(headers, deadline.saturating_duration_since(started));
                    deadline
                }
                None => {
                    self.timeout_default.as_ref().map(|value| headers.insert(TIMEOUT, value.clone()));
                    started + self.deadline_default
                }
            };
            // Identity: who asks, for which request, at which business time. Whatever a handler copied into the
            // headers by hand is replaced.
            write_call(headers, call);
            deadline
        })
    }

    async fn run(
        self: Arc<Self>,
        request: Request<Body>,
        started: Instant,
        deadline: Instant,
        method: Arc<Method>,
    ) -> Answer {
        // Answers that come at once, as those near by do, would let a loop of calls keep the thread to itself.
        tokio::task::coop::consume_budget().await;
        let answer = match method.gate() {
            _ if started >= deadline => Err(status(deadline_exceeded())),
            // Guard: near or far, a missed deadline is DeadlineExceeded and a panic is Internal.
            None => guard(Some(deadline), self.with_retries(request, deadline, &method))
                .await
                .unwrap_or_else(|broken| Err(status(broken.error()))),
            // Boxed: the policies of few methods shall not make every call larger.
            Some(gate) => Box::pin(self.through(gate, request, deadline, &method)).await,
        };
        // Metrics: outside the retries, so that a call counts once and with all its time.
        method.count(code(&answer), started.elapsed());
        answer.map(|response| guarded(response, deadline))
    }

    /// Policies of the method: its fallback around its bulkhead and breaker around the attempts.
    async fn through(&self, gate: &Gate, request: Request<Body>, deadline: Instant, method: &Method) -> Answer {
        let safe = method.is_safe();
        gate.begin(safe);
        let request = match safe && gate.keeps_requests() {
            true => Replay::keep(request).await,
            false => Err(request),
        };
        let key = request.as_ref().ok().and_then(|replay| gate.key(replay));
        let answer = match gate.admit() {
            Err(refused) => Err(status(refused)),
            Ok(pass) => {
                let attempts = async {
                    match request {
                        Ok(replay) => self.with_hedge(gate, &replay, deadline, method).await,
                        Err(request) => self.with_retries(request, deadline, method).await,
                    }
                };
                let answer = guard(Some(deadline), attempts).await;
                let answer = answer.unwrap_or_else(|broken| Err(status(broken.error())));
                pass.settle(&answer);
                answer
            }
        };
        if safe { gate.with_fallback(answer, key, deadline).await } else { answer }
    }

    /// Hedge: only methods without side effects, one more attempt, elsewhere, within the budget of the retries.
    async fn with_hedge(&self, gate: &Gate, replay: &Replay, deadline: Instant, method: &Method) -> Answer {
        self.retries.begin(method);
        let tried = Tried::default();
        let first = self.replayed(replay, deadline, method, &tried);
        let Some(after) = gate.hedge_after() else { return first.await };
        let second = || {
            self.retries.take_out().then(|| {
                gate.count_hedge();
                self.attempt(again(replay, deadline), deadline, method, &tried)
            })
        };
        hedge(first, after, second).await
    }

    /// Retry: only methods the contract marks idempotent, only while the callee is Unavailable, within the budget.
    async fn with_retries(&self, request: Request<Body>, deadline: Instant, method: &Method) -> Answer {
        let tried = Tried::default();
        if !self.retries.begin(method) {
            return self.attempt(request, deadline, method, &tried).await;
        }
        match Replay::keep(request).await {
            Ok(replay) => self.replayed(&replay, deadline, method, &tried).await,
            Err(request) => self.attempt(request, deadline, method, &tried).await,
        }
    }

    async fn replayed(&self, replay: &Replay, deadline: Instant, method: &Method, tried: &Tried) -> Answer {
        let mut answer = self.attempt(replay.request(), deadline, method, tried).await;
        let mut attempts = 1;
        while let Some(pause) = self.retries.pause(&answer, attempts, deadline, method, &self.common.chance) {
            drop(answer);
            sleep(pause).await;
            answer = self.attempt(again(replay, deadline), deadline, method, tried).await;
            attempts += 1;
        }
        answer
    }

    /// One attempt, with the fault a simulation wants for it.
    async fn attempt(&self, request: Request<Body>, deadline: Instant, method: &Method, tried: &Tried) -> Answer {
        if !self.common.has_fault.load(Ordering::Relaxed) {
            return self.transport(request, deadline, tried).await;
        }
        let fault = self.common.fault.read().clone();
        let action = fault.map_or(FaultAction::Pass, |fault| fault.decide(&self.service, method.name()));
        // Boxed: the rare way shall not make the common future larger.
        Box::pin(self.faulty(request, deadline, tried, action)).await
    }

    async fn faulty(&self, request: Request<Body>, deadline: Instant, tried: &Tried, action: FaultAction) -> Answer {
        match action {
            FaultAction::Pass => self.transport(request, deadline, tried).await,
            FaultAction::LoseRequest => Err(status(lost("request_lost", "the request was lost"))),
            FaultAction::LoseReply => {
                let answer = self.transport(request, deadline, tried).await;
                drop(answer);
                Err(status(lost("reply_lost", "the reply was lost")))
            }
            FaultAction::Duplicate => match Replay::keep(request).await {
                Ok(replay) => {
                    let first = self.transport(replay.request(), deadline, tried).await;
                    drop(first);
                    self.transport(replay.into_request(), deadline, tried).await
                }
                Err(request) => self.transport(request, deadline, tried).await,
            },
            FaultAction::Delay(pause) => {
                sleep(pause).await;
                self.transport(request, deadline, tried).await
            }
        }
    }

    /// Transport: the callee's routes as a function in this process, or one of its endpoints.
    async fn transport(&self, request: Request<Body>, deadline: Instant, tried: &Tried) -> Answer {
        let callee = self.callee.read().clone();
        match callee {
            Callee::Absent => Err(status(not_running(&self.service))),
            // Boxed: every layer around it would hold it once for each place where it is waited for.
            Callee::Local(served) => Ok(Box::pin(served.handle(request)).await),
            // Boxed: a far call can afford it, and a near one shall not carry its size.
            Callee::Remote(remote) => Box::pin(remote.call(request, deadline, tried)).await,
        }
    }

    /// Adds what is known of the service.
    pub(crate) fn add_to(&self, snapshot: &mut Snapshot, now: Instant) {
        let callee = self.callee.read().clone();
        match callee {
            Callee::Absent => {}
            Callee::Local(served) => snapshot.endpoints.push(served.state(now)),
            Callee::Remote(remote) => snapshot.endpoints.extend(remote.states(now)),
        }
        snapshot.methods.extend(self.methods.gates().map(|gate| gate.state(now)));
    }
}

/// Makes a request once more, with the time that remains.
fn again(replay: &Replay, deadline: Instant) -> Request<Body> {
    let mut request = replay.request();
    write_timeout(request.headers_mut(), deadline.saturating_duration_since(Instant::now()));
    request
}

fn code(answer: &Answer) -> Code {
    match answer {
        Ok(response) => head_code(response.headers()).unwrap_or(Code::Ok),
        Err(status) => status.code(),
    }
}

fn lost(code: &'static str, message: &'static str) -> Error {
    Error::unavailable(code, message)
}

/// Makes the error of a service that is not there.
pub(crate) fn not_running(service: &str) -> Error {
    Error::unavailable("service_not_running", format!("the service {service} is not running"))
}
