//! The channels of a process by service name: filled by whoever starts the services, read by whoever calls them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use mallard_types::Result;
use parking_lot::RwLock;
use tokio::time::Instant;
use tonic::service::Routes;

use crate::chance::Chance;
use crate::channel::{Callee, Client, Common, Route, ServiceChannel};
use crate::config::{Config, Policy};
use crate::fault::Fault;
use crate::remote::{Discover, Remote, StaticEndpoints};
use crate::served::Served;
use crate::slow::SlowCalls;
use crate::snapshot::Snapshot;

/// Knows the way to every service. Cheap to clone.
#[derive(Clone)]
pub struct Channels(Arc<Inner>);

struct Inner {
    config: Config,
    common: Arc<Common>,
    routes: RwLock<BTreeMap<String, Arc<Route>>>,
}

impl Channels {
    /// Makes a set of channels that lead nowhere yet.
    pub fn new(config: Config) -> Self {
        let common = Common {
            chance: Arc::new(Chance::new(config.seed)),
            fault: RwLock::new(None),
            has_fault: AtomicBool::new(false),
            slow: SlowCalls::new(Duration::from_millis(config.slow_call_ms)),
        };
        Channels(Arc::new(Inner { config, common: Arc::new(common), routes: RwLock::default() }))
    }

    /// Returns the channel to a service. It may be taken before the service is mounted; until then a call is answered
    /// with Unavailable, `service_not_running`.
    pub fn channel(&self, service: &str) -> ServiceChannel {
        ServiceChannel(self.route(service))
    }

    /// Returns a client of a service, near or far.
    pub fn client<C: Client>(&self) -> C {
        C::from_channel(self.channel(C::SERVICE))
    }

    /// Mounts a service of this process, replacing what was there.
    pub fn mount_local(&self, service: &'static str, routes: Routes) {
        let common = &self.0.common;
        let served = Served::new(service, routes, Arc::clone(&common.chance), common.slow.clone());
        self.mount(service, Callee::Local(served));
    }

    /// Mounts a service of other processes by its endpoints, replacing what was there, with the policy the configuration
    /// has for it. An endpoint is `http://host:port`, optionally with attributes: `#version=v2;zone=a;weight=3`. Must be
    /// called within a tokio runtime; connections are opened by the first calls.
    ///
    /// # Errors
    /// `invalid` (`bad_endpoint`) when an endpoint is no good; (`bad_header_value`) when the service's name or the
    /// cluster's secret cannot be sent in a header.
    pub fn mount_remote(&self, service: &str, endpoints: Vec<String>) -> Result<()> {
        self.mount_discovered(service, &StaticEndpoints(endpoints))
    }

    /// As [`Channels::mount_remote`], with a policy of its own.
    ///
    /// # Errors
    /// As [`Channels::mount_remote`].
    pub fn mount_remote_with(&self, service: &str, endpoints: Vec<String>, policy: Policy) -> Result<()> {
        self.mount_discovered_with(service, &StaticEndpoints(endpoints), policy)
    }

    /// Mounts a service of other processes by what discovery knows of it, replacing what was there, with the policy the
    /// configuration has for it.
    ///
    /// # Errors
    /// As [`Channels::mount_remote`], for the first list; later endpoints that are no good are left out and logged.
    pub fn mount_discovered(&self, service: &str, discover: &dyn Discover) -> Result<()> {
        self.mount_discovered_with(service, discover, self.0.config.policy(service))
    }

    /// As [`Channels::mount_discovered`], with a policy of its own.
    ///
    /// # Errors
    /// As [`Channels::mount_discovered`].
    pub fn mount_discovered_with(&self, service: &str, discover: &dyn Discover, policy: Policy) -> Result<()> {
        let chance = Arc::clone(&self.0.common.chance);
        let remote = Remote::new(service, &self.0.config.cluster_secret, discover, policy, chance)?;
        self.mount(service, Callee::Remote(Arc::new(remote)));
        Ok(())
    }

    /// Returns what this process knows of the services it calls.
    pub fn snapshot(&self) -> Snapshot {
        let now = Instant::now();
        let routes: Vec<_> = self.0.routes.read().values().cloned().collect();
        let mut snapshot = Snapshot::default();
        for route in routes {
            route.add_to(&mut snapshot, now);
        }
        snapshot
    }

    /// Returns the calls that the services of this process were slow to answer. Whoever answers others, such as the server
    /// of the port and the edge, adds to the same ones.
    pub fn slow_calls(&self) -> SlowCalls {
        self.0.common.slow.clone()
    }

    /// Takes a service away, as when its process dies; its channels stay and answer `service_not_running`.
    pub fn unmount(&self, service: &str) {
        self.mount(service, Callee::Absent);
    }

    /// Sets the faults every call meets from now on.
    pub fn set_fault(&self, fault: Arc<dyn Fault>) {
        *self.0.common.fault.write() = Some(fault);
        self.0.common.has_fault.store(true, Ordering::Relaxed);
    }

    /// Ends the faults.
    pub fn clear_fault(&self) {
        self.0.common.has_fault.store(false, Ordering::Relaxed);
        *self.0.common.fault.write() = None;
    }

    fn mount(&self, service: &str, callee: Callee) {
        *self.route(service).callee.write() = callee;
    }

    fn route(&self, service: &str) -> Arc<Route> {
        if let Some(route) = self.0.routes.read().get(service) {
            return Arc::clone(route);
        }
        let mut routes = self.0.routes.write();
        let make = || Arc::new(Route::new(service, &self.0.config, Arc::clone(&self.0.common)));
        Arc::clone(routes.entry(service.to_owned()).or_insert_with(make))
    }
}

impl Default for Channels {
    fn default() -> Self {
        Channels::new(Config::default())
    }
}

impl std::fmt::Debug for Channels {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Channels")
            .field("services", &self.0.routes.read().keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
