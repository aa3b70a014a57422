//! How often a password may be tried: at the login for an account from one network, for an account from anywhere, and from a
//! network; by who is signed in already, for the session. Failures are counted under hashes, so that nobody reads an e-mail
//! address or who signed in from where.

use std::net::{IpAddr, Ipv6Addr};

use mallard_types::Micros;
use sha2::{Digest as _, Sha256};

/// Under what failures are counted: a SHA-256.
pub type AttemptKey = [u8; 32];

/// How many failures within a window are too many; 0 means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptLimits {
    /// Of one account from one network, and in one session.
    pub account_and_address_max: u32,
    /// Of one account from anywhere.
    pub account_max: u32,
    /// From one network.
    pub address_max: u32,
}

/// One of the counters an attempt is measured by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// Its name.
    pub key: AttemptKey,
    /// Failures that are too many.
    pub failures_max: u32,
    /// Counts what anybody does anywhere, so it must not keep the account out of where it is at home.
    anywhere: bool,
}

/// What one try to prove being an account is measured by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// In order of key, so that two attempts lock rows in the same order.
    counters: Vec<Counter>,
    /// Counts this account from this network, or this session; a success clears it.
    own: AttemptKey,
    /// Where it comes from; empty when unknown.
    network: String,
}

impl Attempt {
    /// Names the counters of a login with an account, known or not, from an address, perhaps unknown.
    pub fn at_login(account: &str, address: &str, limits: AttemptLimits) -> Attempt {
        let account = account.trim().to_lowercase();
        let network = network(address);
        let own = key("account and address", &[&account, &network]);
        let mut counters = vec![
            Counter { key: own, failures_max: limits.account_and_address_max, anywhere: false },
            Counter { key: key("account", &[&account]), failures_max: limits.account_max, anywhere: true },
        ];
        if !network.is_empty() {
            let key = key("address", &[&network]);
            counters.push(Counter { key, failures_max: limits.address_max, anywhere: false });
        }
        counters.retain(|counter| counter.failures_max > 0);
        counters.sort_by_key(|counter| counter.key);
        Attempt { counters, own, network }
    }

    /// Names the counter of who is signed in already: nobody else's failures keep the owner of a session out.
    pub fn in_session(user_id: &str, session_id: &str, limits: AttemptLimits) -> Attempt {
        let own = key("session", &[user_id, session_id]);
        let mut counters = vec![Counter { key: own, failures_max: limits.account_and_address_max, anywhere: false }];
        counters.retain(|counter| counter.failures_max > 0);
        Attempt { counters, own, network: String::new() }
    }

    /// Returns the counters.
    pub fn counters(&self) -> &[Counter] {
        &self.counters
    }

    /// Returns the counter that a success clears.
    pub fn own(&self) -> &AttemptKey {
        &self.own
    }

    /// Returns where it comes from, as [`network`] writes it; empty when unknown.
    pub fn network(&self) -> &str {
        &self.network
    }

    /// Decides whether one more try is allowed, given what has been counted as key, failures and end of the window, this try
    /// among them or not.
    pub fn verdict(&self, counted: &[(AttemptKey, i64, Micros)], now: Micros, counts_itself: bool) -> Verdict {
        let wait = |counter: &Counter| -> Option<Micros> {
            let (_, failures, ends_at) = counted.iter().find(|(key, ..)| *key == counter.key)?;
            let over = failures - i64::from(counts_itself) >= i64::from(counter.failures_max) && now < *ends_at;
            over.then(|| ends_at - now)
        };
        let over = || self.counters.iter().filter_map(|counter| Some((counter, wait(counter)?)));
        match over().map(|(_, wait)| wait).max() {
            None => Verdict::Pass,
            Some(wait) if over().all(|(counter, _)| counter.anywhere) => Verdict::OnlyAtHome(wait),
            Some(wait) => Verdict::Wait(wait),
        }
    }
}

/// Whether a try is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is.
    Pass,
    /// Only from a network that the account has signed in from lately; anybody else waits so long.
    OnlyAtHome(Micros),
    /// Not for so long.
    Wait(Micros),
}

/// Returns the network that an address stands for: of IPv6 the first 64 bits, for who has one such address has them all.
/// What is no address stays as it is.
pub fn network(address: &str) -> String {
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{}/64", Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        Ok(address) => address.to_string(),
        Err(_) => address.to_owned(),
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

    fn mei() -> Attempt {
        Attempt::at_login("mei@example.com", "10.0.0.1", LIMITS)
    }

    #[test]
    fn the_account_is_the_same_in_any_letter_case_and_the_counters_differ() {
        let attempt = Attempt::at_login(" Mei@Example.com", "10.0.0.1", LIMITS);
        assert_eq!(attempt, mei());
        let keys: std::collections::BTreeSet<_> = attempt.counters().iter().map(|counter| counter.key).collect();
        assert_eq!(keys.len(), 3);
        assert!(attempt.counters().is_sorted_by_key(|counter| counter.key));
        let unknown = Attempt::at_login("mei@example.com", "", LIMITS);
        assert_eq!(unknown.counters().len(), 2, "nobody is throttled for no address");
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let off = AttemptLimits { account_and_address_max: 0, account_max: 0, address_max: 0 };
        assert!(Attempt::at_login("mei@example.com", "10.0.0.1", off).counters().is_empty());
        assert!(Attempt::in_session("usr_1", "sess_1", off).counters().is_empty());
    }

    #[test]
    fn too_many_failures_wait_for_the_end_of_their_window() {
        let attempt = mei();
        let own = *attempt.own();
        assert_eq!(attempt.verdict(&[], 100, false), Verdict::Pass);
        assert_eq!(attempt.verdict(&[(own, 1, 500)], 100, false), Verdict::Pass);
        assert_eq!(attempt.verdict(&[(own, 2, 500)], 100, false), Verdict::Wait(400));
        assert_eq!(attempt.verdict(&[(own, 2, 500)], 500, false), Verdict::Pass, "the window is over");
        assert_eq!(attempt.verdict(&[(own, 2, 500)], 100, true), Verdict::Pass, "the second failure is still answered");
        assert_eq!(attempt.verdict(&[(own, 3, 500)], 100, true), Verdict::Wait(400));
    }

    #[test]
    fn the_longest_wait_counts() {
        let attempt = mei();
        let counted: Vec<_> = attempt.counters().iter().zip([200, 900, 300]).map(|(c, end)| (c.key, 50, end)).collect();
        assert_eq!(attempt.verdict(&counted, 100, false), Verdict::Wait(800));
    }

    #[test]
    fn failures_anywhere_do_not_shut_the_home_and_those_from_there_do() {
        let attempt = mei();
        let anywhere = attempt.counters().iter().find(|counter| counter.anywhere).unwrap().key;
        let elsewhere = [(anywhere, 5, 500)];
        assert_eq!(attempt.verdict(&elsewhere, 100, false), Verdict::OnlyAtHome(400));
        let here = [(anywhere, 5, 500), (*attempt.own(), 2, 200)];
        assert_eq!(attempt.verdict(&here, 100, false), Verdict::Wait(400));
        assert_eq!(attempt.verdict(&here, 200, false), Verdict::OnlyAtHome(300));
    }

    #[test]
    fn whoever_is_signed_in_shares_no_counter_with_anybody() {
        let session = Attempt::in_session("usr_1", "sess_1", LIMITS);
        for other in
            [mei(), Attempt::in_session("usr_1", "sess_2", LIMITS), Attempt::in_session("usr_2", "sess_1", LIMITS)]
        {
            assert!(other.counters().iter().all(|counter| counter.key != *session.own()));
        }
        assert_eq!(session.verdict(&[(*session.own(), 2, 500)], 100, false), Verdict::Wait(400));
    }

    #[test]
    fn an_ipv6_address_counts_as_its_network() {
        for (address, expected) in [
            ("203.0.113.7", "203.0.113.7"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
            ("2001:DB8:0:1::", "2001:db8:0:1::/64"),
            ("2001:db8:0:2::", "2001:db8:0:2::/64"),
            ("::1", "::/64"),
            ("", ""),
            ("somewhere", "somewhere"),
        ] {
            assert_eq!(network(address), expected, "{address}");
        }
        let from = |address| Attempt::at_login("mei@example.com", address, LIMITS);
        assert_eq!(from("2001:db8::1"), from("2001:db8::ffff:1"));
        assert_ne!(from("2001:db8::1"), from("2001:db8:0:1::1"));
    }
}
