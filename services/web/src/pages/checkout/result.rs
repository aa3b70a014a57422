//! What became of the order.

use askama::Template;
use mallard_proto::order::v1::{GetOrderRequest, OrderStatus};
use mallard_types::Result;

use crate::answer::Answer;
use crate::ask::{Ask, route};
use crate::text::fill;
use crate::view::{Frame, moment, shown};

#[derive(Template)]
#[template(path = "result.html")]
struct Page {
    f: Frame,
    id: String,
    number: String,
    total: String,
    heading: &'static str,
    text: String,
    tone: &'static str,
    /// The page asks again by itself.
    waiting: bool,
    payable: bool,
}

/// Shows the result; without such an order of the shopper's there is no page.
///
/// # Errors
/// `order_not_found`; the order's.
pub async fn result(ask: &Ask, id: &str) -> Result<Answer> {
    let caller = ask.permit("GET", &route(&["/store/v1/orders/", id])).await?;
    let mut client = ask.site.peers.order();
    let order = ask.read(&caller, client.get_order(GetOrderRequest { id: id.to_owned() })).await?.order;
    let order = order.unwrap_or_default();
    let t = ask.t;
    let until = order.expires_at.as_ref().map(|at| moment(at.micros(), ask.lang)).unwrap_or_default();
    let is_pending = order.status() == OrderStatus::PendingPayment;
    // A card was charged and nobody knows yet with what result: the link that led here says how it was paid.
    let waiting = is_pending && ask.query.get("by") == "card";
    let (heading, text, tone) = match order.status() {
        OrderStatus::PendingPayment if waiting => (t.result_asking, t.result_asking_text.to_owned(), "warn"),
        OrderStatus::PendingPayment => (t.result_waiting, fill(t.result_waiting_text, until), "warn"),
        OrderStatus::Cancelled => (t.result_cancelled, t.result_cancelled_text.to_owned(), "bad"),
        _ => (t.result_paid, t.result_paid_text.to_owned(), "good"),
    };
    let page = Page {
        f: Frame::new(ask, heading),
        id: order.id,
        number: order.number,
        total: shown(&order.total),
        heading,
        text,
        tone,
        waiting,
        payable: is_pending && !waiting,
    };
    Answer::page(&page)
}
