//! One order: what it is, what happened, and what the shopper can still do about it.

use askama::Template;
use http::StatusCode;
use mallard_proto::order::v1::{
    CancelOrderRequest, GetOrderRequest, ListOrderEventsRequest, ListOrderReturnsRequest, OrderEvent, OrderStatus,
    PayOrderRequest, UpdateOrderRequest,
};
use mallard_rpc::Caller;
use mallard_types::{Error, Kind, Result};

use super::address_form::{self, FIELDS_MISSING};
use super::checkout::{Card, LineView, Sums};
use super::orders::status;
use super::returns::{self, ReturnView, Returnable};
use crate::answer::Answer;
use crate::ask::{Ask, route};
use crate::text::{Text, fill};
use crate::view::{Field, Frame, is_some, moment, options, picture_at, shown, stamp};

struct Step {
    name: &'static str,
    text: String,
    date: String,
    stamp: String,
    tone: &'static str,
}

#[derive(Template)]
#[template(path = "order.html")]
struct Page {
    f: Frame,
    trouble: &'static str,
    explain: String,
    id: String,
    number: String,
    version: i64,
    status: &'static str,
    tone: &'static str,
    payable: bool,
    key: String,
    number_field: Field,
    expiry: Field,
    cvc: Field,
    lines: Vec<LineView>,
    events: Vec<Step>,
    quote: Sums,
    refunded: String,
    note: String,
    to_name: String,
    to_phone: String,
    to_text: String,
    movable: bool,
    address: Vec<Field>,
    address_open: bool,
    cancellable: bool,
    returns: Vec<ReturnView>,
    returnable: Vec<Returnable>,
    reason: Field,
    return_key: String,
    return_open: bool,
}

/// What was refused, for the page that is shown again.
#[derive(Default)]
pub struct Refused {
    pub text: &'static str,
    pub error: Option<Error>,
    /// The key of a payment whose outcome nobody knows.
    pub key: String,
    /// What it was about.
    pub about: About,
}

/// What a refused form was about.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub enum About {
    #[default]
    Other,
    Address,
    Return,
}

/// Shows an order.
///
/// # Errors
/// `order_not_found`; the order's.
pub async fn show(ask: &Ask, id: &str) -> Result<Answer> {
    let caller = ask.permit("GET", &route(&["/store/v1/orders/", id])).await?;
    render(ask, &caller, id, StatusCode::OK, Refused::default()).await
}

/// Shows an order with what was refused.
///
/// # Errors
/// `order_not_found`; the order's.
pub async fn render(ask: &Ask, caller: &Caller, id: &str, status_code: StatusCode, refused: Refused) -> Result<Answer> {
    let (about, is_again) = (refused.about, !refused.text.is_empty());
    let (mut one, mut other, mut third) = (ask.site.peers.order(), ask.site.peers.order(), ask.site.peers.order());
    let order = ask.read(caller, one.get_order(GetOrderRequest { id: id.to_owned() }));
    // After a refusal, which was a call too, the page does without the story, or without returns where they do not matter.
    let events = async {
        if is_again && about == About::Return {
            return Ok(None);
        }
        ask.read(caller, other.list_order_events(ListOrderEventsRequest { id: id.to_owned() })).await.map(Some)
    };
    let returns = async {
        if is_again && about != About::Return {
            return Ok(None);
        }
        ask.read(caller, third.list_order_returns(ListOrderReturnsRequest { id: id.to_owned() })).await.map(Some)
    };
    let (order, events, returns) = tokio::try_join!(order, events, returns)?;
    let order = order.order.unwrap_or_default();
    let (events, returns) = (events.unwrap_or_default().events, returns.map(|found| found.returns));
    let is_about_address = is_again && about == About::Address;
    if is_about_address && order.address.as_ref() == Some(&address_form::read(&ask.form)) {
        // It is so already, perhaps by this very form.
        return Ok(Answer::to(ask.link(&format!("/orders/{id}?done=address"))));
    }
    let t = ask.t;
    let (words, tone) = status(t, order.status());
    let is_pending = order.status() == OrderStatus::PendingPayment;
    let until = order.expires_at.as_ref().map(|at| moment(at.micros(), ask.lang)).unwrap_or_default();
    let to = order.address.clone().unwrap_or_default();
    let error = refused.error.as_ref();
    let is_return = is_again && about == About::Return;
    // What is on its way back must be known.
    let returnable =
        returns.as_ref().map(|found| returns::returnable(ask, &order, found, is_return)).unwrap_or_default();
    let returns = returns.unwrap_or_default();
    let reason = returns::reason(ask, error.filter(|_| is_return));
    let error = error.filter(|_| !is_return);
    let about_address = error.filter(|error| address_form::concerns(error) && error.code != FIELDS_MISSING);
    let card = Card::new(ask, error.filter(|error| Card::concerns(error))).without_cart(t);
    let typed = if is_about_address { address_form::read(&ask.form) } else { to.clone() };
    let mut f = Frame::new(ask, format!("{} {}", t.order, order.number));
    f.notice = match ask.query.get("done") {
        "cancelled" => t.cancelled_done,
        "address" => t.address_done,
        "return" => t.return_done,
        _ => "",
    };
    let page = Page {
        f,
        trouble: refused.text,
        explain: if is_pending { fill(t.pay_until, until) } else { String::new() },
        status: words,
        tone,
        payable: is_pending,
        key: if refused.key.is_empty() { fresh_key(ask) } else { refused.key },
        number_field: card.number,
        expiry: card.expiry,
        cvc: card.cvc,
        lines: order.lines.iter().map(line).collect(),
        events: events.iter().rev().map(|event| step(ask, event)).collect(),
        quote: Sums::of_order(&order),
        refunded: if is_some(&order.refunded) { shown(&order.refunded) } else { String::new() },
        note: order.note.clone(),
        to_text: address_form::written(&to, ask.lang),
        to_name: to.name,
        to_phone: to.phone,
        movable: matches!(order.status(), OrderStatus::PendingPayment | OrderStatus::Paid),
        address: address_form::fields(ask, &typed, about_address),
        address_open: is_about_address,
        cancellable: is_pending,
        returns: returns.iter().map(|asked| returns::view(ask, order.status(), asked)).collect(),
        returnable,
        reason,
        return_key: ask.site.ctx.id("web"),
        return_open: is_return,
        id: order.id,
        number: order.number,
        version: order.version,
    };
    Answer::with(status_code, &page)
}

fn fresh_key(ask: &Ask) -> String {
    ask.site.ctx.id("web")
}

fn line(line: &mallard_proto::order::v1::OrderLine) -> LineView {
    LineView {
        picture: picture_at(&line.image_url, &line.title),
        title: line.title.clone(),
        options: options(&line.options),
        unit_price: shown(&line.unit_price),
        quantity: line.quantity,
        total: shown(&line.line_total),
    }
}

fn step(ask: &Ask, event: &OrderEvent) -> Step {
    let t = ask.t;
    let data = event.data.clone().unwrap_or_default();
    let (name, tone) = match event.r#type.as_str() {
        "placed" => (t.event_placed, "good"),
        "paid" => (t.event_paid, "good"),
        "payment_failed" => (t.event_payment_failed, "bad"),
        "cancelled" => (t.event_cancelled, "bad"),
        "address_changed" => (t.event_address_changed, "good"),
        "shipped" => (t.event_shipped, "good"),
        "delivered" => (t.event_delivered, "good"),
        "refund_requested" => (t.event_refund_requested, "warn"),
        "refund_refused" => (t.event_refund_refused, "bad"),
        "refunded" => (t.event_refunded, "good"),
        "return_requested" => (t.event_return_requested, "warn"),
        "return_refused" => returns::end(t, &data.reason),
        // A kind a later version adds.
        _ => (t.order, "good"),
    };
    let mut parts = Vec::new();
    if is_some(&data.amount) {
        parts.push(shown(&data.amount));
    }
    if let Some(to) = &data.address {
        parts.push(address_form::written(to, ask.lang));
    }
    if !data.tracking_number.is_empty() {
        let carrier = if data.carrier.is_empty() { String::new() } else { format!("{} · ", data.carrier) };
        parts.push(format!("{carrier}{}", fill(t.tracking, &data.tracking_number)));
    }
    if !data.reason.is_empty() {
        parts.push(reason(t, &data.reason, event.r#type == "payment_failed"));
    }
    let at = event.at.as_ref().map(|at| at.micros()).unwrap_or_default();
    Step { name, text: parts.join(" · "), date: moment(at, ask.lang), stamp: stamp(at), tone }
}

/// Puts the reasons the mall gives itself into words; what a person wrote stays.
fn reason(t: &'static Text, reason: &str, is_failure: bool) -> String {
    match reason {
        "payment_timeout" => t.reason_deadline.to_owned(),
        "cancelled_by_request" => t.reason_shopper.to_owned(),
        "insufficient_funds" => t.reason_funds.to_owned(),
        "order_refunded" => t.return_with_order.to_owned(),
        // What the bank says is for programs.
        _ if is_failure || reason.starts_with("payment_failed") => t.reason_declined.to_owned(),
        _ => reason.to_owned(),
    }
}

/// Cancels an order that waits for its payment.
///
/// # Errors
/// `order_not_found`; the order's.
pub async fn cancel(ask: &Ask, id: &str) -> Result<Answer> {
    let caller = ask.permit("POST", &route(&["/store/v1/orders/", id, "/cancel"])).await?;
    let request = CancelOrderRequest { id: id.to_owned(), ..CancelOrderRequest::default() };
    let mut client = ask.site.peers.order();
    match ask.write(&caller, client.cancel_order(request)).await {
        Ok(_) => {}
        // Sent twice, or not paid in time meanwhile: it is what was asked for.
        Err(error) if is_cancelled(&error) => {}
        Err(error) => return again(ask, &caller, id, error, About::Other).await,
    }
    if let Some(session) = &ask.session {
        ask.site.sessions.change(session, |kept| kept.end_order(id)).await?;
    }
    Ok(Answer::to(ask.link(&format!("/orders/{id}?done=cancelled"))))
}

/// Pays an order that waits.
///
/// # Errors
/// `order_not_found`; the order's.
pub async fn pay(ask: &Ask, id: &str) -> Result<Answer> {
    let caller = match ask.permit("POST", &route(&["/store/v1/orders/", id, "/pay"])).await {
        Ok(caller) => caller,
        Err(error) if may_not_buy(&error) => return again(ask, &ask.shopper().await?, id, error, About::Other).await,
        Err(error) => return Err(error),
    };
    if Card::is_incomplete(&ask.form) {
        let error = Error::refused(FIELDS_MISSING, "fill in the marked fields").param("payment.number");
        return again(ask, &caller, id, error, About::Other).await;
    }
    let payment = match super::checkout::payment(&ask.form, "card") {
        Ok(payment) => payment,
        Err(error) => return again(ask, &caller, id, error, About::Other).await,
    };
    let key: String = ask.form.get("key").chars().take(100).collect();
    let request = PayOrderRequest { id: id.to_owned(), payment: Some(payment), idempotency_key: key, if_version: None };
    let mut client = ask.site.peers.order();
    match ask.write(&caller, client.pay_order(request)).await {
        Ok(_) => {
            super::cart::recount(ask, &caller).await;
            Ok(Answer::to(ask.link(&format!("/checkout/result/{id}?by=card"))))
        }
        Err(error) => again(ask, &caller, id, error, About::Other).await,
    }
}

/// Changes where an order goes, until it ships.
///
/// # Errors
/// `order_not_found`; the order's.
pub async fn address(ask: &Ask, id: &str) -> Result<Answer> {
    let caller = ask.permit("PATCH", &route(&["/store/v1/orders/", id])).await?;
    let request = UpdateOrderRequest {
        id: id.to_owned(),
        address: Some(address_form::read(&ask.form)),
        if_version: ask.form.number("version"),
    };
    let mut client = ask.site.peers.order();
    match ask.write(&caller, client.update_order(request)).await {
        Ok(_) => Ok(Answer::to(ask.link(&format!("/orders/{id}?done=address")))),
        Err(error) => again(ask, &caller, id, error, About::Address).await,
    }
}

fn is_cancelled(error: &Error) -> bool {
    let status = error.details.as_ref().and_then(|details| details["status"].as_str());
    error.code == "illegal_transition" && status == Some("cancelled")
}

/// Shows the order as it stands and why the change was refused.
async fn again(ask: &Ask, caller: &Caller, id: &str, error: Error, about: About) -> Result<Answer> {
    let t = ask.t;
    let (status, text) = match error.kind {
        Kind::PaymentFailed => (
            StatusCode::PAYMENT_REQUIRED,
            if error.code == "insufficient_funds" { t.reason_funds } else { t.reason_declined },
        ),
        Kind::Conflict | Kind::Precondition => (StatusCode::CONFLICT, t.order_moved),
        Kind::Invalid | Kind::Refused if Card::concerns(&error) => (StatusCode::UNPROCESSABLE_ENTITY, t.see_payment),
        Kind::Invalid | Kind::Refused => (StatusCode::UNPROCESSABLE_ENTITY, t.see_fields),
        Kind::Forbidden if may_not_buy(&error) => (StatusCode::FORBIDDEN, t.may_not_buy),
        Kind::Unavailable | Kind::Deadline => (StatusCode::SERVICE_UNAVAILABLE, t.outcome_unknown),
        _ => return Err(error),
    };
    let unknown = matches!(error.kind, Kind::Unavailable | Kind::Deadline);
    let key = if unknown { ask.form.get("key").to_owned() } else { String::new() };
    render(ask, caller, id, status, Refused { text, error: Some(error), key, about }).await
}

/// Tells whether an account was refused that may look and not buy.
pub fn may_not_buy(error: &Error) -> bool {
    let level = error.details.as_ref().and_then(|details| details["level"].as_str());
    error.code == "account_banned" && level == Some("buy")
}
