//! The cart: what is in it, what has become of it, and every change of it.

use std::collections::BTreeMap;

use askama::Template;
use http::StatusCode;
use mallard_proto::cart::v1::{
    AddLineRequest, Cart, CartLine, CartResponse, ClearCartRequest, GetCartRequest, LineState, RemoveLineRequest,
    SetLineRequest,
};
use mallard_proto::catalog::v1::Product;
use mallard_proto::order::v1::ListOrdersRequest;
use mallard_rpc::Caller;
use mallard_types::{Error, Kind, Result};

use super::sign;
use crate::answer::Answer;
use crate::ask::{Ask, route};
use crate::catalogue::title;
use crate::text::fill;
use crate::view::{Frame, Picture, options, picture, picture_at, shown};

struct Line {
    sku: String,
    href: String,
    picture: Picture,
    title: String,
    options: String,
    unit_price: String,
    old_price: String,
    quantity: i64,
    total: String,
    mark: String,
    tone: &'static str,
    /// The way to the shopper's own order that holds it.
    order: String,
    /// It cannot be bought as it is.
    blocked: bool,
    changeable: bool,
}

#[derive(Template)]
#[template(path = "cart.html")]
struct Page {
    f: Frame,
    trouble: String,
    lines: Vec<Line>,
    total: String,
    /// Some lines cannot be bought.
    blocked: bool,
    checkout: String,
}

/// Shows the cart.
///
/// # Errors
/// The cart's and the catalogue's.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let caller = ask.caller().await?;
    let cart = match left_over(ask, &caller).await {
        Some(cart) => cart,
        None => read(ask, &caller).await?,
    };
    let held = held(ask, &caller, &cart).await;
    render_with(ask, cart, &held, StatusCode::OK, "").await
}

/// Units that the shopper's own unpaid orders hold, and the way to the order, by SKU.
type Held = BTreeMap<String, (i64, String)>;

/// Most unpaid orders that are looked through.
const UNPAID_MAX: i32 = 20;

/// Looks what of the goods that are gone the shopper holds: an order that waits for its payment keeps its goods, and they
/// stay in the cart until it is paid. What cannot be learnt is left out.
async fn held(ask: &Ask, caller: &Caller, cart: &Cart) -> Held {
    let is_gone = |line: &CartLine| line.state() == LineState::SoldOut && line.available.unwrap_or_default() == 0;
    if caller.user_id.is_empty() || !cart.lines.iter().any(is_gone) {
        return Held::new();
    }
    let unpaid = async {
        let caller = ask.permit("GET", "/store/v1/orders").await?;
        let request =
            ListOrdersRequest { status: "pending_payment".into(), limit: UNPAID_MAX, ..ListOrdersRequest::default() };
        let mut client = ask.site.peers.order();
        ask.read(&caller, client.list_orders(request)).await
    };
    let unpaid = match unpaid.await {
        Ok(unpaid) => unpaid.orders,
        Err(error) => {
            tracing::debug!(%error, request_id = ask.request_id, "the cart is shown without what is held");
            return Held::new();
        }
    };
    let mut held = Held::new();
    for order in &unpaid {
        for line in &order.lines {
            let way = || (0, ask.link(&format!("/orders/{}", order.id)));
            held.entry(line.sku_id.clone()).or_insert_with(way).0 += line.quantity;
        }
    }
    held
}

/// Merges the guest's cart that a sign-in could not merge.
async fn left_over(ask: &Ask, caller: &Caller) -> Option<Cart> {
    let (session, token) = (ask.session.as_ref()?, ask.cart_token());
    if caller.user_id.is_empty() || token.is_empty() {
        return None;
    }
    let merged = async { sign::merge(ask, &ask.permit("POST", sign::MERGE).await?, session, token).await };
    merged
        .await
        .inspect_err(|error| tracing::warn!(%error, request_id = ask.request_id, "the guest's cart was not merged"))
        .ok()
}

async fn read(ask: &Ask, caller: &Caller) -> Result<Cart> {
    let mut client = ask.site.peers.cart();
    let request = GetCartRequest { cart_token: ask.cart_token() };
    Ok(ask.read(caller, client.get_cart(request)).await?.cart.unwrap_or_default())
}

/// Counts what the cart holds now, for the badge.
pub async fn recount(ask: &Ask, caller: &Caller) {
    match read(ask, caller).await {
        Ok(cart) => ask.note_cart(cart.lines.len()).await,
        Err(error) => tracing::debug!(%error, request_id = ask.request_id, "the cart was not counted"),
    }
}

async fn render(ask: &Ask, cart: Cart, status: StatusCode, trouble: impl Into<String>) -> Result<Answer> {
    render_with(ask, cart, &Held::new(), status, trouble).await
}

async fn render_with(
    ask: &Ask,
    cart: Cart,
    held: &Held,
    status: StatusCode,
    trouble: impl Into<String>,
) -> Result<Answer> {
    ask.note_cart(cart.lines.len()).await;
    let products = ask.public(ask.site.catalogue.batch(product_ids(&cart))).await?;
    let products: BTreeMap<&str, &Product> = products.iter().map(|product| (product.id.as_str(), product)).collect();
    let lines: Vec<Line> = cart.lines.iter().map(|line| line_view(ask, line, &products, held)).collect();
    let mut f = Frame::new(ask, ask.t.cart);
    f.cart_lines = u32::try_from(cart.lines.len()).unwrap_or(u32::MAX);
    let blocked = lines.iter().any(|line| line.blocked);
    let page = Page {
        f,
        trouble: trouble.into(),
        total: shown(&cart.total),
        blocked,
        checkout: checkout_link(ask, &cart),
        lines,
    };
    Answer::with(status, &page)
}

fn product_ids(cart: &Cart) -> Vec<String> {
    let mut ids: Vec<String> =
        cart.lines.iter().map(|line| line.product_id.clone()).filter(|id| !id.is_empty()).collect();
    ids.sort();
    ids.dedup();
    // A cart of a shopper has at most as many lines as one call takes ids.
    ids.truncate(100);
    ids
}

fn is_blocked(line: &CartLine) -> bool {
    matches!(line.state(), LineState::SoldOut | LineState::Delisted)
}

/// The whole cart where it can be bought; else exactly the lines that can be, with the version they were seen in.
fn checkout_link(ask: &Ask, cart: &Cart) -> String {
    let good: Vec<&CartLine> = cart.lines.iter().filter(|line| !is_blocked(line)).collect();
    if good.is_empty() {
        return String::new();
    }
    if good.len() == cart.lines.len() {
        return ask.link("/checkout");
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("cart", &cart.version.to_string());
    for line in good {
        query.append_pair("line", &format!("{}:{}", line.sku_id, line.quantity));
    }
    ask.link(&format!("/checkout?{}", query.finish()))
}

fn line_view(ask: &Ask, line: &CartLine, products: &BTreeMap<&str, &Product>, held: &Held) -> Line {
    let t = ask.t;
    let product = products.get(line.product_id.as_str());
    let title = product.map_or(line.title.as_str(), |product| title(product, ask.lang)).to_owned();
    let shot = match product {
        Some(product) => {
            // The picture of the variant's colour, where the words of a picture name it.
            let named = |value: &String| product.images.iter().position(|image| image.alt.contains(value.as_str()));
            picture(product, line.options.values().find_map(named).unwrap_or(0), &title)
        }
        None => picture_at("", &title),
    };
    let own = held.get(&line.sku_id);
    let (mark, tone) = match line.state() {
        LineState::Ok => (String::new(), ""),
        LineState::PriceChanged => (t.mark_price.to_owned(), "warn"),
        LineState::SoldOut => match line.available.unwrap_or_default() {
            0 => match own {
                Some((units, _)) => (fill(t.mark_held, units), "warn"),
                None => (t.sold_out.to_owned(), "bad"),
            },
            left => (fill(t.mark_sold_out, left), "bad"),
        },
        LineState::Delisted => (t.mark_delisted.to_owned(), "bad"),
    };
    Line {
        sku: line.sku_id.clone(),
        href: product.map(|product| ask.link(&format!("/p/{}?sku={}", product.id, line.sku_id))).unwrap_or_default(),
        picture: shot,
        title,
        options: options(&line.options),
        unit_price: shown(&line.unit_price),
        old_price: if line.state() == LineState::PriceChanged { shown(&line.added_price) } else { String::new() },
        quantity: line.quantity,
        total: if is_blocked(line) { String::new() } else { shown(&line.line_total) },
        order: own.filter(|_| is_blocked(line)).map(|(_, way)| way.clone()).unwrap_or_default(),
        mark,
        tone,
        blocked: is_blocked(line),
        changeable: line.state() != LineState::Delisted,
    }
}

/// Adds units of a SKU; a guest gets a cart with the first.
///
/// # Errors
/// The cart's that are not the visitor's to mend.
pub async fn add(ask: &Ask) -> Result<Answer> {
    let caller = ask.permit("POST", "/store/v1/cart/lines").await?;
    let sku_id = ask.form.get("sku").to_owned();
    let quantity = ask.form.number("quantity").unwrap_or(0);
    let session = ask.open_session().await?;
    // Two first things at once must not make two carts.
    let is_first = caller.user_id.is_empty() && session.stored().kept.cart_token.is_empty();
    let turn = if is_first { Some(session.turn().await) } else { None };
    let cart_token = session.stored().kept.cart_token.clone();
    let request = AddLineRequest { sku_id: sku_id.clone(), quantity, cart_token, if_version: None };
    let mut client = ask.site.peers.cart();
    let answer = match ask.write(&caller, client.add_line(request)).await {
        Ok(answer) => answer,
        Err(error) => return refused(ask, &caller, error).await,
    };
    let lines = answer.cart.as_ref().map_or(0, |cart| cart.lines.len());
    let token = answer.cart_token;
    let change = |kept: &mut crate::store::Kept| {
        kept.cart_lines = u32::try_from(lines).unwrap_or(u32::MAX);
        if !token.is_empty() {
            kept.cart_token.clone_from(&token);
        }
    };
    ask.site.sessions.change(&session, change).await?;
    drop(turn);
    let product = ask.form.get("product");
    if product.is_empty() || super::find(&format!("/p/{product}")).is_none() {
        return Ok(Answer::to(ask.link("/cart")));
    }
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("sku", &sku_id).finish();
    let product: String = form_urlencoded::byte_serialize(product.as_bytes()).collect();
    Ok(Answer::to(ask.link(&format!("/p/{product}?{query}&added=1"))))
}

/// Sets the units of a SKU.
///
/// # Errors
/// The cart's that are not the visitor's to mend.
pub async fn set(ask: &Ask) -> Result<Answer> {
    let sku_id = ask.form.get("sku").to_owned();
    let caller = ask.permit("PUT", &route(&["/store/v1/cart/lines/", &sku_id])).await?;
    let request = SetLineRequest {
        sku_id,
        quantity: ask.form.number("quantity").unwrap_or(0),
        cart_token: ask.cart_token(),
        if_version: None,
    };
    let mut client = ask.site.peers.cart();
    let done = ask.write(&caller, client.set_line(request)).await;
    changed(ask, &caller, done).await
}

/// Removes a SKU.
///
/// # Errors
/// The cart's.
pub async fn remove(ask: &Ask) -> Result<Answer> {
    let sku_id = ask.form.get("sku").to_owned();
    let caller = ask.permit("DELETE", &route(&["/store/v1/cart/lines/", &sku_id])).await?;
    let request = RemoveLineRequest { sku_id, cart_token: ask.cart_token(), if_version: None };
    let mut client = ask.site.peers.cart();
    let done = ask.write(&caller, client.remove_line(request)).await;
    changed(ask, &caller, done).await
}

/// Removes everything.
///
/// # Errors
/// The cart's.
pub async fn clear(ask: &Ask) -> Result<Answer> {
    let caller = ask.permit("DELETE", "/store/v1/cart/lines").await?;
    let request = ClearCartRequest { cart_token: ask.cart_token(), if_version: None };
    let mut client = ask.site.peers.cart();
    let done = ask.write(&caller, client.clear_cart(request)).await;
    changed(ask, &caller, done).await
}

async fn changed(ask: &Ask, caller: &Caller, done: Result<CartResponse>) -> Result<Answer> {
    match done {
        Ok(answer) => {
            ask.note_cart(answer.cart.map_or(0, |cart| cart.lines.len())).await;
            Ok(Answer::to(ask.link("/cart")))
        }
        Err(error) => refused(ask, caller, error).await,
    }
}

/// Shows the cart as it is and why the change was refused.
async fn refused(ask: &Ask, caller: &Caller, error: Error) -> Result<Answer> {
    let trouble = match error.code.as_ref() {
        "quantity_out_of_range" | "amount_overflow" => ask.t.quantity_bad,
        "cart_line_limit" => ask.t.cart_full,
        "not_sellable" | "sku_unknown" => ask.t.not_sellable,
        "mixed_currencies" => ask.t.cart_currency,
        _ => return Err(error),
    };
    let status = match error.kind {
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::NotFound => StatusCode::NOT_FOUND,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    render(ask, read(ask, caller).await?, status, trouble).await
}
