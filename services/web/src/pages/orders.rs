//! The shopper's orders, newest first.

use askama::Template;
use mallard_proto::order::v1::{ListOrdersRequest, Order, OrderStatus};
use mallard_types::Result;

use crate::answer::Answer;
use crate::ask::Ask;
use crate::text::Text;
use crate::view::{Frame, Picture, moment, picture_at, shown, stamp};

const PAGE: i32 = 10;
const PICTURES: usize = 4;

struct Row {
    id: String,
    number: String,
    date: String,
    stamp: String,
    status: &'static str,
    tone: &'static str,
    pictures: Vec<Picture>,
    more: usize,
    total: String,
}

#[derive(Template)]
#[template(path = "orders.html")]
struct Page {
    f: Frame,
    trouble: &'static str,
    filters: Vec<(String, &'static str, bool)>,
    orders: Vec<Row>,
    first: String,
    more: String,
}

/// Shows the orders.
///
/// # Errors
/// The order's.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let caller = ask.permit("GET", "/store/v1/orders").await?;
    let t = ask.t;
    let filters = [
        ("", t.all),
        ("pending_payment", t.status_pending),
        ("paid", t.status_paid),
        ("shipped", t.status_shipped),
        ("delivered", t.status_delivered),
        ("cancelled", t.status_cancelled),
        ("refunded", t.status_refunded),
    ];
    let asked = ask.query.get("status");
    let status = filters.iter().find(|(name, _)| *name == asked).map_or("", |(name, _)| name);
    let after = ask.query.get("after");
    let request = ListOrdersRequest { status: status.to_owned(), limit: PAGE, cursor: after.to_owned(), count: false };
    let mut client = ask.site.peers.order();
    let list = ask.read(&caller, client.list_orders(request)).await?;
    let link = |status: &str, after: &str| {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [("status", status), ("after", after)].iter().filter(|(_, value)| !value.is_empty()) {
            query.append_pair(name, value);
        }
        match query.finish() {
            query if query.is_empty() => ask.link("/orders"),
            query => ask.link(&format!("/orders?{query}")),
        }
    };
    let page = Page {
        f: Frame::new(ask, t.orders),
        // Where a checkout's form leads that was used for another order.
        trouble: if ask.query.get("done") == "used" { t.form_used } else { "" },
        filters: filters.into_iter().map(|(name, label)| (link(name, ""), label, name == status)).collect(),
        orders: list.orders.iter().map(|order| row(ask, order)).collect(),
        first: if after.is_empty() { String::new() } else { link(status, "") },
        more: if list.next_cursor.is_empty() { String::new() } else { link(status, &list.next_cursor) },
    };
    Answer::page(&page)
}

fn row(ask: &Ask, order: &Order) -> Row {
    let at = order.created_at.as_ref().map(|at| at.micros()).unwrap_or_default();
    let (status, tone) = status(ask.t, order.status());
    Row {
        id: order.id.clone(),
        number: order.number.clone(),
        date: moment(at, ask.lang),
        stamp: stamp(at),
        status,
        tone,
        pictures: order.lines.iter().take(PICTURES).map(|line| picture_at(&line.image_url, &line.title)).collect(),
        more: order.lines.len().saturating_sub(PICTURES),
        total: shown(&order.total),
    }
}

/// Returns a status in words, and whether it is good, waiting or bad.
pub fn status(t: &'static Text, status: OrderStatus) -> (&'static str, &'static str) {
    match status {
        OrderStatus::PendingPayment => (t.status_pending, "warn"),
        OrderStatus::Paid => (t.status_paid, "good"),
        OrderStatus::PartiallyShipped => (t.status_partly_shipped, "good"),
        OrderStatus::Shipped => (t.status_shipped, "good"),
        OrderStatus::Delivered => (t.status_delivered, "good"),
        OrderStatus::Completed => (t.status_completed, "good"),
        OrderStatus::Cancelled => (t.status_cancelled, "bad"),
        OrderStatus::Refunding => (t.status_refunding, "warn"),
        OrderStatus::Refunded => (t.status_refunded, "bad"),
    }
}
