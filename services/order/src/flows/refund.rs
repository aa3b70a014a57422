//! Gives money back, writes it into the order's stream, puts units back into stock.

use std::sync::Arc;

use async_trait::async_trait;
use mallard_db::Tx;
use mallard_flow::{At, Flow, Next};
use mallard_proto::payment::v1 as pay;
use mallard_rpc::Call;
use mallard_types::{Currency, Error, Kind, Micros, Money, Result};
use prost::Message;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::domain::Units;
use crate::peers::RefundAnswer;

/// What is to be given back.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefundState {
    pub order_id: String,
    pub amount: i64,
    pub currency: String,
    pub reason: String,
    pub units: Vec<(String, i64)>,
    pub reference: String,
    pub customer: String,
    pub country: String,
    /// Encoded `RefundLine` messages.
    pub lines: Vec<Vec<u8>>,
    /// The money is back and noted; the units are next.
    pub paid_back: bool,
    /// Past time at which a system caller (replay) asked for it.
    #[serde(default)]
    pub backdated_at: Option<Micros>,
}

/// The flow; its key is the refund's id.
pub struct Refund {
    app: Arc<App>,
}

impl Refund {
    /// Makes the flow of a service.
    pub fn new(app: Arc<App>) -> Refund {
        Refund { app }
    }

    /// Gives the money back and notes it; false when the payment refused for good, which is noted too.
    async fn pay_back(&self, at: &At, state: &RefundState) -> Result<bool> {
        let amount = Money::new(state.amount, Currency::parse(&state.currency)?);
        let lines = state
            .lines
            .iter()
            .map(|bytes| pay::RefundLine::decode(bytes.as_slice()))
            .collect::<Result<_, _>>()
            .map_err(|e| Error::internal("corrupt_refund", "a refund's state cannot be read").source(e))?;
        let request = pay::RefundOrderRequest {
            order_id: state.order_id.clone(),
            refund_id: at.key.clone(),
            amount: Some(amount.into()),
            reason: state.reason.clone(),
            reference: state.reference.clone(),
            customer: state.customer.clone(),
            country: state.country.clone(),
            lines,
        };
        // Nothing was paid for a free order, so nothing moves.
        let answer = if amount.amount == 0 { Ok(RefundAnswer::Done) } else { self.app.peers.refund(request).await };
        match answer {
            Ok(RefundAnswer::Done) => {}
            Ok(RefundAnswer::Unknown) => {
                return Err(Error::unavailable("refund_unknown", "the provider has not settled the refund yet"));
            }
            Ok(RefundAnswer::Failed) => return self.refused(at, state, "the provider refused it").await,
            Err(error) if error.kind == Kind::Refused => return self.refused(at, state, &error.message).await,
            Err(error) => return Err(error),
        }
        let (app, order_id, refund_id, now) =
            (self.app.clone(), state.order_id.clone(), at.key.clone(), self.app.context.now());
        self.app
            .db
            .tx("order.refunded", move |tx: Tx| {
                let (app, order_id, refund_id) = (app.clone(), order_id.clone(), refund_id.clone());
                async move { app.record_refund(&tx, &order_id, &refund_id, amount, now).await }
            })
            .await?;
        Ok(true)
    }

    async fn refused(&self, at: &At, state: &RefundState, reason: &str) -> Result<bool> {
        let shared =
            Arc::new((self.app.clone(), at.key.clone(), state.clone(), reason.to_owned(), self.app.context.now()));
        self.app
            .db
            .tx("order.refund_refused", move |tx: Tx| {
                let shared = shared.clone();
                async move {
                    let (app, refund_id, state, reason, now) = &*shared;
                    app.record_refusal(&tx, refund_id, state, reason, *now).await
                }
            })
            .await?;
        Ok(false)
    }
}

#[async_trait]
impl Flow for Refund {
    const NAME: &'static str = "order.refund";
    type State = RefundState;

    async fn step(&self, at: &At, state: RefundState) -> Result<Next<RefundState>> {
        // Whoever drives it, and however late: it happened when it was asked for.
        let call = Call { at: state.backdated_at, ..mallard_rpc::current() };
        mallard_rpc::scope(call, self.go_on(at, state)).await
    }
}

impl Refund {
    async fn go_on(&self, at: &At, state: RefundState) -> Result<Next<RefundState>> {
        if !state.paid_back {
            if !self.pay_back(at, &state).await? {
                return Ok(Next::Done);
            }
            return Ok(if state.units.is_empty() {
                Next::Done
            } else {
                Next::Go(RefundState { paid_back: true, ..state })
            });
        }
        // Units that were never sold cannot come back: sell the held ones first, as the checkout was about to.
        if !self.app.peers.confirm(&state.order_id).await? {
            return Ok(Next::Done);
        }
        let units: Vec<Units> = state.units.into_iter().map(|(sku_id, quantity)| Units { sku_id, quantity }).collect();
        self.app.peers.return_units(&state.order_id, &at.key, &units, &state.reason).await?;
        Ok(Next::Done)
    }
}
