//! Returns: a shopper asks, an operator agrees or refuses. What is agreed to is carried out by the refund flow.

use std::sync::Arc;

use mallard_db::Tx;
use mallard_flow::FIRST_VERSION;
use mallard_types::{Error, Result, page};
use tracing::warn;

use super::moves::check;
use super::place::{check_units, derived_id};
use super::{App, AsyncThen, Nothing, cut, refused, require_operator};
use crate::domain::{Order, Return, ReturnStatus, Units};
use crate::flows::{Refund, RefundState};
use crate::{error, store};

/// Longest reason, in characters: what every service that is told of a refund takes.
const REASON_CHARS_MAX: usize = 200;
/// Longest answer, in characters.
const ANSWER_CHARS_MAX: usize = 500;

/// A page of returns, each with its order.
pub struct ReturnsPage {
    pub returns: Vec<(Order, Return)>,
    pub next_cursor: String,
}

impl App {
    /// Asks to give units of an order of the caller's back. The same key gives the same return.
    pub async fn request_return(
        self: &Arc<Self>,
        order_id: &str,
        units: Vec<Units>,
        reason: &str,
        key: &str,
    ) -> Result<(Order, Return)> {
        let user_id = mallard_rpc::current().caller.require_user()?.to_owned();
        if key.len() > 255 {
            return Err(error::idempotency_key_required());
        }
        let reason = text("reason", reason, REASON_CHARS_MAX)?;
        if units.is_empty() {
            return Err(Error::invalid("required", "say what you want to give back").param("lines"));
        }
        check_units(&units)?;
        let (new_id, asked_key) = (self.context.id("ret"), key.to_owned());
        let decided_id = new_id.clone();
        let (order, is_new) = self
            .consider(
                "return.request",
                order_id,
                move |order| {
                    check(order, Some(&user_id), None)?;
                    match order.return_by_key(&asked_key) {
                        Some(known) if known.is_for(&units, &reason) => Ok(None),
                        Some(_) => Err(error::idempotency_conflict()),
                        None => {
                            order.request_return(&decided_id, &asked_key, &units, &reason).map(Some).map_err(refused)
                        }
                    }
                },
                Nothing,
            )
            .await?;
        let found = if is_new { order.find_return(&new_id).ok() } else { order.return_by_key(key) };
        let found = found.cloned().ok_or_else(error::return_not_found)?;
        Ok((order, found))
    }

    /// Lists the returns of an order of the caller's, newest first.
    pub async fn order_returns(&self, order_id: &str) -> Result<ReturnsPage> {
        let order = self.get(order_id).await?;
        let returns = order.returns.iter().rev().map(|asked| (order.clone(), asked.clone())).collect();
        Ok(ReturnsPage { returns, next_cursor: String::new() })
    }

    /// Lists everybody's returns, newest first.
    pub async fn admin_returns(&self, status: &str, limit: i32, cursor: &str) -> Result<ReturnsPage> {
        require_operator()?;
        let unknown =
            || Error::invalid("unknown_status", format!("there is no return status {status}")).param("status");
        let status = if status.is_empty() { None } else { Some(ReturnStatus::parse(status).ok_or_else(unknown)?) };
        let limit = page::limit(limit)?;
        let before = if cursor.is_empty() { None } else { page::decode_cursor(cursor, 1)?.pop() };
        let rows = store::returns_page(&self.db, status, before.as_deref(), limit + 1).await?;
        let (rows, next_cursor) = cut(rows, limit, |(id, _)| id);
        let mut returns = Vec::with_capacity(rows.len());
        for (id, order) in rows {
            match order.find_return(&id).cloned() {
                Ok(asked) => returns.push((order, asked)),
                // An older program has written the order; soon the row says again what the stream says.
                Err(_) => warn!(return_id = id, order_id = order.id, "a return is listed that its order does not hold"),
            }
        }
        Ok(ReturnsPage { returns, next_cursor })
    }

    /// Agrees to a return: its money goes back and its units into stock, once, however often this is asked.
    pub async fn approve_return(self: &Arc<Self>, id: &str, key: &str) -> Result<(Order, Return)> {
        require_operator()?;
        if key.is_empty() || key.len() > 255 {
            return Err(error::idempotency_key_required());
        }
        let order = self.reload(&self.order_of_return(id).await?).await?;
        // One return, one refund, whatever keys it is approved with; and no other refund's, whose key may be a return's id but
        // holds no such sign.
        let refund_id = derived_id("ref", &order, &format!("return\0{id}"));
        let (return_id, refund) = (id.to_owned(), refund_id.clone());
        let backdated_at = mallard_rpc::with_current(|call| call.at);
        let start = StartRefund { app: self.clone(), return_id: id.to_owned(), backdated_at };
        let (order, is_new) = self
            .consider(
                "return.approve",
                &order.id,
                move |order| order.approve_return(&return_id, &refund).map_err(refused),
                start,
            )
            .await?;
        if is_new {
            let state = refund_state(&order, order.find_return(id).map_err(refused)?, backdated_at);
            self.engine.drive_from::<Refund>(&refund_id, FIRST_VERSION, state).await?;
        } else {
            self.engine.drive::<Refund>(&refund_id).await?;
        }
        let order = self.reload(&order.id).await?;
        let asked = order.find_return(id).map_err(refused)?.clone();
        if asked.status == ReturnStatus::Refused {
            let message = format!("the payment refused the refund: {}", asked.answer);
            return Err(Error::refused("refund_exceeds_captured", message).param("amount"));
        }
        Ok((order, asked))
    }

    /// Refuses a return, with an answer for the shopper.
    pub async fn refuse_return(self: &Arc<Self>, id: &str, answer: &str) -> Result<(Order, Return)> {
        require_operator()?;
        let answer = text("answer", answer, ANSWER_CHARS_MAX)?;
        let order_id = self.order_of_return(id).await?;
        let return_id = id.to_owned();
        let (order, _) = self
            .consider(
                "return.refuse",
                &order_id,
                move |order| order.refuse_return(&return_id, &answer).map_err(refused),
                Nothing,
            )
            .await?;
        let refused_return = order.find_return(id).map_err(refused)?.clone();
        Ok((order, refused_return))
    }

    async fn order_of_return(&self, id: &str) -> Result<String> {
        store::order_of_return(&self.db, id).await?.ok_or_else(error::return_not_found)
    }
}

/// Starts the refund flow of a return in the transaction that agrees to it.
struct StartRefund {
    app: Arc<App>,
    return_id: String,
    backdated_at: Option<i64>,
}

impl AsyncThen for StartRefund {
    async fn run(&self, tx: &Tx, order: &Order) -> Result<()> {
        let asked = order.find_return(&self.return_id).map_err(refused)?;
        let state = refund_state(order, asked, self.backdated_at);
        self.app.engine.start_inline::<Refund>(tx, &asked.refund_id, &state).await?;
        Ok(())
    }
}

fn refund_state(order: &Order, asked: &Return, backdated_at: Option<i64>) -> RefundState {
    RefundState {
        order_id: order.id.clone(),
        amount: asked.amount.amount,
        currency: asked.amount.currency.as_str().to_owned(),
        reason: asked.reason.clone(),
        units: asked.lines.iter().map(|line| (line.sku_id.clone(), line.quantity)).collect(),
        backdated_at,
        ..RefundState::default()
    }
}

/// Checks a text that must say something; returns it without the blanks around it.
fn text(param: &'static str, text: &str, chars_max: usize) -> Result<String> {
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::invalid("required", "say why").param(param));
    }
    if text.chars().count() > chars_max {
        return Err(Error::invalid("too_long", format!("at most {chars_max} characters")).param(param));
    }
    Ok(text.to_owned())
}
