//! What the door needs to know, and what keeps it fresh.

use std::sync::Arc;
use std::time::Duration;

use mallard_bus::Subscription;
use mallard_runtime::{Context, Task};
use mallard_types::Micros;

use crate::access::{Door, Policies};
use crate::cache::Now;
use crate::config::Config;
use crate::events::{ACCESS_EVENTS, AccessChanged};
use crate::keys::Keys;
use crate::revocations::Revocations;
use crate::standings::Standings;
use crate::tokens::Tokens;
use crate::uses::Uses;

const MICROS_PER_SECOND: Micros = 1_000_000;

/// Everything of identity's that is kept in this process.
pub struct Feeds {
    /// Verifies tokens.
    pub tokens: Arc<Tokens>,
    /// Revoked sessions.
    pub revocations: Arc<Revocations>,
    /// How accounts stand.
    pub standings: Arc<Standings>,
    /// The policy in force.
    pub policies: Arc<Policies>,
    /// Sessions in use.
    pub uses: Arc<Uses>,
    /// Decides who comes in.
    pub door: Arc<Door>,
}

impl Feeds {
    /// Makes them, all empty.
    ///
    /// # Errors
    /// A pause or the trust in a password is nothing.
    pub fn new(ctx: &Context, config: &Config) -> anyhow::Result<Feeds> {
        for (key, value) in [
            ("revocation_poll_ms", config.revocation_poll_ms),
            ("standing_poll_ms", config.standing_poll_ms),
            ("policy_poll_ms", config.policy_poll_ms),
            ("keys_poll_ms", config.keys_poll_ms),
            ("touch_interval_ms", config.touch_interval_ms),
            ("trust_s", config.trust_s),
        ] {
            anyhow::ensure!(value > 0, "gateway.{key} must be at least 1");
        }
        let clock = ctx.clock();
        let now: Now = Arc::new(move || clock.now());
        let revocations = Arc::new(Revocations::new(ctx.client(), Arc::clone(&now)));
        let keys = Keys::new(ctx.client());
        let tokens = Tokens::new(keys, Arc::clone(&revocations), Arc::clone(&now), config.token_cache_max);
        let tokens = Arc::new(tokens);
        let standings = Arc::new(Standings::new(ctx.client(), Arc::clone(&now)));
        let policies = Arc::new(Policies::new(ctx.client()));
        let uses = Arc::new(Uses::new(ctx.client(), Arc::clone(&now)));
        let trust = Micros::try_from(config.trust_s).unwrap_or(Micros::MAX).saturating_mul(MICROS_PER_SECOND);
        let door = Door::new(
            Arc::clone(&tokens),
            Arc::clone(&standings),
            Arc::clone(&policies),
            Arc::clone(&uses),
            now,
            trust,
        );
        Ok(Feeds { tokens, revocations, standings, policies, uses, door: Arc::new(door) })
    }

    /// Returns what takes identity's events into memory.
    pub fn subscription(&self) -> Subscription {
        let handler =
            AccessChanged::new(Arc::clone(&self.revocations), Arc::clone(&self.standings), Arc::clone(&self.policies));
        Subscription::in_memory(ACCESS_EVENTS, Arc::new(handler))
    }

    /// Returns the work that keeps all of it fresh.
    pub fn tasks(&self, ctx: &Context, config: &Config) -> Vec<Task> {
        let pause = Duration::from_millis(config.revocation_poll_ms);
        let (feed, stop) = (Arc::clone(&self.revocations), ctx.shutdown());
        let revocations = Task::restarting("revocations", move || Arc::clone(&feed).keep_fresh(pause, stop.clone()));

        let pause = Duration::from_millis(config.standing_poll_ms);
        let (feed, stop) = (Arc::clone(&self.standings), ctx.shutdown());
        let standings = Task::restarting("standings", move || Arc::clone(&feed).keep_fresh(pause, stop.clone()));

        let pause = Duration::from_millis(config.policy_poll_ms);
        let (feed, stop) = (Arc::clone(&self.policies), ctx.shutdown());
        let policies = Task::restarting("policies", move || Arc::clone(&feed).keep_fresh(pause, stop.clone()));

        let pause = Duration::from_millis(config.keys_poll_ms);
        let (feed, stop) = (Arc::clone(&self.tokens), ctx.shutdown());
        let keys = Task::restarting("keys", move || Arc::clone(&feed).keep_keys_fresh(pause, stop.clone()));

        let pause = Duration::from_millis(config.touch_interval_ms);
        let (uses, stop) = (Arc::clone(&self.uses), ctx.shutdown());
        let uses = Task::restarting("uses", move || Arc::clone(&uses).keep_telling(pause, stop.clone()));
        vec![revocations, standings, policies, keys, uses]
    }
}
