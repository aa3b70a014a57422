//! Settings of this service, section `[identity]`.

use anyhow::ensure;
use mallard_types::Micros;
use serde::Deserialize;

const MICROS_PER_SECOND: Micros = 1_000_000;

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
    /// Sessions of one user; the oldest ends when there are more.
    pub sessions_per_user_max: u32,
    /// How often ended sessions are removed, in seconds.
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
        ensure!(self.sweep_interval_s > 0, "identity.sweep_interval_s must be at least 1");
        Ok(self)
    }

    /// Returns how long an access token is good.
    pub fn access_ttl(&self) -> Micros {
        Micros::from(self.access_token_ttl_s) * MICROS_PER_SECOND
    }

    /// Returns how long a session lives after its last renewal.
    pub fn session_ttl(&self) -> Micros {
        Micros::from(self.refresh_token_ttl_s) * MICROS_PER_SECOND
    }
}
