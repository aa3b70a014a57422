//! The order: placed once however often the form is sent; a refusal says why and leaves the cart.

use std::sync::Arc;

use http::StatusCode;
use mallard_proto::common::v1::Money as MoneyMessage;
use mallard_proto::order::v1::{OrderStatus, PlaceOrderRequest, PlaceOrderResponse};
use mallard_proto::promotion::v1::Quote;
use mallard_rpc::Caller;
use mallard_types::{Error, Kind, Result};

use super::form::{self, Card, Chosen};
use super::show::{Shown, Trouble, ask_both, ask_quote, recalled, remember, render};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::pages::address_form::{self, FIELDS_MISSING};
use crate::pages::order::may_not_buy;
use crate::pages::{addresses, problem};
use crate::session::Offer;
use crate::store::Kept;
use crate::text::fill;
use crate::view;

const KEY_BYTES_MAX: usize = 100;
/// Code of the refusal that says that the order of a key was cancelled meanwhile.
const ORDER_CANCELLED: &str = "order_cancelled";

/// Places the order.
///
/// # Errors
/// What no form can mend.
pub async fn place(ask: &Ask) -> Result<Answer> {
    let chosen = Chosen::read(&ask.form);
    if ask.form.get("apply") == "1" {
        return reprice(ask, chosen).await;
    }
    let caller = match ask.permit("POST", "/store/v1/orders").await {
        Ok(caller) => caller,
        Err(error) if may_not_buy(&error) => return refused(ask, &ask.shopper().await?, chosen, error).await,
        Err(error) => return Err(error),
    };
    match send(ask, &caller, &chosen).await {
        Ok(answer) => placed(ask, &caller, answer, chosen).await,
        Err(error) => refused(ask, &caller, chosen, error).await,
    }
}

async fn send(ask: &Ask, caller: &Caller, chosen: &Chosen) -> Result<PlaceOrderResponse> {
    let form = &ask.form;
    let method = form.get("method");
    if method != "card" && method != "later" {
        return Err(Error::refused("payment_method_missing", "choose card or later").param("method"));
    }
    let is_new = form.get("address") == "new" || form.get("address").is_empty();
    let typed = address_form::read(form);
    if (is_new && address_form::is_incomplete(&typed)) || (method == "card" && Card::is_incomplete(form)) {
        return Err(Error::refused(FIELDS_MISSING, "fill in the marked fields"));
    }
    let key = form.get("key");
    if key.is_empty() || key.len() > KEY_BYTES_MAX {
        return Err(Error::refused("form_key_missing", "load the checkout again").param("key"));
    }
    let request = PlaceOrderRequest {
        address_id: if is_new { String::new() } else { form.get("address").to_owned() },
        address: is_new.then_some(typed),
        payment: Some(form::payment(form, method)?),
        expected_total: Some(MoneyMessage {
            amount: form.number("total").unwrap_or(-1),
            currency: form.get("currency").to_owned(),
        }),
        lines: chosen.lines()?,
        coupon_codes: form::coupons(form),
        note: form.get("note").to_owned(),
        idempotency_key: key.to_owned(),
        expected_goods: form.get("goods").to_owned(),
        ..PlaceOrderRequest::default()
    };
    let mut client = ask.site.peers.order();
    ask.write(caller, client.place_order(request)).await
}

async fn placed(ask: &Ask, caller: &Caller, answer: PlaceOrderResponse, chosen: Chosen) -> Result<Answer> {
    let order = answer.order.unwrap_or_default();
    let key = ask.form.get("key");
    let is_cancelled = order.status() == OrderStatus::Cancelled;
    // The key made an order before that was cancelled elsewhere, or not paid in time. What is wanted now wants another key.
    if is_cancelled && !chosen.texts.is_empty() && key == chosen.key(ask, &caller.user_id) {
        let error = Error::conflict(ORDER_CANCELLED, "the order of this form was cancelled before");
        return refused(ask, caller, chosen, error).await;
    }
    if ask.form.get("save") == "1" && ask.form.get("address") == "new" {
        // The order stands whatever becomes of the address book.
        if let Err(error) = addresses::keep(ask, caller, address_form::read(&ask.form), false).await {
            tracing::warn!(%error, request_id = ask.request_id, "the address was not kept");
        }
    }
    let is_paid = !is_cancelled && order.status() != OrderStatus::PendingPayment;
    note(ask, |kept| {
        if chosen.texts.is_empty() {
            // What is to be paid later stays in the cart until then.
            kept.cart_lines = if is_paid { 0 } else { kept.cart_lines };
        } else if kept.note_choice(key, &order.id) && is_paid {
            kept.cart_lines = kept.cart_lines.saturating_sub(u32::try_from(chosen.texts.len()).unwrap_or(u32::MAX));
        }
    })
    .await;
    // The page of the result tells "not paid yet" from "the bank has not answered yet" by it.
    let by = if ask.form.get("method") == "card" { "?by=card" } else { "" };
    Ok(Answer::to(ask.link(&format!("/checkout/result/{}{by}", order.id))))
}

/// Remembers something of an order; the order stands whether it works or not.
async fn note(ask: &Ask, change: impl Fn(&mut Kept)) {
    let Some(session) = &ask.session else { return };
    if let Err(error) = ask.site.sessions.change(session, change).await {
        tracing::debug!(%error, request_id = ask.request_id, "an order was not remembered");
    }
}

/// Shows the page again with what is wrong, or says it on a page of its own.
async fn refused(ask: &Ask, caller: &Caller, chosen: Chosen, error: Error) -> Result<Answer> {
    let t = ask.t;
    if error.code == "cart_empty" {
        return Ok(Answer::to(ask.link("/cart")));
    }
    let Some((status, mut trouble)) = words(ask, &error) else { return Err(error) };
    tracing::debug!(%error, request_id = ask.request_id, "an order was refused");
    let form_key = ask.form.get("key");
    let is_used = error.code == "idempotency_conflict";
    if !chosen.texts.is_empty() && (error.kind == Kind::PaymentFailed || error.code == ORDER_CANCELLED || is_used) {
        note(ask, |kept| kept.end_choice(form_key)).await;
    }
    if is_used {
        return Ok(Answer::to(ask.link("/orders?done=used")));
    }
    let offer = match again(ask, caller, &chosen, &error).await {
        Ok(offer) => offer,
        // E.g. the form of an order that has been placed is sent again from the history: the cart is empty.
        Err(_) if error.kind != Kind::Unavailable => {
            let cart = (ask.link("/cart"), t.see_cart);
            let go = if trouble.href.is_empty() { cart } else { (trouble.href, trouble.link) };
            return Ok(problem::told(ask, status, &trouble.text, go));
        }
        Err(error) => return Err(error),
    };
    remember(ask, &chosen, &offer);
    if error.code == "price_changed" && error.param.as_deref() != Some("expected_goods") {
        let was = MoneyMessage {
            amount: ask.form.number("total").unwrap_or_default(),
            currency: ask.form.get("currency").into(),
        };
        trouble.new_total = fill(&fill(t.total_was, view::shown(&Some(was))), view::shown(&offer.quote.total));
    }
    // Where nobody knows the outcome the same key must come back: it finds the order or makes it, once.
    let key = match error.kind {
        Kind::Unavailable | Kind::Deadline => form_key.to_owned(),
        _ => chosen.key(ask, &caller.user_id),
    };
    render(ask, status, Shown { offer, chosen, key }, trouble, Some(&error))
}

/// Shows the page again with the price that a coupon makes.
async fn reprice(ask: &Ask, chosen: Chosen) -> Result<Answer> {
    let caller = ask.permit("POST", "/store/v1/checkout/quote").await?;
    let coupons = form::coupons(&ask.form);
    let (priced, book) = tokio::join!(ask_quote(ask, &caller, &chosen, coupons), addresses::book(ask, &caller));
    let (priced, book) = match (priced, book) {
        (Ok(priced), book) => (priced, book?),
        // Without the code, and with the book that has just been read.
        (Err(error), Ok(book)) if is_coupon(&error) => {
            let (quote, goods) = ask_quote(ask, &caller, &chosen, Vec::new()).await?;
            remember(ask, &chosen, &Offer { quote, goods, book: Arc::new(book) });
            return refused(ask, &caller, chosen, error).await;
        }
        (Err(error), _) => return Err(error),
    };
    let offer = Offer { quote: priced.0, goods: priced.1, book: Arc::new(book) };
    remember(ask, &chosen, &offer);
    let key = chosen.key(ask, &caller.user_id);
    render(ask, StatusCode::OK, Shown { offer, chosen, key }, Trouble::default(), None)
}

/// Returns what the page showed before, with the new quote where the refusal brought one; asks where that is not known or not
/// true any more.
async fn again(ask: &Ask, caller: &Caller, chosen: &Chosen, error: &Error) -> Result<Offer> {
    let told = error.details.as_ref().and_then(|details| {
        let quote = serde_json::from_value::<Quote>(details["quote"].clone()).ok()?;
        Some((Arc::new(quote), details["goods"].as_str()?.to_owned()))
    });
    let recalled = recalled(ask, chosen).filter(|_| !is_gone(error));
    match (recalled, told) {
        (Some(offer), Some((quote, goods))) => Ok(Offer { quote, goods, ..offer }),
        (Some(offer), None) if error.code != "price_changed" => Ok(offer),
        _ => {
            let coupons = if is_coupon(error) { Vec::new() } else { form::coupons(&ask.form) };
            ask_both(ask, caller, chosen, coupons).await
        }
    }
}

/// Tells whether an error says that the address book is another than the page showed.
fn is_gone(error: &Error) -> bool {
    matches!(error.code.as_ref(), "address_not_found" | "address_required")
}

/// Returns the status and the words of a refusal the form can show; nothing for the others.
fn words(ask: &Ask, error: &Error) -> Option<(StatusCode, Trouble)> {
    let t = ask.t;
    let text = |text: &str| Trouble { text: text.to_owned(), ..Trouble::default() };
    let with = |text: &str, href: &str, link: &'static str| Trouble {
        text: text.to_owned(),
        href: ask.link(href),
        link,
        new_total: String::new(),
    };
    let status = StatusCode::from_u16(error.kind.http_status()).unwrap_or(StatusCode::UNPROCESSABLE_ENTITY);
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    Some(match error.code.as_ref() {
        "price_changed" if error.param.as_deref() == Some("expected_goods") => (status, text(t.goods_changed)),
        "price_changed" => (status, text(t.total_changed)),
        ORDER_CANCELLED => (status, text(t.ordered_and_cancelled)),
        "out_of_stock" => (status, with(&out_of_stock(ask, error), "/cart", t.see_cart)),
        "not_sellable" | "sku_unknown" => (StatusCode::CONFLICT, with(t.no_longer_sold, "/cart", t.see_cart)),
        "cart_already_ordered" => (status, with(t.already_ordered, &ordered(error), t.see_orders)),
        "idempotency_conflict" => (status, text(t.form_used)),
        _ if is_gone(error) => (unprocessable, text(t.address_gone)),
        "account_banned" if may_not_buy(error) => (status, text(t.may_not_buy)),
        _ if is_coupon(error) => (unprocessable, text(t.coupon_bad)),
        "payment_method_missing" | "payment_method_unavailable" => (unprocessable, text(t.method_bad)),
        "form_key_missing" => (unprocessable, text(t.problem_form_text)),
        _ if error.kind == Kind::PaymentFailed => {
            let said = if error.code == "insufficient_funds" { t.insufficient } else { t.declined };
            (status, text(said))
        }
        FIELDS_MISSING => (unprocessable, text(t.see_fields)),
        _ if Card::concerns(error) => (unprocessable, text(t.see_payment)),
        _ if address_form::concerns(error) || error.code == "note_too_long" => (unprocessable, text(t.see_fields)),
        _ if matches!(error.kind, Kind::Unavailable | Kind::Deadline) => {
            (StatusCode::SERVICE_UNAVAILABLE, text(t.outcome_unknown))
        }
        _ => return None,
    })
}

fn is_coupon(error: &Error) -> bool {
    error.param.as_deref().is_some_and(|param| param.starts_with("coupon_codes"))
}

fn ordered(error: &Error) -> String {
    let id = error.details.as_ref().and_then(|details| details["order_id"].as_str()).unwrap_or_default();
    if id.is_empty() { "/orders".to_owned() } else { format!("/orders/{id}") }
}

/// Names what is missing where the page knows its name.
fn out_of_stock(ask: &Ask, error: &Error) -> String {
    let sku = error.details.as_ref().and_then(|details| details["sku_id"].as_str()).unwrap_or_default();
    let recall = ask.session.as_ref().and_then(|session| session.recall.lock().clone());
    let line = recall.as_ref().and_then(|recall| recall.offer.quote.lines.iter().find(|line| line.sku_id == sku));
    match line {
        Some(line) => fill(ask.t.out_of_stock, &line.title),
        None => ask.t.out_of_stock_any.to_owned(),
    }
}
