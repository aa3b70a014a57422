//! Paid orders with goods of the seller's, and how they go out.

use http::StatusCode;
use mallard_proto::order::v1::{GetOrderRequest, Order, OrderStatus, SellerListOrdersRequest};
use mallard_types::{Error, Result};

use super::text::Words;
use super::{permit, shell};
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::{Input, mark, status};
use crate::console::link;
use crate::console::panel::Panel;
use crate::console::shipping::{self, at_line, parcel, unsent};
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table, time};
use crate::pages::address_form::written;
use crate::pages::orders;
use crate::view::{options, picture_at};

const PAGE: i32 = 20;

/// Shows the orders that wait to be shipped, or all that were paid.
///
/// # Errors
/// `forbidden`, `bad_cursor`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let caller = permit(ask, "GET", "/seller/v1/orders", &[]).await?;
    let (which, after) = (ask.query.get("which"), ask.query.get("after"));
    let to_ship = which != "all";
    let request = SellerListOrdersRequest { to_ship, limit: PAGE, cursor: after.to_owned() };
    let mut client = ask.site.peers.order();
    let list = Panel::of(ask.read(&caller, client.seller_list_orders(request)).await)?;
    let mut more = String::new();
    let body = list.map(|list| {
        if !list.next_cursor.is_empty() {
            more = link(ask, "/seller/orders", &[("which", which), ("after", &list.next_cursor)]);
        }
        vec![Part::Table(table(ask, &list.orders, if to_ship { w.no_orders } else { w.no_orders_at_all }))]
    });
    let s = shell(ask, w.orders, "/seller/orders");
    let subs = [("/seller/orders", w.to_ship), ("/seller/orders?which=all", w.all_paid)];
    let s = s.subs(ask, &subs, subs[usize::from(!to_ship)].0);
    let mut page = Page::new(s, vec![Block::of("list", w.orders, body)]);
    page.more = more;
    if !after.is_empty() {
        page.first = link(ask, "/seller/orders", &[("which", which)]);
    }
    page.answer(StatusCode::OK)
}

/// Shows orders as rows.
pub fn table(ask: &Ask, list: &[Order], empty: &'static str) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |order: &Order| {
        let (words, tone) = orders::status(ask.t, order.status());
        let goods: Vec<String> = order.lines.iter().map(|line| format!("{} × {}", line.title, line.quantity)).collect();
        let left: i64 = order.lines.iter().map(unsent).sum();
        vec![
            Cell::text(order.number.clone()).to(ask.link(&format!("/seller/orders/{}", order.id))),
            Cell::text(time(ask, &order.created_at)),
            Cell::text(goods.join(", ")),
            Cell::number(left),
            Cell::state(words, tone),
        ]
    };
    Table {
        caption: w.orders.to_owned(),
        columns: vec![c.order, c.when, w.goods, w.left_to_ship, c.status],
        rows: list.iter().map(row).collect(),
        empty,
    }
}

/// Shows the seller's part of an order.
///
/// # Errors
/// `order_not_found`, `forbidden`.
pub async fn one(ask: &Ask, id: &str) -> Result<Answer> {
    render(ask, id, StatusCode::OK, None).await
}

async fn render(ask: &Ask, id: &str, code: StatusCode, refused: Option<&Error>) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let caller = permit(ask, "GET", "/seller/v1/orders/{}", &[id]).await?;
    let mut client = ask.site.peers.order();
    let found = ask.read(&caller, client.seller_get_order(GetOrderRequest { id: id.to_owned() })).await?;
    let order = found.order.ok_or_else(|| Error::not_found("order_not_found", "there is no such order"))?;
    let (words, tone) = orders::status(ask.t, order.status());
    let to = order.address.clone().unwrap_or_default();
    let mut s = shell(ask, format!("{} {}", c.order, order.number), "/seller/orders");
    if ask.query.get("done") == "shipped" {
        s.f.notice = c.shipped_done;
    }
    if let Some(error) = refused {
        s.trouble = shipping::above(ask.t, c, error);
    }
    let mut to_facts = vec![
        (w.goes_to, Cell::text(format!("{} {}", to.name, to.phone)).note(written(&to, ask.lang))),
        (c.when, Cell::text(time(ask, &order.created_at))),
    ];
    if !order.note.is_empty() {
        to_facts.push((w.note, Cell::text(order.note.clone())));
    }
    let blocks = vec![
        Block::new("goods", w.goods, vec![Part::Table(goods(ask, &order))]),
        Block::new("to", c.details, vec![Part::Facts(to_facts)]),
        Block::new("ship", c.ship, vec![ship_part(ask, &order, refused)]).aside(),
    ];
    let mut page = Page::new(s, blocks);
    page.state = Some((words.to_owned(), tone));
    page.back = Some((ask.link("/seller/orders"), w.orders.to_owned()));
    page.answer(code)
}

fn goods(ask: &Ask, order: &Order) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let rows = order.lines.iter().map(|line| {
        let shot = Some(picture_at(&line.image_url, ""));
        vec![
            Cell { picture: shot, ..Cell::text(line.title.clone()).note(options(&line.options)) },
            Cell::code(line.code.clone()),
            Cell::number(line.quantity),
            Cell::number(line.shipped),
            Cell::number(unsent(line)),
        ]
    });
    Table {
        caption: w.goods.to_owned(),
        columns: vec![c.product, w.code, c.quantity, w.shipped, w.left_to_ship],
        rows: rows.collect(),
        empty: w.no_orders,
    }
}

fn ship_part(ask: &Ask, order: &Order, refused: Option<&Error>) -> Part {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let lines = shipping::fields(c, order);
    if lines.is_empty() {
        return match order.lines.iter().any(|line| line.shipped > 0) {
            true => Part::Note("good", w.all_shipped.to_owned()),
            // All of it was given back before it was sent.
            false => Part::Note("warn", w.none_to_ship.to_owned()),
        };
    }
    if !matches!(order.status(), OrderStatus::Paid | OrderStatus::PartiallyShipped) {
        return Part::Note("warn", w.not_to_ship.to_owned());
    }
    let mut fields = vec![
        Input { maxlength: 100, ..Input::line("carrier", c.carrier, "").required() },
        Input { maxlength: 100, ..Input::line("tracking_number", c.tracking_number, "").required() },
    ];
    fields.extend(lines);
    let mut form = Form {
        action: ask.link(&format!("/seller/orders/{}/ship", order.id)),
        text: c.ship_text.into(),
        fields,
        hidden: vec![("version", order.version.to_string())],
        button: c.ship,
        ..Form::default()
    };
    if let Some(error) = refused {
        for field in &mut form.fields {
            field.value = ask.form.get(&field.name).to_owned();
        }
        mark(&mut form.fields, c, error);
        if error.code == super::product::STALE {
            form.reload = ask.link(&format!("/seller/orders/{}", order.id));
        }
        // Of an outcome nobody knows the form must not count again, either.
        if error.code == super::product::STALE || error.is_retryable() {
            form.hidden = vec![("version", ask.form.get("version").to_owned())];
        }
    }
    Part::Form(Box::new(form))
}

/// Ships what is named of each line.
///
/// # Errors
/// `order_not_found`, `forbidden`.
pub async fn ship(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/seller/v1/orders/{}/ship", &[id]).await?;
        let request = parcel(&ask.form, id)?;
        let mut client = ask.site.peers.order();
        ask.write(&caller, client.seller_ship_order(request)).await.map(drop).map_err(|error| at_line(error, "ship."))
    };
    match done.await {
        Ok(()) => Ok(Answer::to(ask.link(&format!("/seller/orders/{id}?done=shipped")))),
        Err(error) => match status(&error) {
            Some(status) => render(ask, id, status, Some(&error)).await,
            None => Err(error),
        },
    }
}
