//! The order: placed once however often the form is sent; a refusal says why and leaves the cart.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use mallard_proto::common::v1::Money as MoneyMessage;
use mallard_proto::identity::v1::CreateAddressRequest;
use mallard_proto::order::v1::{PlaceOrderRequest, PlaceOrderResponse};
use mallard_proto::promotion::v1::Quote;
use mallard_rpc::Caller;
use mallard_types::{Error, Kind, Result};

use super::form::{self, Card, Chosen};
use super::show::{Shown, Trouble, ask_both, remember, render};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::pages::address_form::{self, FIELDS_MISSING};
use crate::pages::order::may_not_buy;
use crate::text::fill;
use crate::view;

/// How long what the page showed may be shown again.
const RECALL: Duration = Duration::from_secs(900);
const KEY_BYTES_MAX: usize = 100;

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
        Ok(answer) => placed(ask, &caller, answer, &chosen).await,
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
        ..PlaceOrderRequest::default()
    };
    let mut client = ask.site.peers.order();
    ask.write(caller, client.place_order(request)).await
}

async fn placed(ask: &Ask, caller: &Caller, answer: PlaceOrderResponse, chosen: &Chosen) -> Result<Answer> {
    let order = answer.order.unwrap_or_default();
    if ask.form.get("save") == "1" && ask.form.get("address") == "new" {
        // The order stands whatever becomes of the address book.
        if let Err(error) = save_address(ask, caller).await {
            tracing::warn!(%error, request_id = ask.request_id, "the address was not kept");
        }
    }
    if chosen.texts.is_empty() {
        ask.note_cart(0).await;
    }
    // The page of the result tells "not paid yet" from "the bank has not answered yet" by it.
    let by = if ask.form.get("method") == "card" { "?by=card" } else { "" };
    Ok(Answer::to(ask.link(&format!("/checkout/result/{}{by}", order.id))))
}

async fn save_address(ask: &Ask, caller: &Caller) -> Result<()> {
    let address = address_form::read(&ask.form);
    let request = CreateAddressRequest {
        name: address.name,
        phone: address.phone,
        country: address.country,
        province: address.province,
        city: address.city,
        district: address.district,
        street: address.street,
        postal_code: address.postal_code,
        is_default: false,
    };
    let mut client = ask.site.peers.identity();
    ask.write(caller, client.create_address(request)).await.map(drop)
}

/// Shows the page again with what is wrong, or says it on a page of its own.
async fn refused(ask: &Ask, caller: &Caller, chosen: Chosen, error: Error) -> Result<Answer> {
    let t = ask.t;
    if error.code == "cart_empty" {
        return Ok(Answer::to(ask.link("/cart")));
    }
    let Some((status, trouble)) = words(ask, &error) else { return Err(error) };
    tracing::debug!(%error, request_id = ask.request_id, "an order was refused");
    let (quote, book) = match again(ask, caller, &chosen, &error).await {
        Ok(both) => both,
        // E.g. the form of an order that has been placed is sent again from the history: the cart is empty.
        Err(_) if error.kind != Kind::Unavailable => {
            return crate::pages::cart::refused_order(ask, caller, status, trouble.text).await;
        }
        Err(error) => return Err(error),
    };
    let mut trouble = trouble;
    if error.code == "price_changed" {
        let was = MoneyMessage {
            amount: ask.form.number("total").unwrap_or_default(),
            currency: ask.form.get("currency").into(),
        };
        trouble.new_total = fill(&fill(t.total_was, view::shown(&Some(was))), view::shown(&quote.total));
    }
    // Where nobody knows the outcome the same key must come back: it finds the order or makes it, once.
    let key = match error.kind {
        Kind::Unavailable | Kind::Deadline => ask.form.get("key").to_owned(),
        _ => form::fresh_key(ask),
    };
    render(ask, status, Shown { quote, book, chosen, key }, trouble, Some(&error))
}

/// Shows the page again with the price that a coupon makes.
async fn reprice(ask: &Ask, chosen: Chosen) -> Result<Answer> {
    let caller = ask.permit("POST", "/store/v1/checkout/quote").await?;
    match ask_both(ask, &caller, &chosen, form::coupons(&ask.form)).await {
        Ok((quote, book)) => {
            remember(ask, &quote, &book);
            let key = form::fresh_key(ask);
            render(ask, StatusCode::OK, Shown { quote, book, chosen, key }, Trouble::default(), None)
        }
        Err(error) => refused(ask, &caller, chosen, error).await,
    }
}

/// Returns what the page showed before, with the new quote where the refusal brought one; asks for what is missing.
async fn again(
    ask: &Ask,
    caller: &Caller,
    chosen: &Chosen,
    error: &Error,
) -> Result<(Arc<Quote>, Arc<Vec<mallard_proto::identity::v1::BookAddress>>)> {
    let recall = ask.session.as_ref().and_then(|session| session.recall.lock().clone());
    let recall = recall.filter(|recall| recall.at.elapsed() < RECALL);
    let told =
        error.details.as_ref().and_then(|details| serde_json::from_value::<Quote>(details["quote"].clone()).ok());
    let is_price = error.code == "price_changed";
    let (quote, book) = match (recall, told) {
        (Some(recall), Some(quote)) => (Arc::new(quote), recall.book),
        (Some(recall), None) if !is_price && error.code != "idempotency_conflict" => (recall.quote, recall.book),
        _ => {
            let coupons = if is_coupon(error) { Vec::new() } else { form::coupons(&ask.form) };
            ask_both(ask, caller, chosen, coupons).await?
        }
    };
    remember(ask, &quote, &book);
    Ok((quote, book))
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
        "price_changed" => (status, text(t.total_changed)),
        "out_of_stock" => (status, with(&out_of_stock(ask, error), "/cart", t.see_cart)),
        "not_sellable" | "sku_unknown" => (StatusCode::CONFLICT, with(t.no_longer_sold, "/cart", t.see_cart)),
        "cart_already_ordered" => (status, with(t.already_ordered, &ordered(error), t.see_orders)),
        "idempotency_conflict" => (status, with(t.form_used, "/orders", t.see_orders)),
        "address_not_found" | "address_required" => (unprocessable, text(t.address_gone)),
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
    let line = recall.as_ref().and_then(|recall| recall.quote.lines.iter().find(|line| line.sku_id == sku));
    match line {
        Some(line) => {
            let known = ask.site.catalogue.known_title(&line.product_id, ask.lang);
            fill(ask.t.out_of_stock, known.unwrap_or_else(|| line.title.clone()))
        }
        None => ask.t.out_of_stock_any.to_owned(),
    }
}
