//! What the door needs to know, and what keeps it fresh.

use std::sync::Arc;
use std::time::Duration;

use mallard_bus::Subscription;
use mallard_runtime::{Context, Task};
use mallard_types::Micros;

use crate::cache::Now;
use crate::door::Door;
use crate::events::{AccessChanged, SUBSCRIBES};
use crate::issuer::Issuer;
use crate::keys::Keys;
use crate::policies::Policies;
use crate::revocations::Revocations;
use crate::settings::Settings;
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
    settings: Settings,
}

impl Feeds {
    /// Makes them, all empty.
    ///
    /// # Errors
    /// A pause or the trust in a password is nothing.
    pub fn new(ctx: &Context, settings: &Settings) -> anyhow::Result<Feeds> {
        for (key, value) in [
            ("revocation_poll_ms", settings.revocation_poll_ms),
            ("standing_poll_ms", settings.standing_poll_ms),
            ("policy_poll_ms", settings.policy_poll_ms),
            ("keys_poll_ms", settings.keys_poll_ms),
            ("touch_interval_ms", settings.touch_interval_ms),
            ("trust_s", settings.trust_s),
        ] {
            anyhow::ensure!(value > 0, "gateway.{key} must be at least 1");
        }
        let clock = ctx.clock();
        let now: Now = Arc::new(move || clock.now());
        let issuer = Issuer::new(ctx);
        let revocations = Arc::new(Revocations::new(issuer.clone(), Arc::clone(&now)));
        let keys = Keys::new(issuer.clone());
        let tokens = Tokens::new(keys, Arc::clone(&revocations), Arc::clone(&now), settings.token_cache_max);
        let tokens = Arc::new(tokens);
        let standings = Arc::new(Standings::new(issuer.clone(), Arc::clone(&now)));
        let policies = Arc::new(Policies::new(issuer.clone()));
        let uses = Arc::new(Uses::new(issuer, Arc::clone(&now)));
        let trust = Micros::try_from(settings.trust_s).unwrap_or(Micros::MAX).saturating_mul(MICROS_PER_SECOND);
        let door = Door::new(
            Arc::clone(&tokens),
            Arc::clone(&standings),
            Arc::clone(&policies),
            Arc::clone(&uses),
            now,
            trust,
        )?;
        Ok(Feeds { tokens, revocations, standings, policies, uses, door: Arc::new(door), settings: settings.clone() })
    }

    /// Returns what takes identity's events into memory.
    pub fn subscription(&self) -> Subscription {
        let handler =
            AccessChanged::new(Arc::clone(&self.revocations), Arc::clone(&self.standings), Arc::clone(&self.policies));
        Subscription::in_memory(&SUBSCRIBES, Arc::new(handler))
    }

    /// Returns the work that keeps all of it fresh.
    pub fn tasks(&self, ctx: &Context) -> Vec<Task> {
        let settings = &self.settings;
        let pause = Duration::from_millis(settings.revocation_poll_ms);
        let (feed, stop) = (Arc::clone(&self.revocations), ctx.shutdown());
        let revocations = Task::restarting("revocations", move || Arc::clone(&feed).keep_fresh(pause, stop.clone()));

        let pause = Duration::from_millis(settings.standing_poll_ms);
        let (feed, stop) = (Arc::clone(&self.standings), ctx.shutdown());
        let standings = Task::restarting("standings", move || Arc::clone(&feed).keep_fresh(pause, stop.clone()));

        let pause = Duration::from_millis(settings.policy_poll_ms);
        let (feed, stop) = (Arc::clone(&self.policies), ctx.shutdown());
        let policies = Task::restarting("policies", move || Arc::clone(&feed).keep_fresh(pause, stop.clone()));

        let pause = Duration::from_millis(settings.keys_poll_ms);
        let (feed, stop) = (Arc::clone(&self.tokens), ctx.shutdown());
        let keys = Task::restarting("keys", move || Arc::clone(&feed).keep_keys_fresh(pause, stop.clone()));

        let pause = Duration::from_millis(settings.touch_interval_ms);
        let (uses, stop) = (Arc::clone(&self.uses), ctx.shutdown());
        let uses = Task::restarting("uses", move || Arc::clone(&uses).keep_telling(pause, stop.clone()));
        vec![revocations, standings, policies, keys, uses]
    }
}
