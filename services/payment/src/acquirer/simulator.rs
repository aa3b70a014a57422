//! An acquirer in a box: public test cards, durable books of its own, every answer idempotent by key.

use async_trait::async_trait;
use mallard_types::{Error, Micros, Result};
use tracing::warn;

use super::books::{Books, Line, State, Written, provider_ref};
use super::{Book, Charge, Charged, Found, Movement, Provider, Repaid, Repayment, Withdrawn};
use crate::domain::card::TestBehaviour;

/// Plays the acquirer.
pub struct Simulator {
    books: Books,
}

impl Simulator {
    /// Plays on these books.
    pub fn new(books: Books) -> Simulator {
        Simulator { books }
    }
}

#[async_trait]
impl Provider for Simulator {
    async fn authorise_capture(&self, charge: &Charge) -> Charged {
        let behaviour = charge.card.test_behaviour();
        let (state, code) = match behaviour {
            TestBehaviour::Declines(code) => (State::Declined, code),
            TestBehaviour::Succeeds | TestBehaviour::TimesOutAfterCapture => (State::Captured, ""),
        };
        let line = Line {
            key: charge.key.clone(),
            state,
            code: code.to_owned(),
            amount: Some(charge.amount),
            card: Some(charge.card.face()),
            at: charge.at,
        };
        let kept = match self.books.write(line).await {
            Ok(kept) => kept,
            Err(e) => return silent(&e, Charged::Unknown),
        };
        match kept.state {
            State::Withdrawn => Charged::Withdrawn,
            State::Declined => Charged::Declined { code: kept.code },
            State::Captured if kept.amount != Some(charge.amount) => {
                Charged::Declined { code: "key_reused".to_owned() }
            }
            State::Captured if behaviour == TestBehaviour::TimesOutAfterCapture => Charged::Unknown,
            State::Captured => Charged::Captured { provider_ref: provider_ref(&charge.key) },
        }
    }

    async fn query(&self, key: &str) -> Found {
        match self.books.find(key).await {
            Ok(None) => Found::Missing,
            Ok(Some(line)) => match line.state {
                State::Captured => Found::Captured { provider_ref: provider_ref(key) },
                State::Declined => Found::Declined { code: line.code },
                State::Withdrawn => Found::Withdrawn,
            },
            Err(e) => silent(&e, Found::Unknown),
        }
    }

    async fn withdraw(&self, key: &str, at: Micros) -> Withdrawn {
        let line =
            Line { key: key.to_owned(), state: State::Withdrawn, code: String::new(), amount: None, card: None, at };
        match self.books.write(line).await {
            Ok(kept) if kept.state == State::Captured => Withdrawn::Captured { provider_ref: provider_ref(key) },
            Ok(_) => Withdrawn::Done,
            Err(e) => silent(&e, Withdrawn::Unknown),
        }
    }

    async fn refund(&self, repayment: &Repayment) -> Repaid {
        match self.books.give_back(repayment).await {
            Ok(Written::Done) => Repaid::Done,
            Ok(Written::TooMuch) => Repaid::Refused { code: "exceeds_captured".to_owned() },
            Err(e) => silent(&e, Repaid::Unknown),
        }
    }

    async fn list(&self, book: Book, after_key: &str, limit: usize) -> Result<Vec<Movement>> {
        self.books.list(book, after_key, limit).await
    }
}

/// Stays silent towards the caller, as a provider in trouble does.
fn silent<T>(error: &Error, answer: T) -> T {
    warn!(%error, "the acquirer simulator cannot reach its books");
    answer
}
