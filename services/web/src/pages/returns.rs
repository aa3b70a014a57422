//! Giving goods of an order back: what can still be, what was asked, and what became of it.

use http::StatusCode;
use mallard_proto::order::v1::{CreateReturnRequest, LineInput, Order, OrderStatus, Return, ReturnStatus};
use mallard_types::{Error, Kind, Result};

use super::order::{About, Refused, render};
use crate::answer::Answer;
use crate::ask::{Ask, route};
use crate::error::at_field;
use crate::text::Text;
use crate::view::{Field, Picture, moment, options, picture_at, shown, stamp};

/// As long as the order takes.
const REASON_CHARS_MAX: u32 = 200;
const KEY_CHARS_MAX: usize = 100;

/// Goods that can be given back.
pub struct Returnable {
    pub sku: String,
    pub title: String,
    pub options: String,
    pub picture: Picture,
    /// Most units.
    pub left: i64,
    /// Units asked for; shown again after a refusal.
    pub asked: i64,
}

/// A return that was asked for.
pub struct ReturnView {
    pub status: &'static str,
    pub tone: &'static str,
    pub date: String,
    pub stamp: String,
    /// Titles and units.
    pub lines: Vec<String>,
    pub reason: String,
    pub amount: String,
    /// Why it was refused.
    pub answer: String,
}

/// Lists what can still be given back: what was sent, less what came back and what was asked for. What the shop has agreed to
/// take is counted in the lines themselves. Other goods of the order may still have to be sent.
pub fn returnable(ask: &Ask, order: &Order, returns: &[Return], is_again: bool) -> Vec<Returnable> {
    let sent = [OrderStatus::PartiallyShipped, OrderStatus::Shipped, OrderStatus::Delivered, OrderStatus::Completed];
    if !sent.contains(&order.status()) {
        return Vec::new();
    }
    let open = |sku: &str| -> i64 {
        let waiting = returns.iter().filter(|one| one.status() == ReturnStatus::Requested);
        waiting.flat_map(|one| &one.lines).filter(|line| line.sku_id == sku).map(|line| line.quantity).sum()
    };
    let mut out: Vec<Returnable> = Vec::new();
    for line in &order.lines {
        let here = line.shipped - line.returned_sent;
        // A SKU may stand in several lines; a return names the SKU.
        if let Some(same) = out.iter_mut().find(|one| one.sku == line.sku_id) {
            same.left += here;
            continue;
        }
        out.push(Returnable {
            sku: line.sku_id.clone(),
            title: line.title.clone(),
            options: options(&line.options),
            picture: picture_at(&line.image_url, &line.title),
            left: here - open(&line.sku_id),
            asked: if is_again { ask.form.number(&field(&line.sku_id)).unwrap_or(0) } else { 0 },
        });
    }
    out.retain(|one| one.left > 0);
    out
}

/// Makes the field of the reason.
pub fn reason(ask: &Ask, error: Option<&Error>) -> Field {
    let typed = error.map_or("", |_| ask.form.get("reason"));
    let field =
        Field { maxlength: REASON_CHARS_MAX, ..Field::text("reason", ask.t.return_reason, typed, "off").required() };
    match error {
        Some(error) if error.param.as_deref() == Some("reason") => Field { error: at_field(ask.t, error), ..field },
        _ => field,
    }
}

/// What the order answers a return with that nobody decided about before the whole order was given back.
const ORDER_REFUNDED: &str = "order_refunded";

/// Tells whether the whole order was given back before anybody decided about a return: its money is there, so it was closed.
pub fn is_closed(asked: &Return) -> bool {
    asked.status() == ReturnStatus::Refused && asked.answer == ORDER_REFUNDED
}

/// Puts the answer to a return into words; what a person wrote stays.
pub fn answer(t: &'static Text, answer: &str) -> String {
    if answer == ORDER_REFUNDED { t.return_with_order.to_owned() } else { answer.to_owned() }
}

/// Names the end of a return in an order's history, and whether it is good.
pub fn end(t: &'static Text, answer: &str) -> (&'static str, &'static str) {
    if answer == ORDER_REFUNDED { (t.event_return_closed, "good") } else { (t.event_return_refused, "bad") }
}

/// Shows a return in words.
pub fn view(ask: &Ask, order: OrderStatus, asked: &Return) -> ReturnView {
    // One from before the order closed such ones itself still stands as asked for.
    let closed = is_closed(asked) || asked.status() == ReturnStatus::Requested && order == OrderStatus::Refunded;
    let (status, tone) = if closed { (ask.t.return_closed, "good") } else { status(ask.t, asked.status()) };
    let said = if closed { ask.t.return_with_order.to_owned() } else { asked.answer.clone() };
    let at = asked.created_at.as_ref().map(|at| at.micros()).unwrap_or_default();
    ReturnView {
        status,
        tone,
        date: moment(at, ask.lang),
        stamp: stamp(at),
        lines: asked.lines.iter().map(|line| format!("{} × {}", line.title, line.quantity)).collect(),
        reason: asked.reason.clone(),
        amount: shown(&asked.amount),
        answer: said,
    }
}

fn status(t: &'static Text, status: ReturnStatus) -> (&'static str, &'static str) {
    match status {
        ReturnStatus::Requested => (t.return_requested, "warn"),
        ReturnStatus::Refused => (t.return_refused, "bad"),
        ReturnStatus::Approved => (t.return_approved, "good"),
        ReturnStatus::Refunded => (t.return_refunded, "good"),
        ReturnStatus::Withdrawn => (t.return_withdrawn, "bad"),
    }
}

fn field(sku: &str) -> String {
    format!("units-{sku}")
}

/// Asks to give goods back.
///
/// # Errors
/// `order_not_found`; the order's.
pub async fn create(ask: &Ask, id: &str) -> Result<Answer> {
    let caller = ask.permit("POST", &route(&["/store/v1/orders/", id, "/returns"])).await?;
    let mut lines = Vec::new();
    for (name, value) in ask.form.pairs() {
        let Some(sku) = name.strip_prefix("units-") else { continue };
        match value.trim().parse::<i64>() {
            Ok(0) => {}
            Ok(quantity) => {
                lines.push(LineInput { sku_id: sku.to_owned(), quantity, agreed_unit_price_nanos: None });
            }
            Err(_) if value.trim().is_empty() => {}
            Err(_) => {
                return refused(ask, &caller, id, Error::refused("quantity_out_of_range", "a whole number")).await;
            }
        }
    }
    if lines.is_empty() {
        return refused(ask, &caller, id, Error::refused("return_empty", "choose what to give back")).await;
    }
    let reason = ask.form.get("reason").to_owned();
    if reason.is_empty() {
        let error = Error::invalid("required", "say why").param("reason");
        return refused(ask, &caller, id, error).await;
    }
    let idempotency_key = ask.form.get("key").chars().take(KEY_CHARS_MAX).collect();
    let request = CreateReturnRequest { id: id.to_owned(), lines, reason, idempotency_key };
    let mut client = ask.site.peers.order();
    match ask.write(&caller, client.create_return(request)).await {
        Ok(_) => Ok(Answer::to(ask.link(&format!("/orders/{id}?done=return")))),
        Err(error) => refused(ask, &caller, id, error).await,
    }
}

/// Shows the order as it stands and why the return was refused.
async fn refused(ask: &Ask, caller: &mallard_rpc::Caller, id: &str, error: Error) -> Result<Answer> {
    let t = ask.t;
    let (status, text) = match error.kind {
        Kind::Conflict | Kind::Precondition => (StatusCode::CONFLICT, t.order_moved),
        Kind::Invalid | Kind::Refused => {
            let text = match error.code.as_ref() {
                "return_empty" => t.return_empty,
                "too_many_returns" => t.return_too_many,
                _ if error.param.as_deref() == Some("reason") => t.see_fields,
                _ => t.return_bad,
            };
            (StatusCode::UNPROCESSABLE_ENTITY, text)
        }
        _ => return Err(error),
    };
    let refused = Refused { text, error: Some(error), about: About::Return, ..Refused::default() };
    render(ask, caller, id, status, refused).await
}
