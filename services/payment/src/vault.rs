//! Cards between the edge and their payment: in memory, for minutes, bounded. Nothing here is ever written anywhere.

use std::collections::{BTreeSet, HashMap};

use mallard_types::{Micros, Result};
use parking_lot::Mutex;

use crate::domain::Card;
use crate::error;

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Keeps checked cards by token.
pub struct Vault {
    lifetime_micros: i64,
    cards_max: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    cards: HashMap<String, (Card, String, Micros)>,
    expiry: BTreeSet<(Micros, String)>,
}

impl Vault {
    /// Makes an empty vault.
    pub fn new(lifetime_s: u32, cards_max: usize) -> Vault {
        Vault { lifetime_micros: i64::from(lifetime_s) * MICROS_PER_SECOND, cards_max, kept: Mutex::default() }
    }

    /// Keeps a card under a token for its owner (empty: whoever has the token).
    ///
    /// # Errors
    /// `too_many_cards` when the vault is full of cards that are still good.
    pub fn keep(&self, token: String, card: Card, owner: String, clock_now: Micros) -> Result<()> {
        let mut kept = self.kept.lock();
        kept.purge(clock_now);
        if kept.cards.len() >= self.cards_max {
            return Err(error::too_many_cards());
        }
        let expires_at = clock_now + self.lifetime_micros;
        kept.expiry.insert((expires_at, token.clone()));
        kept.cards.insert(token, (card, owner, expires_at));
        Ok(())
    }

    /// Returns the card of a token while it is good and belongs to this user.
    pub fn find(&self, token: &str, user_id: &str, clock_now: Micros) -> Option<Card> {
        let kept = self.kept.lock();
        let (card, owner, expires_at) = kept.cards.get(token)?;
        (*expires_at > clock_now && (owner.is_empty() || owner == user_id)).then(|| card.clone())
    }

    /// Forgets a card that has done its work.
    pub fn forget(&self, token: &str) {
        let mut kept = self.kept.lock();
        if let Some((_, _, expires_at)) = kept.cards.remove(token) {
            kept.expiry.remove(&(expires_at, token.to_owned()));
        }
    }

    /// Forgets every card whose time is over.
    pub fn purge(&self, clock_now: Micros) {
        self.kept.lock().purge(clock_now);
    }
}

impl Kept {
    fn purge(&mut self, clock_now: Micros) {
        while let Some((expires_at, _)) = self.expiry.first() {
            if *expires_at > clock_now {
                return;
            }
            if let Some((_, token)) = self.expiry.pop_first() {
                self.cards.remove(&token);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::CardInput;

    fn card() -> Card {
        let typed = CardInput { number: "4242424242424242".into(), exp_month: 12, exp_year: 2040, cvc: "012".into() };
        Card::check(&typed, 1_795_219_200_000_000, true).unwrap()
    }

    #[test]
    fn a_card_is_found_by_its_owner_until_its_time_is_over() {
        let vault = Vault::new(600, 10);
        vault.keep("tok_1".into(), card(), "usr_1".into(), 0).unwrap();
        assert!(vault.find("tok_1", "usr_1", 599_999_999).is_some());
        assert!(vault.find("tok_1", "usr_2", 0).is_none());
        assert!(vault.find("tok_1", "usr_1", 600_000_000).is_none());
        assert!(vault.find("tok_2", "usr_1", 0).is_none());
    }

    #[test]
    fn a_card_that_did_its_work_is_forgotten() {
        let vault = Vault::new(600, 10);
        vault.keep("tok_1".into(), card(), String::new(), 0).unwrap();
        vault.forget("tok_1");
        vault.forget("tok_1");
        let kept = vault.kept.lock();
        assert!(kept.cards.is_empty() && kept.expiry.is_empty());
    }

    #[test]
    fn a_full_vault_refuses_until_cards_expire() {
        let vault = Vault::new(10, 2);
        vault.keep("tok_1".into(), card(), String::new(), 0).unwrap();
        vault.keep("tok_2".into(), card(), String::new(), 5_000_000).unwrap();
        assert_eq!(vault.keep("tok_3".into(), card(), String::new(), 9_000_000).unwrap_err().code, "too_many_cards");
        vault.keep("tok_3".into(), card(), String::new(), 10_000_000).unwrap();
        assert_eq!(vault.kept.lock().cards.len(), 2);
        vault.purge(i64::MAX);
        assert!(vault.kept.lock().cards.is_empty());
    }
}
