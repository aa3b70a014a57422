//! Settings of this service, section `[identity]`.

use anyhow::ensure;
use mallard_types::Micros;
use serde::Deserialize;

use crate::domain::AttemptLimits;

const MICROS_PER_SECOND: Micros = 1_000_000;
/// Longest delay allowed for the report that a session was used.
const IDLE_GRACE_MAX: Micros = 30 * MICROS_PER_SECOND;

/// What can be set, with defaults for production.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// How long an access token is good, in seconds.
    pub access_token_ttl_s: u32,
    /// How long a session lives after its last renewal, in seconds.
    pub refresh_token_ttl_s: u32,
    /// Memory of one password hash (argon2id), in KiB.
    pub argon2_memory_kib: u32,
    /// Passes of one password hash.
    pub argon2_iterations: u32,
    /// Hashes passwords on the calling task. For simulation on one thread only: a burst of logins would stop everything else.
    pub hash_inline: bool,
    /// Password hashes at once; 0 means one per core.
    pub hash_parallel_max: usize,
    /// Logins and registrations that may wait for a core; more are refused with `busy`.
    pub hash_waiting_max: usize,
    /// Sessions, that is devices at once, of one user; the oldest ends when there are more.
    pub sessions_per_user_max: u32,
    /// How long a session may go unused before it ends, in seconds; 0 lets it idle until it expires.
    pub session_idle_s: u32,
    /// How long after the password was given dangerous actions are allowed, in seconds.
    pub trust_s: u32,
    /// Wrong passwords for one account from one network, and in one session, within a window; 0 is no limit.
    pub login_failures_max: u32,
    /// Wrong passwords for one account from anywhere within a window, but for the networks it has signed in from lately; 0
    /// is no limit.
    pub login_account_failures_max: u32,
    /// Wrong passwords from one network within a window, generous because offices share one; 0 is no limit.
    pub login_address_failures_max: u32,
    /// Window in which wrong passwords are counted, in seconds.
    pub login_window_s: u32,
    /// Age at which the signing key is replaced, in days; 0 is never.
    pub signing_key_days: u32,
    /// How often what is over is removed and the age of the signing key is looked at, in seconds.
    pub sweep_interval_s: u32,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            access_token_ttl_s: 15 * 60,
            refresh_token_ttl_s: 30 * 24 * 3600,
            argon2_memory_kib: 19 * 1024,
            argon2_iterations: 2,
            hash_inline: false,
            hash_parallel_max: 0,
            hash_waiting_max: 256,
            sessions_per_user_max: 1_000,
            session_idle_s: 0,
            trust_s: 300,
            login_failures_max: 50,
            login_account_failures_max: 100,
            login_address_failures_max: 1_000,
            login_window_s: 15 * 60,
            signing_key_days: 90,
            sweep_interval_s: 3_600,
        }
    }
}

impl Config {
    /// Checks values that have no meaning.
    ///
    /// # Errors
    /// Names the key.
    pub fn check(self) -> anyhow::Result<Config> {
        ensure!(self.access_token_ttl_s > 0, "identity.access_token_ttl_s must be at least 1");
        ensure!(self.refresh_token_ttl_s > 0, "identity.refresh_token_ttl_s must be at least 1");
        ensure!((1..=1_000).contains(&self.sessions_per_user_max), "identity.sessions_per_user_max must be 1 to 1000");
        ensure!(self.trust_s > 0, "identity.trust_s must be at least 1");
        ensure!(self.login_window_s > 0, "identity.login_window_s must be at least 1");
        ensure!(self.sweep_interval_s > 0, "identity.sweep_interval_s must be at least 1");
        Ok(self)
    }

    /// Returns how long an access token is good.
    pub fn access_ttl(&self) -> Micros {
        Micros::from(self.access_token_ttl_s) * MICROS_PER_SECOND
    }

    /// Returns how long a session may go unused; none when for ever. Gateways report uses from time to time, so a session
    /// is given a quarter more, at most half a minute.
    pub fn idle(&self) -> Option<Micros> {
        let idle = Micros::from(self.session_idle_s) * MICROS_PER_SECOND;
        (idle > 0).then(|| idle + (idle / 4).min(IDLE_GRACE_MAX))
    }

    /// Returns the window in which wrong passwords are counted.
    pub fn login_window(&self) -> Micros {
        Micros::from(self.login_window_s) * MICROS_PER_SECOND
    }

    /// Returns how many wrong passwords are too many.
    pub fn login_limits(&self) -> AttemptLimits {
        AttemptLimits {
            account_and_address_max: self.login_failures_max,
            account_max: self.login_account_failures_max,
            address_max: self.login_address_failures_max,
        }
    }

    /// Returns how long after the password was given dangerous actions are allowed.
    pub fn trust(&self) -> Micros {
        Micros::from(self.trust_s) * MICROS_PER_SECOND
    }

    /// Returns the age at which the signing key is replaced; none when never.
    pub fn signing_key_age(&self) -> Option<Micros> {
        (self.signing_key_days > 0).then(|| Micros::from(self.signing_key_days) * 24 * 3_600 * MICROS_PER_SECOND)
    }

    /// Returns how often to sweep, in seconds: often enough that an idle session ends within a tenth of its limit.
    pub fn sweep_interval_s(&self) -> u32 {
        match self.session_idle_s {
            0 => self.sweep_interval_s,
            idle => self.sweep_interval_s.min((idle / 10).max(1)),
        }
    }

    /// Returns how long a session lives after its last renewal.
    pub fn session_ttl(&self) -> Micros {
        Micros::from(self.refresh_token_ttl_s) * MICROS_PER_SECOND
    }
}
