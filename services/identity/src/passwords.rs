//! Slow salted password hashes (argon2id), on few cores at a time so that a burst of logins cannot starve the mall.

use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::{Context as _, anyhow};
use argon2::password_hash::PasswordHasher as _;
use argon2::{Algorithm, Argon2, Params, PasswordHash as PhcHash, PasswordVerifier as _, Version};
use mallard_types::{Error, Result};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::config::Config;
use crate::domain::{Password, PasswordHash};
use crate::error::Refusal;

/// Length of a salt, in bytes (RFC 9106 recommends 16).
pub const SALT_BYTES: usize = 16;

/// Hashes and verifies passwords. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    argon2: Argon2<'static>,
    /// What a login without an account is verified against, so that it takes as long as any other.
    decoy: PasswordHash,
    /// None: hash on the calling task.
    gate: Option<Gate>,
}

/// A place among the hashes that run or wait, and the way to a core.
pub struct Place(Option<(OwnedSemaphorePermit, Arc<Semaphore>)>);

#[derive(Clone)]
struct Gate {
    /// One permit per hash that runs.
    cores: Arc<Semaphore>,
    /// One permit per hash that runs or waits.
    places: Arc<Semaphore>,
}

impl Passwords {
    /// Prepares hashing as configured.
    ///
    /// # Errors
    /// Parameters that argon2 refuses.
    pub fn new(config: &Config, salt: [u8; SALT_BYTES]) -> anyhow::Result<Passwords> {
        let params = Params::new(config.argon2_memory_kib, config.argon2_iterations, 1, None)
            .map_err(|e| anyhow!("identity.argon2_memory_kib or identity.argon2_iterations: {e}"))?;
        let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
        let decoy = hash(&argon2, "", &salt).context("hash of the decoy password")?;
        let gate = (!config.hash_inline).then(|| {
            let parallel_max = match config.hash_parallel_max {
                0 => available_parallelism().map_or(1, usize::from),
                max => max,
            };
            Gate {
                cores: Arc::new(Semaphore::new(parallel_max)),
                places: Arc::new(Semaphore::new(
                    parallel_max.saturating_add(config.hash_waiting_max).min(Semaphore::MAX_PERMITS),
                )),
            }
        });
        Ok(Passwords { argon2, decoy, gate })
    }

    /// Takes a place for one hash; it is free again when that hash is done.
    ///
    /// # Errors
    /// `busy` when as many run and wait as may.
    pub fn place(&self) -> Result<Place> {
        let Some(gate) = &self.gate else { return Ok(Place(None)) };
        let place = gate.places.clone().try_acquire_owned().map_err(|_| Refusal::Busy)?;
        Ok(Place(Some((place, gate.cores.clone()))))
    }

    /// Returns the places that are free, and the semaphore of the cores.
    #[cfg(test)]
    pub fn room(&self) -> (usize, Arc<Semaphore>) {
        let gate = self.gate.as_ref().unwrap();
        (gate.places.available_permits(), gate.cores.clone())
    }

    /// Hashes a new password.
    ///
    /// # Errors
    /// `busy`.
    pub async fn hash(&self, password: Password, salt: [u8; SALT_BYTES]) -> Result<PasswordHash> {
        let argon2 = self.argon2.clone();
        run(self.place()?, move || hash(&argon2, &password.into_text(), &salt)).await?
    }

    /// Tells whether a password belongs to a hash. Without a hash the answer is no, after the same work.
    ///
    /// # Errors
    /// A stored hash that is none.
    pub async fn verify(&self, place: Place, password: String, hash: Option<PasswordHash>) -> Result<bool> {
        let argon2 = self.argon2.clone();
        let known = hash.is_some();
        let hash = hash.unwrap_or_else(|| self.decoy.clone());
        let matches = run(place, move || verify(&argon2, &password, &hash)).await??;
        Ok(known && matches)
    }
}

async fn run<T: Send + 'static>(place: Place, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
    let Some((place, cores)) = place.0 else { return Ok(work()) };
    let core = cores.acquire_owned().await.map_err(failed)?;
    // The permits move along: a caller that goes away must not let one more hash run beside the one it left behind.
    let work = move || {
        let _held = (place, core);
        work()
    };
    tokio::task::spawn_blocking(work).await.map_err(failed)
}

/// Work done on this thread, in KiB times passes; what a test can count where time would deceive it.
#[cfg(test)]
pub mod work {
    use std::cell::Cell;

    thread_local!(static DONE: Cell<u64> = const { Cell::new(0) });

    pub fn add(memory_kib: u32, passes: u32) {
        DONE.with(|done| done.set(done.get() + u64::from(memory_kib) * u64::from(passes)));
    }

    pub fn done() -> u64 {
        DONE.with(Cell::get)
    }
}

fn hash(argon2: &Argon2<'_>, password: &str, salt: &[u8]) -> Result<PasswordHash> {
    #[cfg(test)]
    work::add(argon2.params().m_cost(), argon2.params().t_cost());
    let hash = argon2.hash_password_with_salt(password.as_bytes(), salt).map_err(failed)?;
    Ok(PasswordHash(hash.to_string()))
}

/// Verifies with the parameters of the stored hash, which may be older than the present ones.
fn verify(argon2: &Argon2<'_>, password: &str, hash: &PasswordHash) -> Result<bool> {
    use argon2::password_hash::Error as Failure;
    let stored = PhcHash::new(&hash.0).map_err(failed)?;
    #[cfg(test)]
    {
        let params = Params::try_from(&stored).unwrap();
        work::add(params.m_cost(), params.t_cost());
    }
    match argon2.verify_password(password.as_bytes(), &stored) {
        Ok(()) => Ok(true),
        Err(Failure::PasswordInvalid) => Ok(false),
        Err(error) => Err(failed(error)),
    }
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::internal("password_hash", "something went wrong on our side").source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Email;

    fn cheap() -> Config {
        Config { argon2_memory_kib: 8, argon2_iterations: 1, ..Config::default() }
    }

    fn password(text: &str) -> Password {
        Password::parse(text.into(), &Email::parse("me@example.com").unwrap()).unwrap()
    }

    async fn verified(passwords: &Passwords, password: String, hash: Option<PasswordHash>) -> Result<bool> {
        passwords.verify(passwords.place()?, password, hash).await
    }

    #[tokio::test]
    async fn a_hash_is_argon2id_with_the_configured_cost_and_verifies_only_its_password() {
        for hash_inline in [false, true] {
            let passwords = Passwords::new(&Config { hash_inline, ..cheap() }, [1; SALT_BYTES]).unwrap();
            let hash = passwords.hash(password("correct horse"), [2; SALT_BYTES]).await.unwrap();
            assert!(hash.0.starts_with("$argon2id$v=19$m=8,t=1,p=1$"), "{}", hash.0);
            assert!(verified(&passwords, "correct horse".into(), Some(hash.clone())).await.unwrap());
            assert!(!verified(&passwords, "correct horsf".into(), Some(hash)).await.unwrap());
        }
    }

    #[tokio::test]
    async fn the_default_cost_is_what_owasp_asks() {
        let passwords = Passwords::new(&Config::default(), [1; SALT_BYTES]).unwrap();
        assert!(passwords.decoy.0.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", passwords.decoy.0);
    }

    #[tokio::test]
    async fn without_an_account_even_the_decoys_password_is_wrong() {
        let passwords = Passwords::new(&cheap(), [1; SALT_BYTES]).unwrap();
        assert!(!verified(&passwords, String::new(), None).await.unwrap());
    }

    #[tokio::test]
    async fn a_hash_made_at_another_cost_still_verifies() {
        let old = Passwords::new(&cheap(), [1; SALT_BYTES]).unwrap();
        let hash = old.hash(password("correct horse"), [2; SALT_BYTES]).await.unwrap();
        let new = Passwords::new(&Config { argon2_memory_kib: 16, ..cheap() }, [1; SALT_BYTES]).unwrap();
        assert!(verified(&new, "correct horse".into(), Some(hash)).await.unwrap());
    }

    #[tokio::test]
    async fn a_full_queue_is_refused_at_once() {
        let config = Config { hash_parallel_max: 1, hash_waiting_max: 0, ..cheap() };
        let passwords = Passwords::new(&config, [1; SALT_BYTES]).unwrap();
        let place = passwords.gate.as_ref().unwrap().places.clone().try_acquire_owned().unwrap();
        let refused = verified(&passwords, "x".into(), None).await.unwrap_err();
        assert_eq!((refused.code.as_ref(), refused.retry_after_ms), ("busy", Some(1_000)));
        drop(place);
        assert!(!verified(&passwords, "x".into(), None).await.unwrap());
    }
}
