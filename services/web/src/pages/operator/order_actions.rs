//! What an operator does to an order. Each form brings the version it was made from, so that two people do not undo each other,
//! and a key, so that sent twice it counts once.

use mallard_proto::common::v1::Money as MoneyMessage;
use mallard_proto::order::v1::{AdminDeliverOrderRequest, AdminRefundOrderRequest, CancelOrderRequest};
use mallard_types::{Currency, Error, Result};

use super::order::{Refused, render};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::status;
use crate::console::shipping::{at_line, named, parcel};
use crate::console::{permit, sent_key};
use crate::domain::minor;

/// Ships what is named of each line.
///
/// # Errors
/// `order_not_found`, `forbidden`.
pub async fn ship(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/admin/v1/orders/{}/ship", &[id]).await?;
        let request = parcel(&ask.form, id)?;
        let mut client = ask.site.peers.order();
        ask.write(&caller, client.admin_ship_order(request)).await.map(drop).map_err(|error| at_line(error, "ship."))
    };
    outcome(ask, id, "ship", "shipped", done.await).await
}

/// Marks an order as delivered.
///
/// # Errors
/// `order_not_found`, `forbidden`.
pub async fn deliver(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/admin/v1/orders/{}/deliver", &[id]).await?;
        let request = AdminDeliverOrderRequest { id: id.to_owned(), if_version: ask.form.number("version") };
        let mut client = ask.site.peers.order();
        ask.write(&caller, client.admin_deliver_order(request)).await.map(drop)
    };
    outcome(ask, id, "deliver", "delivered", done.await).await
}

/// Cancels an order that waits for its payment.
///
/// # Errors
/// `order_not_found`, `forbidden`.
pub async fn cancel(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/admin/v1/orders/{}/cancel", &[id]).await?;
        let request = CancelOrderRequest {
            id: id.to_owned(),
            reason: ask.form.get("reason").to_owned(),
            if_version: ask.form.number("version"),
        };
        let mut client = ask.site.peers.order();
        ask.write(&caller, client.admin_cancel_order(request)).await.map(drop)
    };
    outcome(ask, id, "cancel", "cancelled", done.await).await
}

/// Gives money back, all of it or a part, and puts units back into stock.
///
/// # Errors
/// `order_not_found`, `forbidden`.
pub async fn refund(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/admin/v1/orders/{}/refund", &[id]).await?;
        if ask.form.get("reason").is_empty() {
            return Err(Error::invalid("required", "say why").param("reason"));
        }
        let request = AdminRefundOrderRequest {
            id: id.to_owned(),
            amount: amount(ask)?,
            reason: ask.form.get("reason").to_owned(),
            idempotency_key: sent_key(ask),
            lines: named(&ask.form, "back.", false)?,
            if_version: ask.form.number("version"),
            units_sent: ask.form.get("units") == "sent",
            ..AdminRefundOrderRequest::default()
        };
        let mut client = ask.site.peers.order();
        ask.write(&caller, client.admin_refund_order(request)).await.map(drop).map_err(|error| at_line(error, "back."))
    };
    outcome(ask, id, "refund", "refund", done.await).await
}

/// Reads the amount to give back; nothing for all that is left.
fn amount(ask: &Ask) -> Result<Option<MoneyMessage>> {
    let typed = ask.form.get("amount");
    if typed.is_empty() {
        return Ok(None);
    }
    let bad = || Error::invalid("amount_invalid", "an amount such as 12.50").param("amount");
    let currency = Currency::parse(ask.form.get("currency")).map_err(|_| bad())?;
    let amount = minor(typed, currency).filter(|amount| *amount > 0).ok_or_else(bad)?;
    Ok(Some(MoneyMessage { amount, currency: currency.as_str().to_owned() }))
}

async fn outcome(ask: &Ask, id: &str, verb: &'static str, word: &str, done: Result<()>) -> Result<Answer> {
    let error = match done {
        Ok(()) => return Ok(Answer::to(ask.link(&format!("/operator/orders/{id}?done={word}")))),
        Err(error) => error,
    };
    match status(&error) {
        Some(status) => render(ask, id, status, Some(Refused { verb, error: &error })).await,
        None => Err(error),
    }
}
