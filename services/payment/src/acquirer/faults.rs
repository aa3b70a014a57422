//! The seam where a simulation makes the provider lose, repeat and delay answers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mallard_runtime::Chance;
use mallard_types::{Micros, Result};
use serde::Deserialize;

use super::{Book, Charge, Charged, Found, Movement, Provider, Repaid, Repayment, Withdrawn};

/// A call to the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Collecting money.
    Charge,
    /// Asking about a key.
    Query,
    /// Withdrawing a key.
    Withdraw,
    /// Giving money back.
    Refund,
}

/// What happens to one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    #[default]
    None,
    /// The provider never sees the call; the caller gets no answer.
    UnknownBefore,
    /// The provider does it; the answer is lost.
    UnknownAfter,
    /// The provider sees the call twice; the caller gets the second answer.
    Duplicate,
    /// The call and its answer take their time.
    Slow {
        /// On the way there.
        before: Duration,
        /// On the way back.
        after: Duration,
    },
}

/// Decides what happens to each call; asked once per call.
pub trait Faults: Send + Sync {
    /// Returns what happens to this call with this key.
    fn decide(&self, operation: Operation, key: &str) -> Fault;
}

/// A provider with faults in front of it.
pub struct Faulty<P> {
    inner: P,
    faults: Arc<dyn Faults>,
}

impl<P: Provider> Faulty<P> {
    /// Puts faults in front of a provider.
    pub fn new(inner: P, faults: Arc<dyn Faults>) -> Faulty<P> {
        Faulty { inner, faults }
    }

    async fn meet<T, F, Fut>(&self, operation: Operation, key: &str, unknown: T, call: F) -> T
    where
        F: Fn() -> Fut,
        Fut: Future<Output = T>,
    {
        match self.faults.decide(operation, key) {
            Fault::None => call().await,
            Fault::UnknownBefore => unknown,
            Fault::UnknownAfter => {
                call().await;
                unknown
            }
            Fault::Duplicate => {
                call().await;
                call().await
            }
            Fault::Slow { before, after } => {
                tokio::time::sleep(before).await;
                let answer = call().await;
                tokio::time::sleep(after).await;
                answer
            }
        }
    }
}

#[async_trait]
impl<P: Provider> Provider for Faulty<P> {
    async fn authorise_capture(&self, charge: &Charge) -> Charged {
        self.meet(Operation::Charge, &charge.key, Charged::Unknown, || self.inner.authorise_capture(charge)).await
    }

    async fn query(&self, key: &str) -> Found {
        self.meet(Operation::Query, key, Found::Unknown, || self.inner.query(key)).await
    }

    async fn withdraw(&self, key: &str, at: Micros) -> Withdrawn {
        self.meet(Operation::Withdraw, key, Withdrawn::Unknown, || self.inner.withdraw(key, at)).await
    }

    async fn refund(&self, repayment: &Repayment) -> Repaid {
        self.meet(Operation::Refund, &repayment.key, Repaid::Unknown, || self.inner.refund(repayment)).await
    }

    async fn list(&self, book: Book, after_key: &str, limit: usize) -> Result<Vec<Movement>> {
        self.inner.list(book, after_key, limit).await
    }
}

/// How often each fault meets a kind of call, in percent; the rest passes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rates {
    /// The provider never sees the call.
    pub unknown_before_percent: u8,
    /// The answer is lost.
    pub unknown_after_percent: u8,
    /// The provider sees the call twice.
    pub duplicate_percent: u8,
    /// The call and its answer take their time.
    pub slow_percent: u8,
    /// Most that a slow call takes each way, in milliseconds.
    pub slow_ms: u32,
}

impl Rates {
    fn sum(&self) -> u32 {
        [self.unknown_before_percent, self.unknown_after_percent, self.duplicate_percent, self.slow_percent]
            .map(u32::from)
            .iter()
            .sum()
    }
}

/// Faults of the acquirer simulator, section `[payment.acquirer]`.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AcquirerFaults {
    /// Collecting money.
    pub charge: Rates,
    /// Asking about a key.
    pub query: Rates,
    /// Withdrawing a key.
    pub withdraw: Rates,
    /// Giving money back.
    pub refund: Rates,
}

impl AcquirerFaults {
    /// Refuses rates beyond 100 percent.
    ///
    /// # Errors
    /// Names the section.
    pub fn check(&self) -> anyhow::Result<()> {
        for (name, rates) in
            [("charge", self.charge), ("query", self.query), ("withdraw", self.withdraw), ("refund", self.refund)]
        {
            anyhow::ensure!(rates.sum() <= 100, "the percentages of payment.acquirer.{name} exceed 100");
        }
        Ok(())
    }

    /// Tells whether any fault is configured.
    pub fn any(&self) -> bool {
        [self.charge, self.query, self.withdraw, self.refund].iter().any(|rates| rates.sum() > 0)
    }
}

/// Draws faults at the configured rates from the mall's own chance, so that a seed repeats them.
pub struct RandomFaults {
    rates: AcquirerFaults,
    chance: Chance,
}

impl RandomFaults {
    /// Makes faults at these rates.
    pub fn new(rates: AcquirerFaults, chance: Chance) -> RandomFaults {
        RandomFaults { rates, chance }
    }
}

impl Faults for RandomFaults {
    fn decide(&self, operation: Operation, _key: &str) -> Fault {
        let rates = match operation {
            Operation::Charge => self.rates.charge,
            Operation::Query => self.rates.query,
            Operation::Withdraw => self.rates.withdraw,
            Operation::Refund => self.rates.refund,
        };
        let mut roll = (self.chance.number() % 100) as u32;
        let mut meets = |percent: u8| match roll.checked_sub(u32::from(percent)) {
            None => true,
            Some(rest) => {
                roll = rest;
                false
            }
        };
        if meets(rates.unknown_before_percent) {
            Fault::UnknownBefore
        } else if meets(rates.unknown_after_percent) {
            Fault::UnknownAfter
        } else if meets(rates.duplicate_percent) {
            Fault::Duplicate
        } else if meets(rates.slow_percent) {
            let delay = || Duration::from_micros(self.chance.number() % (u64::from(rates.slow_ms) * 1_000 + 1));
            Fault::Slow { before: delay(), after: delay() }
        } else {
            Fault::None
        }
    }
}
