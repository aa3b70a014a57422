//! The checkout's page.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use http::StatusCode;
use mallard_proto::common::v1::Address;
use mallard_proto::order::v1::{Order, QuoteRequest};
use mallard_proto::promotion::v1::Quote;
use mallard_rpc::Caller;
use mallard_types::{Error, Result};
use tokio::time::Instant;

use super::form::{Card, Chosen};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::pages::address_form::{self, Offered};
use crate::pages::addresses::book;
use crate::session::{Offer, Recall};
use crate::view::{Field, Frame, Picture, is_some, options, picture_at, shown};

/// How long what the page showed may be shown again.
const RECALL: Duration = Duration::from_secs(900);

/// A line of a quote or an order.
pub struct LineView {
    pub picture: Picture,
    pub title: String,
    pub options: String,
    pub unit_price: String,
    pub quantity: i64,
    pub total: String,
}

/// What is paid, itemised.
pub struct Sums {
    pub subtotal: String,
    /// Empty without one.
    pub discount: String,
    pub shipping: String,
    pub shipping_free: bool,
    /// Empty without any.
    pub tax: String,
    pub total: String,
}

impl Sums {
    /// Itemises a quote.
    pub fn of_quote(quote: &Quote) -> Sums {
        let some = |money| if is_some(money) { shown(money) } else { String::new() };
        Sums {
            subtotal: shown(&quote.subtotal),
            discount: some(&quote.discount),
            shipping: shown(&quote.shipping),
            shipping_free: !is_some(&quote.shipping),
            tax: some(&quote.tax),
            total: shown(&quote.total),
        }
    }

    /// Itemises an order.
    pub fn of_order(order: &Order) -> Sums {
        let some = |money| if is_some(money) { shown(money) } else { String::new() };
        Sums {
            subtotal: shown(&order.subtotal),
            discount: some(&order.discount),
            shipping: shown(&order.shipping),
            shipping_free: !is_some(&order.shipping),
            tax: some(&order.tax),
            total: shown(&order.total),
        }
    }
}

/// Makes the line of a quote.
fn line_view(line: &mallard_proto::promotion::v1::QuoteLine) -> LineView {
    LineView {
        picture: picture_at(&line.image_url, &line.title),
        options: options(&line.options),
        unit_price: shown(&line.unit_price),
        quantity: line.quantity,
        total: shown(&line.line_total),
        title: line.title.clone(),
    }
}

#[derive(Template)]
#[template(path = "checkout.html")]
struct Page {
    f: Frame,
    trouble: String,
    trouble_href: String,
    trouble_link: &'static str,
    new_total: String,
    key: String,
    amount: i64,
    currency: String,
    goods: String,
    chosen: Vec<String>,
    cart_version: String,
    book: Vec<Offered>,
    new_address: bool,
    address: Vec<Field>,
    save: bool,
    later: bool,
    number: Field,
    expiry: Field,
    cvc: Field,
    note: String,
    note_error: &'static str,
    coupon: String,
    coupon_error: &'static str,
    lines: Vec<LineView>,
    quote: Sums,
}

/// What a refusal says on the page.
#[derive(Default)]
pub struct Trouble {
    pub text: String,
    /// Where to go with it, empty for nowhere.
    pub href: String,
    pub link: &'static str,
    /// Old total and new one, where it changed.
    pub new_total: String,
}

/// Everything the page shows.
pub struct Shown {
    pub offer: Offer,
    pub chosen: Chosen,
    pub key: String,
}

/// Shows the checkout.
///
/// # Errors
/// The order's and identity's.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let caller = ask.permit("POST", "/store/v1/checkout/quote").await?;
    let chosen = Chosen::read(&ask.query);
    let offer = match ask_both(ask, &caller, &chosen, Vec::new()).await {
        Ok(offer) => offer,
        // The cart's page shows what is the matter.
        Err(error) if says_cart(&error) => return Ok(Answer::to(ask.link("/cart"))),
        Err(error) => return Err(error),
    };
    remember(ask, &chosen, &offer);
    let key = chosen.key(ask, &caller.user_id);
    render(ask, StatusCode::OK, Shown { offer, chosen, key }, Trouble::default(), None)
}

fn says_cart(error: &Error) -> bool {
    matches!(
        error.code.as_ref(),
        "cart_empty"
            | "not_sellable"
            | "sku_unknown"
            | "mixed_currencies"
            | "line_unreadable"
            | "quantity_out_of_range"
    )
}

/// Asks for the quote and the address book, at the same time.
pub async fn ask_both(ask: &Ask, caller: &Caller, chosen: &Chosen, coupon_codes: Vec<String>) -> Result<Offer> {
    let (quote, book) = tokio::join!(ask_quote(ask, caller, chosen, coupon_codes), book(ask, caller));
    let (quote, goods) = quote?;
    Ok(Offer { quote, goods, book: Arc::new(book?) })
}

/// Asks for the quote and what stands for its goods.
///
/// # Errors
/// The order's.
pub async fn ask_quote(
    ask: &Ask,
    caller: &Caller,
    chosen: &Chosen,
    coupon_codes: Vec<String>,
) -> Result<(Arc<Quote>, String)> {
    let mut order = ask.site.peers.order();
    let request = QuoteRequest { lines: chosen.lines()?, coupon_codes, ..QuoteRequest::default() };
    let answer = ask.read(caller, order.quote(request)).await?;
    Ok((Arc::new(answer.quote.unwrap_or_default()), answer.goods))
}

/// Remembers what the page showed, so that a refused order needs no further calls.
pub fn remember(ask: &Ask, chosen: &Chosen, offer: &Offer) {
    if let Some(session) = &ask.session {
        let recall = Recall { at: Instant::now(), chosen: chosen.texts.clone(), lang: ask.lang, offer: offer.clone() };
        *session.recall.lock() = Some(recall);
    }
}

/// Returns what was remembered of this choice; another tab may have shown another since.
pub fn recalled(ask: &Ask, chosen: &Chosen) -> Option<Offer> {
    let recall = ask.session.as_ref().and_then(|session| session.recall.lock().clone())?;
    let is_this = recall.chosen == chosen.texts && recall.lang == ask.lang;
    (recall.at.elapsed() < RECALL && is_this).then_some(recall.offer)
}

/// Writes the page; `error` marks the field it is about.
///
/// # Errors
/// `page_unwritable`.
pub fn render(ask: &Ask, status: StatusCode, shown: Shown, trouble: Trouble, error: Option<&Error>) -> Result<Answer> {
    let form = &ask.form;
    let Offer { quote, goods, book } = shown.offer;
    let is_again = !form.get("_csrf").is_empty();
    let default = book.iter().find(|entry| entry.is_default).or(book.first());
    let asked = form.get("address");
    let chosen_id = if is_again { asked } else { default.map_or("new", |entry| entry.id.as_str()) };
    let new_address = chosen_id == "new" || !book.iter().any(|entry| entry.id == chosen_id);
    let typed = if is_again { address_form::read(form) } else { address_form::empty(ask) };
    let later = form.get("method") == "later";
    let card = Card::new(ask, error.filter(|error| !later && Card::concerns(error)));
    let total = quote.total.clone().unwrap_or_default();
    let page = Page {
        f: Frame::new(ask, ask.t.checkout).at(shown.chosen.page()),
        trouble: trouble.text,
        trouble_href: trouble.href,
        trouble_link: trouble.link,
        new_total: trouble.new_total,
        key: shown.key,
        amount: total.amount,
        currency: total.currency,
        goods,
        chosen: shown.chosen.texts,
        cart_version: shown.chosen.cart_version,
        book: address_form::offered(ask, &book, if new_address { "new" } else { chosen_id }),
        new_address,
        address: address(ask, &typed, error.filter(|_| new_address)),
        save: if is_again { form.get("save") == "1" } else { book.is_empty() },
        later,
        number: card.number,
        expiry: card.expiry,
        cvc: card.cvc,
        note: form.get("note").to_owned(),
        note_error: error.filter(|error| error.code == "note_too_long").map_or("", |_| ask.t.field_too_long),
        coupon: form.get("coupon").to_owned(),
        coupon_error: error
            .filter(|error| error.param.as_deref().is_some_and(|param| param.starts_with("coupon_codes")))
            .map_or("", |_| ask.t.coupon_bad),
        lines: quote.lines.iter().map(line_view).collect(),
        quote: Sums::of_quote(&quote),
    };
    Answer::with(status, &page)
}

fn address(ask: &Ask, typed: &Address, error: Option<&Error>) -> Vec<Field> {
    address_form::fields(ask, typed, error.filter(|error| address_form::concerns(error)))
}
