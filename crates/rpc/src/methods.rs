//! What is known of each method: its name in metrics, whether it may be tried again, its counters.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Histogram, counter, histogram};
use parking_lot::RwLock;
use tonic::Code;

use crate::error::code_name;
use crate::policy::gate::Gate;

/// Methods counted by name; paths come from the network, so the table is bounded. Further ones are counted as `other`.
const METHODS_MAX: usize = 1_024;
/// gRPC codes: 0 to 16.
const CODES: usize = 17;

static IDEMPOTENT: RwLock<BTreeSet<&'static str>> = RwLock::new(BTreeSet::new());
static SAFE: RwLock<BTreeSet<&'static str>> = RwLock::new(BTreeSet::new());
/// Counts registrations, so that a method looked at before one looks again.
static REGISTRATIONS: AtomicU64 = AtomicU64::new(1);

/// Registers unary methods that may run twice, by path: `/mallard.order.v1.OrderService/GetOrder`. Only these are ever
/// tried again. Registering twice does nothing.
pub fn register_idempotent(methods: &'static [&'static str]) {
    register(&IDEMPOTENT, methods);
}

/// Registers unary methods without side effects, by path. They may also run twice at once (hedge) or not at all
/// (fallback), where their policy says so. Registering twice does nothing.
pub fn register_safe(methods: &'static [&'static str]) {
    register(&IDEMPOTENT, methods);
    register(&SAFE, methods);
}

fn register(known: &RwLock<BTreeSet<&'static str>>, methods: &'static [&'static str]) {
    let mut known = known.write();
    let before = known.len();
    known.extend(methods);
    if known.len() != before {
        REGISTRATIONS.fetch_add(1, Ordering::Release);
    }
}

/// Which end of a call is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// `mallard_rpc_calls_total{service,method,code}` and `mallard_rpc_call_seconds{service,method}`.
    Caller,
    /// `mallard_rpc_handled_total{service,method,code}` and `mallard_rpc_handled_seconds{service,method}`.
    Callee,
}

/// The methods of one service, as seen from one side.
#[derive(Debug)]
pub(crate) struct Methods {
    service: Arc<str>,
    side: Side,
    /// Policies by name of the method.
    gates: BTreeMap<Box<str>, Arc<Gate>>,
    table: RwLock<HashMap<Box<str>, Arc<Method>>>,
    other: OnceLock<Arc<Method>>,
}

impl Methods {
    pub(crate) fn new(service: Arc<str>, side: Side) -> Self {
        Methods { service, side, gates: BTreeMap::new(), table: RwLock::default(), other: OnceLock::new() }
    }

    /// As [`Methods::new`], of the caller, with the policies of some methods.
    pub(crate) fn with_gates(service: Arc<str>, gates: BTreeMap<Box<str>, Arc<Gate>>) -> Self {
        Methods { gates, ..Methods::new(service, Side::Caller) }
    }

    /// Returns the methods with policies.
    pub(crate) fn gates(&self) -> impl Iterator<Item = &Gate> {
        self.gates.values().map(|gate| &**gate)
    }

    /// Returns what is known of the method at `path`, remembering it if there is room.
    pub(crate) fn get(&self, path: &str) -> Arc<Method> {
        if let Some(method) = self.find(path) {
            return method;
        }
        let mut table = self.table.write();
        if let Some(method) = table.get(path) {
            return Arc::clone(method);
        }
        if table.len() >= METHODS_MAX {
            return self.other();
        }
        let gate = self.gates.get(method_name(path)).cloned();
        let method = Arc::new(Method::new(&self.service, path, self.side, gate));
        table.insert(path.into(), Arc::clone(&method));
        method
    }

    /// Returns what is known of the method at `path`, if it was met before.
    pub(crate) fn find(&self, path: &str) -> Option<Arc<Method>> {
        self.table.read().get(path).cloned()
    }

    /// Returns the method that paths of no method are counted as.
    pub(crate) fn other(&self) -> Arc<Method> {
        Arc::clone(self.other.get_or_init(|| Arc::new(Method::new(&self.service, "other", self.side, None))))
    }
}

/// One method of one service.
pub(crate) struct Method {
    path: Box<str>,
    service: Arc<str>,
    side: Side,
    gate: Option<Arc<Gate>>,
    idempotent: AtomicBool,
    safe: AtomicBool,
    /// Value of [`REGISTRATIONS`] when the two were looked up; 0 means never.
    looked_up: AtomicU64,
    // Handles are made at first use and kept: looking them up costs more than the call they count.
    seconds: OnceLock<Histogram>,
    codes: [OnceLock<Counter>; CODES],
}

impl Method {
    fn new(service: &Arc<str>, path: &str, side: Side, gate: Option<Arc<Gate>>) -> Self {
        Method {
            path: path.into(),
            service: Arc::clone(service),
            side,
            gate,
            idempotent: AtomicBool::new(false),
            safe: AtomicBool::new(false),
            looked_up: AtomicU64::new(0),
            seconds: OnceLock::new(),
            codes: [const { OnceLock::new() }; CODES],
        }
    }

    /// Returns the last part of the path, e.g. `PlaceOrder`.
    pub(crate) fn name(&self) -> &str {
        method_name(&self.path)
    }

    /// Returns the policies of the method, if it has any.
    pub(crate) fn gate(&self) -> Option<&Gate> {
        self.gate.as_deref()
    }

    /// Tells whether the method may run twice.
    pub(crate) fn is_idempotent(&self) -> bool {
        self.look_up();
        self.idempotent.load(Ordering::Relaxed)
    }

    /// Tells whether the method has no side effects.
    pub(crate) fn is_safe(&self) -> bool {
        self.look_up();
        self.safe.load(Ordering::Relaxed)
    }

    fn look_up(&self) {
        let registrations = REGISTRATIONS.load(Ordering::Acquire);
        if self.looked_up.load(Ordering::Acquire) != registrations {
            self.idempotent.store(IDEMPOTENT.read().contains(&*self.path), Ordering::Relaxed);
            self.safe.store(SAFE.read().contains(&*self.path), Ordering::Relaxed);
            self.looked_up.store(registrations, Ordering::Release);
        }
    }

    /// Counts one call.
    pub(crate) fn count(&self, code: Code, took: Duration) {
        self.seconds.get_or_init(|| self.make_histogram()).record(took);
        if let Some(slot) = self.codes.get(code as usize) {
            slot.get_or_init(|| self.make_counter(code)).increment(1);
        }
    }

    /// Counts one retry.
    pub(crate) fn count_retry(&self) {
        let (service, method) = self.labels();
        counter!("mallard_rpc_retries_total", "service" => service, "method" => method).increment(1);
        if let Some(gate) = self.gate() {
            gate.count_retry();
        }
    }

    fn labels(&self) -> (String, String) {
        (self.service.to_string(), self.name().to_owned())
    }

    fn make_histogram(&self) -> Histogram {
        let (service, method) = self.labels();
        match self.side {
            Side::Caller => histogram!("mallard_rpc_call_seconds", "service" => service, "method" => method),
            Side::Callee => histogram!("mallard_rpc_handled_seconds", "service" => service, "method" => method),
        }
    }

    fn make_counter(&self, code: Code) -> Counter {
        let (service, method) = self.labels();
        let code = code_name(code);
        match self.side {
            Side::Caller => {
                counter!("mallard_rpc_calls_total", "service" => service, "method" => method, "code" => code)
            }
            Side::Callee => {
                counter!("mallard_rpc_handled_total", "service" => service, "method" => method, "code" => code)
            }
        }
    }
}

impl std::fmt::Debug for Method {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Method").field("service", &self.service).field("path", &self.path).finish_non_exhaustive()
    }
}

/// Returns the last part of a path, e.g. `PlaceOrder`.
pub(crate) fn method_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_met_before_its_registration_is_idempotent_after_it() {
        let methods = Methods::new("order".into(), Side::Caller);
        let path = "/mallard.order.v1.OrderService/MetBeforeRegistration";
        assert!(!methods.get(path).is_idempotent());
        register_idempotent(&["/mallard.order.v1.OrderService/MetBeforeRegistration"]);
        assert!(methods.get(path).is_idempotent());
        assert_eq!(methods.get(path).name(), "MetBeforeRegistration");
        assert!(!methods.get(path).is_safe());
        register_safe(&["/mallard.order.v1.OrderService/MetBeforeRegistration"]);
        assert!(methods.get(path).is_safe());
    }

    #[test]
    fn the_table_of_methods_is_bounded() {
        let methods = Methods::new("order".into(), Side::Callee);
        for index in 0..METHODS_MAX + 100 {
            methods.get(&format!("/junk/{index}"));
        }
        assert_eq!(methods.table.read().len(), METHODS_MAX);
        assert_eq!(methods.get("/one/more").name(), "other");
    }
}
