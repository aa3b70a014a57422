//! All orders, newest first.

use http::StatusCode;
use mallard_proto::order::v1::{AdminListOrdersRequest, Order};
use mallard_types::Result;

use super::shell;
use super::text::Words;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::Input;
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table, time};
use crate::console::{link, permit};
use crate::pages::orders::status;
use crate::text::Text;
use crate::view::{is_some, shown};

const PAGE: i32 = 25;

/// Shows a page of orders.
///
/// # Errors
/// `forbidden`, `bad_cursor`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let caller = permit(ask, "GET", "/admin/v1/orders", &[]).await?;
    let statuses = statuses(ask.t);
    let asked = ask.query.get("status");
    let chosen = statuses.iter().find(|(name, _)| *name == asked).map_or("", |(name, _)| name);
    let (number, user, after) = (ask.query.get("number"), ask.query.get("user"), ask.query.get("after"));
    let request = AdminListOrdersRequest {
        status: chosen.to_owned(),
        user_id: user.to_owned(),
        number: number.to_owned(),
        limit: PAGE,
        cursor: after.to_owned(),
        count: false,
    };
    let mut client = ask.site.peers.order();
    let list = Panel::of(ask.read(&caller, client.admin_list_orders(request)).await)?;
    let keep = |after: &str| {
        link(ask, "/operator/orders", &[("status", chosen), ("number", number), ("user", user), ("after", after)])
    };
    let mut more = String::new();
    let body = list.map(|list| {
        if !list.next_cursor.is_empty() {
            more = keep(&list.next_cursor);
        }
        vec![Part::Table(table(ask, &list.orders))]
    });
    let choices = std::iter::once((String::new(), c.any.to_owned()))
        .chain(statuses.iter().map(|(name, label)| ((*name).to_owned(), (*label).to_owned())));
    let mut page = Page::new(shell(ask, c.orders, "/operator/orders"), vec![Block::of("list", w.all_orders, body)]);
    page.filter = Some(Form {
        action: ask.link("/operator/orders"),
        fields: vec![
            Input::select("status", c.status, chosen, choices.collect()).required(),
            Input::line("number", w.number, number).required(),
            Input::line("user", w.user_id, user).required(),
        ],
        button: c.show,
        opened: !(chosen.is_empty() && number.is_empty() && user.is_empty()),
        ..Form::default()
    });
    page.more = more;
    if !after.is_empty() {
        page.first = keep("");
    }
    page.answer(StatusCode::OK)
}

fn statuses(t: &'static Text) -> [(&'static str, &'static str); 8] {
    [
        ("pending_payment", t.status_pending),
        ("paid", t.status_paid),
        ("partially_shipped", t.status_partly_shipped),
        ("shipped", t.status_shipped),
        ("delivered", t.status_delivered),
        ("cancelled", t.status_cancelled),
        ("refunding", t.status_refunding),
        ("refunded", t.status_refunded),
    ]
}

/// Shows orders as rows.
pub fn table(ask: &Ask, orders: &[Order]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |order: &Order| {
        let (words, tone) = status(ask.t, order.status());
        let number = if order.number.is_empty() { order.id.clone() } else { order.number.clone() };
        let mut total = Cell::number(shown(&order.total));
        if is_some(&order.refunded) {
            total = total.note(format!("−{}", shown(&order.refunded)));
        }
        let goods: Vec<&str> = order.lines.iter().map(|line| line.title.as_str()).take(2).collect();
        let rest = order.lines.len().saturating_sub(goods.len());
        let goods = if rest > 0 { format!("{} +{rest}", goods.join(", ")) } else { goods.join(", ") };
        vec![
            Cell::text(number).to(ask.link(&format!("/operator/orders/{}", order.id))),
            Cell::text(time(ask, &order.created_at)),
            Cell::state(words, tone),
            Cell::text(goods),
            total,
        ]
    };
    Table {
        caption: c.orders.to_owned(),
        columns: vec![w.number, w.placed_at, c.status, w.lines, c.total],
        rows: orders.iter().map(row).collect(),
        empty: w.no_orders,
    }
}
