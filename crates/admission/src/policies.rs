//! The policy in force in this process.
//!
//! Identity's policy comes here when the service passed a change on, with the event `policy.changed.v1`, and by a look every
//! 400 ms. While identity is away, or when its policy does not load, the last good one stays in force.

use std::sync::Arc;
use std::time::Duration;

use mallard_access::{Access, Effect, Role, Rule};
use mallard_proto::identity::v1::{GetAccessRequest, GetAccessResponse, Policy};
use mallard_runtime::Shutdown;
use mallard_types::{Error, Result};
use parking_lot::RwLock;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::feed;
use crate::issuer::Issuer;

/// Longest wait for the policy.
const READ_TIMEOUT: Duration = Duration::from_secs(2);
/// Version of no policy.
const NONE: i64 = -1;

/// A policy, and since when it is known to be identity's.
struct InForce {
    version: i64,
    access: Arc<Access>,
    confirmed_at: Instant,
}

/// Knows the policy in force.
pub struct Policies {
    identity: Issuer,
    in_force: RwLock<Option<InForce>>,
    /// The version that identity was found to have, in force or refused. One read at a time.
    seen: Mutex<i64>,
    wake: Notify,
}

impl Policies {
    /// Makes a set without a policy; the first look fills it.
    pub fn new(identity: Issuer) -> Policies {
        Policies { identity, in_force: RwLock::default(), seen: Mutex::new(NONE), wake: Notify::new() }
    }

    /// Returns the policy in force, none before the first was read.
    pub fn current(&self) -> Option<Arc<Access>> {
        self.in_force.read().as_ref().map(|policy| Arc::clone(&policy.access))
    }

    /// Returns the version in force and the time since it was confirmed to be identity's, none before the first was read.
    pub fn age(&self) -> Option<(i64, Duration)> {
        self.in_force.read().as_ref().map(|policy| (policy.version, policy.confirmed_at.elapsed()))
    }

    /// Reads the policy unless one is in force.
    ///
    /// # Errors
    /// `policy_unavailable` when there is none after that.
    pub async fn complete(&self) -> Result<()> {
        if self.in_force.read().is_some() {
            return Ok(());
        }
        match self.read().await {
            Err(error) => Err(unavailable().source(error)),
            Ok(()) if self.in_force.read().is_none() => Err(unavailable()),
            Ok(()) => Ok(()),
        }
    }

    /// Reads identity's policy and puts it in force when it is another one.
    ///
    /// # Errors
    /// When identity cannot be asked.
    pub async fn read(&self) -> Result<()> {
        let mut seen = self.seen.lock().await;
        let outcome = self.read_after(&mut seen).await;
        if let Some((version, age)) = self.age() {
            metrics::gauge!("mallard_policy_version").set(version as f64);
            metrics::gauge!("mallard_policy_age_seconds").set(age.as_secs_f64());
        }
        outcome
    }

    async fn read_after(&self, seen: &mut i64) -> Result<()> {
        let call = self.identity.call(READ_TIMEOUT);
        let mut identity = self.identity.client();
        let request = GetAccessRequest { known_version: *seen };
        let answer = mallard_rpc::scope(call, identity.get_access(request)).await;
        let answer = answer.map_err(mallard_rpc::error)?.into_inner();
        if !answer.changed {
            self.confirm(answer.version);
            return Ok(());
        }
        let (version, rules) = (answer.version, answer.policies.len());
        match load(answer).await {
            Ok(access) => {
                let policy = InForce { version, access: Arc::new(access), confirmed_at: Instant::now() };
                *self.in_force.write() = Some(policy);
                tracing::info!(version, rules, "a policy came into force");
            }
            // Asked for once: the next look says that this version is known.
            Err(error) => {
                tracing::error!(%error, version, rules, "a policy does not load; the last good one stays in force")
            }
        }
        *seen = version;
        Ok(())
    }

    fn confirm(&self, version: i64) {
        if let Some(policy) = self.in_force.write().as_mut().filter(|policy| policy.version == version) {
            policy.confirmed_at = Instant::now();
        }
    }

    /// Has the policy read soon.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Reads the policy again and again, until shutdown.
    pub async fn keep_fresh(self: Arc<Self>, pause: Duration, shutdown: Shutdown) {
        feed::keep_fresh("policy", pause, &self.wake, &shutdown, || self.read(), || {}).await;
    }
}

/// Says that nobody knows yet who may do what.
pub fn unavailable() -> Error {
    let message = "the policies have not been read yet; try again in a moment";
    Error::unavailable("policy_unavailable", message).retry_after_ms(1_000)
}

async fn load(answer: GetAccessResponse) -> Result<Access> {
    let rules = answer.policies.into_iter().map(rule).collect::<Result<Vec<_>>>()?;
    let roles = answer.roles.into_iter().map(|role| Role { name: role.name, inherits: role.inherits });
    Access::new(rules, roles.collect(), answer.allow_list).await
}

fn rule(policy: Policy) -> Result<Rule> {
    let effect = match policy.effect.as_str() {
        "allow" => Effect::Allow,
        "deny" => Effect::Deny,
        _ => return Err(Error::invalid("invalid_policy", "the effect of a rule is allow or deny").param("effect")),
    };
    let Policy { id, role, domain, path, method, .. } = policy;
    Ok(Rule { id, role, domain, path, method, effect })
}
