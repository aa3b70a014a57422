//! Use cases, one function each: load, decide, write in one guarded unit. A row that changed meanwhile is read again.
//!
//! | file | use cases |
//! |---|---|
//! | `start.rs` | start a payment |
//! | `settle.rs` | ask the provider, record its answer |
//! | `close.rs` | close an order's payments, cancel a payment |
//! | `refund.rs` | give money back |
//! | `read.rs` | look at payments, refunds and the ledger |
//! | `planted.rs` | bugs that tests switch on to prove that the checks notice |

mod close;
mod planted;
mod read;
mod refund;
mod settle;
mod start;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use mallard_bus::Envelope;
use mallard_db::Db;
use mallard_proto::events::{self, Event};
use mallard_rpc::Caller;
use mallard_runtime::Context;
use mallard_types::{Micros, Result};

use crate::acquirer::Provider;
use crate::config::Config;
use crate::domain::{Card, CardFace, CardInput, Payment};
use crate::error;
use crate::flights::Flights;
use crate::store::Store;
use crate::vault::Vault;

pub use close::Closed;
pub use read::{Page, Resolved};
pub use start::Start;

/// How often a use case reads again because a row had changed.
const WRITES_MAX: u32 = 20;
/// What is left of a caller's deadline to write down an unknown outcome and answer.
const ANSWER_MARGIN: Duration = Duration::from_millis(100);
/// How much longer than a provider call the background waits before it takes over: time for the answer to be written.
const TAKEOVER_MARGIN_MICROS: i64 = 1_000_000;

/// Moves money and keeps the books.
pub struct App {
    pub(crate) ctx: Context,
    pub(crate) config: Config,
    pub(crate) store: Store,
    pub(crate) provider: Arc<dyn Provider>,
    vault: Vault,
    flights: Flights,
}

impl App {
    /// Makes the application over its database and a provider.
    ///
    /// # Errors
    /// A setting that cannot work.
    pub fn new(ctx: Context, config: Config, db: Db, provider: Arc<dyn Provider>) -> anyhow::Result<App> {
        config.check()?;
        let vault = Vault::new(config.token_lifetime_s, config.tokens_max);
        let store = Store::new(db, ctx.outbox());
        Ok(App { ctx, config, store, provider, vault, flights: Flights::default() })
    }

    /// Checks a card and keeps it in memory; returns the token that stands for it and what may be shown of it.
    ///
    /// # Errors
    /// Those of [`Card::check`]; `payment_method_invalid` for another method; `too_many_cards`.
    pub fn tokenise(&self, method: &str, typed: &CardInput) -> Result<(String, CardFace)> {
        if method != "card" {
            return Err(error::payment_method_invalid());
        }
        let card = Card::check(typed, self.clock_now(), self.config.demo_cards)?;
        let face = card.face();
        let owner = mallard_rpc::with_current(|call| call.caller.require_user().map(str::to_owned).unwrap_or_default());
        let token = self.ctx.id("tok");
        self.vault.keep(token.clone(), card, owner, self.clock_now())?;
        Ok((token, face))
    }

    /// Forgets cards whose time is over.
    pub fn forget_old_cards(&self) {
        self.vault.purge(self.clock_now());
    }

    /// Checks the books of this service's events.
    pub(crate) async fn check_events(&self) -> Result<Vec<mallard_proto::common::v1::Check>> {
        self.ctx.check_events().await
    }

    /// The clock's time, which no caller can move; for deadlines and retries.
    fn clock_now(&self) -> Micros {
        self.ctx.clock().now()
    }

    /// When the background takes over a provider call that begins now, should this process die.
    fn takeover_at(&self) -> Micros {
        // At most a minute, see the configuration.
        self.clock_now() + self.provider_limit().as_micros() as i64 + TAKEOVER_MARGIN_MICROS
    }

    /// How long the settings and the caller's deadline let a call to the provider take.
    fn provider_limit(&self) -> Duration {
        let limit = Duration::from_millis(u64::from(self.config.provider_timeout_ms));
        let Some(deadline) = mallard_rpc::with_current(|call| call.deadline) else { return limit };
        limit.min(deadline.saturating_duration_since(tokio::time::Instant::now()).saturating_sub(ANSWER_MARGIN))
    }

    /// Waits for the provider, but not too long.
    async fn within_limits<T>(&self, unknown: T, call: impl Future<Output = T>) -> T {
        tokio::time::timeout(self.provider_limit(), call).await.unwrap_or(unknown)
    }

    /// Wraps a message for the others; events of one order arrive in order.
    fn event<M: Event>(&self, order_id: &str, message: &M) -> Envelope {
        Envelope::new(self.ctx.id("evt"), events::kind::<M>(), order_id, self.ctx.now(), message)
    }

    /// Finds a payment that is there because another row names it.
    async fn known(&self, id: &str) -> Result<Payment> {
        self.store.payment(id).await?.ok_or_else(error::payment_not_found)
    }
}

/// Returns who asks.
fn caller() -> Caller {
    mallard_rpc::with_current(|call| call.caller.clone())
}

/// Lets through the mall itself, an operator, and the user whose thing it is.
///
/// # Errors
/// `unauthenticated` for nobody; `payment_not_found` for everybody else, as if it did not exist.
fn check_owner(caller: &Caller, user_id: &str) -> Result<()> {
    if caller.is_system() || caller.is_admin() {
        return Ok(());
    }
    if caller.require_user()? == user_id { Ok(()) } else { Err(error::payment_not_found()) }
}

/// Lets through the mall itself and operators.
///
/// # Errors
/// `forbidden` for everybody else.
fn check_operator() -> Result<()> {
    let caller = caller();
    if caller.is_system() || caller.is_admin() { Ok(()) } else { Err(error::operators_only()) }
}
