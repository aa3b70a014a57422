//! From a placed order to a paid or a cancelled one.
//!
//! ```text
//! AwaitPayment --paid--> Fulfil ----> done
//!       |                   `--hold gone--> money back, done; stuck when something was shipped all the same
//!       `--deadline, cancel, decline--> Cancelling --> done
//! ```
//! The order's own row decides every race: `paid` and `cancelled` are guarded writes of the same version.

use std::sync::Arc;

use async_trait::async_trait;
use mallard_db::Tx;
use mallard_flow::{At, Flow, Next};
use mallard_rpc::Call;
use mallard_types::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::app::{App, Nothing, refused};
use crate::domain::{Order, Status};
use crate::peers::Outcome;
use crate::store;

/// How long to wait before asking again about a payment whose result is unknown, in microseconds.
const ASK_AGAIN_MICROS: i64 = 1_000_000;

/// Where a checkout stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckoutState {
    /// Waits for money or for the deadline.
    AwaitPayment,
    /// The order is paid: sell the held stock, clear the cart.
    Fulfil,
    /// The order is cancelled: give money and stock back.
    Cancelling,
}

/// The flow; its key is the order's id.
pub struct Checkout {
    app: Arc<App>,
}

impl Checkout {
    /// Makes the flow of a service.
    pub fn new(app: Arc<App>) -> Checkout {
        Checkout { app }
    }

    async fn await_payment(&self, at: &At) -> Result<Next<CheckoutState>> {
        let order = self.app.reload(&at.key).await?;
        match order.status {
            Status::PendingPayment => {}
            Status::Cancelled => return Ok(Next::Go(CheckoutState::Cancelling)),
            _ => return Ok(Next::Go(CheckoutState::Fulfil)),
        }
        let payment = self.app.peers.resolve(&order.id).await?;
        if let Some(payment) = &payment
            && payment.outcome == Outcome::Captured
        {
            let (id, amount) = (payment.id.clone(), payment.amount);
            return self
                .move_order(&order, CheckoutState::Fulfil, move |order| order.pay(&id, amount).map_err(refused))
                .await;
        }
        if at.now >= order.expires_at {
            return self
                .move_order(&order, CheckoutState::Cancelling, |order| order.cancel("payment_timeout").map_err(refused))
                .await;
        }
        let unknown = payment.is_some_and(|payment| payment.outcome == Outcome::Unknown);
        let wake_at = if unknown { order.expires_at.min(at.now + ASK_AGAIN_MICROS) } else { order.expires_at };
        Ok(Next::Sleep(CheckoutState::AwaitPayment, wake_at))
    }

    /// Takes a decision about the order; when something else was first, looks again.
    async fn move_order<D>(&self, order: &Order, next: CheckoutState, decide: D) -> Result<Next<CheckoutState>>
    where
        D: Fn(&Order) -> Result<crate::domain::EventKind> + Send + Sync + 'static,
    {
        match self.app.decide("order.checkout", &order.id, decide, Nothing).await {
            Ok(_) => Ok(Next::Go(next)),
            Err(error) if error.kind == Kind::Conflict => Ok(Next::Go(CheckoutState::AwaitPayment)),
            Err(error) => Err(error),
        }
    }

    async fn fulfil(&self, at: &At) -> Result<Next<CheckoutState>> {
        let order = self.app.reload(&at.key).await?;
        // An order of the past sold its stock in the past, whoever goes on with it.
        let at =
            if order.reference.is_empty() { mallard_rpc::with_current(|call| call.at) } else { Some(order.created_at) };
        let call = Call { at, ..mallard_rpc::current() };
        if mallard_rpc::scope(call, self.app.peers.confirm(&order.id)).await? {
            self.app.peers.remove_ordered(&order.user_id, &order.id, &order.units()).await?;
            return Ok(Next::Done);
        }
        // The hold ended before the money came: it goes back, a paid order never rests without its stock.
        if !self.ask_refund(&order).await? {
            // Money and goods would both be gone. Whoever runs the mall decides: stock that is found, or a refund.
            return Ok(Next::Stuck(CheckoutState::Fulfil, "shipped without stock".to_owned()));
        }
        if self.app.peers.close_payments(&order.id, "stock_gone").await? {
            Ok(Next::Done)
        } else {
            Err(Error::unavailable("payment_unknown", "the provider has not settled the payment yet"))
        }
    }

    /// Asks for everything back, after which nothing can be shipped any more; false when something was shipped already.
    async fn ask_refund(&self, order: &Order) -> Result<bool> {
        let (app, order, at) = (self.app.clone(), order.clone(), self.app.context.now());
        let id = order.id.clone();
        self.app
            .db
            .tx("order.stock_gone", move |tx: Tx| {
                let (app, order) = (app.clone(), order.clone());
                async move {
                    let now = store::load(&tx, &order.id).await?;
                    if now.lines.iter().any(|line| line.shipped > 0) {
                        return Ok::<_, Error>(false);
                    }
                    if now.status != Status::Paid {
                        return Ok(true);
                    }
                    let kind = now.request_refund(&format!("stock_gone:{}", order.id), None, Some(&[]), "stock_gone").map_err(refused)?;
                    app.append(&tx, &now, kind, at, "system").await?;
                    Ok(true)
                }
            })
            .await
            .inspect_err(|error| tracing::warn!(order_id = id, %error, "a refund for an order without stock could not be asked for"))
    }

    async fn cancelling(&self, at: &At) -> Result<Next<CheckoutState>> {
        if !self.app.peers.close_payments(&at.key, "order_cancelled").await? {
            return Err(Error::unavailable("payment_unknown", "the provider has not settled the payment yet"));
        }
        self.app.peers.release(&at.key).await?;
        Ok(Next::Done)
    }
}

#[async_trait]
impl Flow for Checkout {
    const NAME: &'static str = "order.checkout";
    type State = CheckoutState;

    async fn step(&self, at: &At, state: CheckoutState) -> Result<Next<CheckoutState>> {
        match state {
            CheckoutState::AwaitPayment => self.await_payment(at).await,
            CheckoutState::Fulfil => self.fulfil(at).await,
            CheckoutState::Cancelling => self.cancelling(at).await,
        }
    }
}
