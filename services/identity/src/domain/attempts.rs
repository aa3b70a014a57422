//! How often a password may be tried: for an account from one address, for an account from anywhere, and from an address.
//! Failures are counted under hashes, so that nobody reads an e-mail address or who signed in from where.

use mallard_types::Micros;
use sha2::{Digest as _, Sha256};

/// Under what failures are counted: a SHA-256.
pub type AttemptKey = [u8; 32];

/// How many failures within a window are too many; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Of one account from one address.
    pub account_and_address_max: u32,
    /// Of one account from anywhere.
    pub account_max: u32,
    /// From one address.
    pub address_max: u32,
}

/// One of the counters an attempt is measured by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub key: AttemptKey,
    /// Failures that are too many.
    pub failures_max: u32,
}

/// What one try to sign in is measured by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// In order of key, so that two attempts lock rows in the same order.
    counters: Vec<Counter>,
    /// Counts this account from this address; a success clears it.
    own: AttemptKey,
}

impl Attempt {
    /// Names the counters of an account, known or not, and an address, perhaps unknown.
    pub fn new(account: &str, address: &str, limits: AttemptLimits) -> Attempt {
        let account = account.trim().to_lowercase();
        let own = key("account and address", &[&account, address]);
        let mut counters = Vec::new();
        let mut add = |key, failures_max| {
            if failures_max > 0 {
                counters.push(Counter { key, failures_max });
            }
        };
        add(own, limits.account_and_address_max);
        add(key("account", &[&account]), limits.account_max);
        if !address.is_empty() {
            add(key("address", &[address]), limits.address_max);
        }
        counters.sort_by_key(|counter| counter.key);
        Attempt { counters, own }
    }

    /// Returns the counters.
    pub fn counters(&self) -> &[Counter] {
        &self.counters
    }

    /// Returns the counter that a success clears.
    pub fn own(&self) -> &AttemptKey {
        &self.own
    }

    /// Decides whether one more try is allowed, given what has been counted as key, failures and end of the window. Returns
    /// how long to wait when it is not.
    pub fn wait(&self, counted: &[(AttemptKey, i64, Micros)], now: Micros) -> Option<Micros> {
        self.longest(counted, now, 0)
    }

    /// Decides whether a failure that has just been counted was one too many. Returns how long to wait when it was.
    pub fn wait_after_failure(&self, counted: &[(AttemptKey, i64, Micros)], now: Micros) -> Option<Micros> {
        self.longest(counted, now, 1)
    }

    fn longest(&self, counted: &[(AttemptKey, i64, Micros)], now: Micros, own_failure: i64) -> Option<Micros> {
        let over = |counter: &&Counter| -> Option<Micros> {
            let (_, failures, ends_at) = counted.iter().find(|(key, ..)| *key == counter.key)?;
            let over = failures - own_failure >= i64::from(counter.failures_max) && now < *ends_at;
            over.then(|| ends_at - now)
        };
        self.counters.iter().filter_map(|counter| over(&counter)).max()
    }
}

fn key(kind: &str, parts: &[&str]) -> AttemptKey {
    let mut hash = Sha256::new();
    hash.update(kind);
    for part in parts {
        hash.update([0]);
        hash.update(part);
    }
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: AttemptLimits = AttemptLimits { account_and_address_max: 2, account_max: 5, address_max: 9 };

    #[test]
    fn the_account_is_the_same_in_any_letter_case_and_the_counters_differ() {
        let attempt = Attempt::new(" Mei@Example.com", "10.0.0.1", LIMITS);
        assert_eq!(attempt, Attempt::new("mei@example.com", "10.0.0.1", LIMITS));
        let keys: std::collections::BTreeSet<_> = attempt.counters().iter().map(|counter| counter.key).collect();
        assert_eq!(keys.len(), 3);
        assert!(attempt.counters().is_sorted_by_key(|counter| counter.key));
        assert_eq!(
            Attempt::new("mei@example.com", "", LIMITS).counters().len(),
            2,
            "nobody is throttled for no address"
        );
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let off = AttemptLimits { account_and_address_max: 0, account_max: 0, address_max: 0 };
        assert!(Attempt::new("mei@example.com", "10.0.0.1", off).counters().is_empty());
    }

    #[test]
    fn too_many_failures_wait_for_the_end_of_their_window() {
        let attempt = Attempt::new("mei@example.com", "10.0.0.1", LIMITS);
        let own = *attempt.own();
        assert_eq!(attempt.wait(&[], 100), None);
        assert_eq!(attempt.wait(&[(own, 1, 500)], 100), None);
        assert_eq!(attempt.wait(&[(own, 2, 500)], 100), Some(400));
        assert_eq!(attempt.wait(&[(own, 2, 500)], 500), None, "the window is over");
        assert_eq!(attempt.wait_after_failure(&[(own, 2, 500)], 100), None, "the second failure is still answered");
        assert_eq!(attempt.wait_after_failure(&[(own, 3, 500)], 100), Some(400));
    }

    #[test]
    fn the_longest_wait_counts() {
        let attempt = Attempt::new("mei@example.com", "10.0.0.1", LIMITS);
        let counted: Vec<_> = attempt.counters().iter().zip([200, 900, 300]).map(|(c, end)| (c.key, 50, end)).collect();
        assert_eq!(attempt.wait(&counted, 100), Some(800));
    }
}
