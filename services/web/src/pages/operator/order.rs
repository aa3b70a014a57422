//! One order, with everything an operator can do about it.

use http::StatusCode;
use mallard_proto::order::v1::{
    GetOrderRequest, ListOrderEventsRequest, ListOrderEventsResponse, Order, OrderEvent, OrderStatus,
};
use mallard_types::{Error, Result};

use super::shell;
use super::text::Words;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::{Input, mark};
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table, time};
use crate::console::{confirm, fresh_key, look_again, permit, shipping};
use crate::pages::address_form::written;
use crate::pages::orders::status;
use crate::pages::returns;
use crate::text::fill;
use crate::view::{is_some, options, shown};

/// A form that was refused: which, and why.
pub struct Refused<'a> {
    /// Last part of its path.
    pub verb: &'static str,
    pub error: &'a Error,
}

/// Shows an order.
///
/// # Errors
/// `order_not_found`, `forbidden`.
pub async fn show(ask: &Ask, id: &str) -> Result<Answer> {
    render(ask, id, StatusCode::OK, None).await
}

/// Shows an order, after a form was refused with what was typed in it.
///
/// # Errors
/// `order_not_found`, `forbidden`.
pub async fn render(ask: &Ask, id: &str, code: StatusCode, refused: Option<Refused<'_>>) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    // A form that brought the password has asked once more already: its history is left for the next look.
    let is_short = refused.is_some() && confirm::brings_password(ask);
    let (order, events) =
        tokio::join!(order_of(ask, id), async { if is_short { None } else { Some(events_of(ask, id).await) } });
    let order = order?;
    let events = match events {
        Some(events) => Panel::of(events)?.map(|events| vec![Part::Table(history(ask, &events.events))]),
        None => Panel::Ready(vec![look_again(ask, format!("/operator/orders/{id}"))]),
    };
    let (words, tone) = status(ask.t, order.status());
    let mut s = shell(ask, format!("{} {}", c.order, order.number), "/operator/orders");
    s.f.notice = match ask.query.get("done") {
        "shipped" => c.shipped_done,
        "delivered" => w.delivered_done,
        "cancelled" => w.cancelled_done,
        "refund" => w.refund_done,
        _ => "",
    };
    let forms = forms(ask, &order, refused.as_ref());
    if let Some(refused) = &refused {
        s.trouble = shipping::above(ask.t, c, refused.error);
    }
    let actions = if forms.is_empty() { vec![Part::Note("", w.no_actions.to_owned())] } else { forms };
    let blocks = vec![
        Block::new("goods", w.lines, vec![Part::Table(goods(ask, &order))]),
        Block::of("history", w.history, events),
        Block::new("actions", w.do_something, actions).aside(),
        Block::new("facts", c.details, vec![Part::Facts(facts(ask, &order))]).aside(),
    ];
    let mut page = Page::new(s, blocks);
    page.state = Some((words.to_owned(), tone));
    page.back = Some((ask.link("/operator/orders"), c.orders.to_owned()));
    page.answer(code)
}

async fn order_of(ask: &Ask, id: &str) -> Result<Order> {
    let caller = permit(ask, "GET", "/admin/v1/orders/{}", &[id]).await?;
    let mut client = ask.site.peers.order();
    let answer = ask.read(&caller, client.admin_get_order(GetOrderRequest { id: id.to_owned() })).await?;
    answer.order.ok_or_else(|| Error::not_found("order_not_found", "there is no such order"))
}

async fn events_of(ask: &Ask, id: &str) -> Result<ListOrderEventsResponse> {
    let caller = permit(ask, "GET", "/admin/v1/orders/{}/events", &[id]).await?;
    let mut client = ask.site.peers.order();
    ask.read(&caller, client.admin_list_order_events(ListOrderEventsRequest { id: id.to_owned() })).await
}

fn goods(ask: &Ask, order: &Order) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let rows = order.lines.iter().map(|line| {
        let title = Cell::text(line.title.clone()).note(options(&line.options));
        vec![
            title,
            Cell::number(shown(&line.unit_price)),
            Cell::number(line.quantity),
            Cell::number(line.shipped),
            Cell::number(line.returned),
            Cell::number(shown(&line.line_total)),
        ]
    });
    Table {
        caption: w.lines.to_owned(),
        columns: vec![c.product, w.price, c.quantity, w.shipped, w.returned, c.total],
        rows: rows.collect(),
        empty: c.none,
    }
}

fn facts(ask: &Ask, order: &Order) -> Vec<(&'static str, Cell)> {
    let (w, c, t) = (Words::of(ask.lang), Common::of(ask.lang), ask.t);
    let to = order.address.clone().unwrap_or_default();
    let mut facts = vec![
        (w.placed_at, Cell::text(time(ask, &order.created_at))),
        (w.user, Cell::code(order.user_id.clone()).to(ask.link(&format!("/operator/users/{}", order.user_id)))),
        (w.address, Cell::text(format!("{} {}", to.name, to.phone)).note(written(&to, ask.lang))),
        (t.subtotal, Cell::number(shown(&order.subtotal))),
    ];
    for (label, amount) in [(t.discount, &order.discount), (t.shipping, &order.shipping), (t.tax, &order.tax)] {
        if is_some(amount) {
            facts.push((label, Cell::number(shown(amount))));
        }
    }
    facts.push((c.total, Cell::number(shown(&order.total))));
    if is_some(&order.refunded) {
        facts.push((w.refunded, Cell::number(shown(&order.refunded))));
    }
    if !order.payment_id.is_empty() {
        let payments = crate::console::link(ask, "/operator/payments", &[("order", &order.id)]);
        facts.push((w.payment, Cell::code(order.payment_id.clone()).to(payments)));
    }
    if !order.note.is_empty() {
        facts.push((w.note, Cell::text(order.note.clone())));
    }
    facts.push((w.order_id, Cell::code(order.id.clone())));
    facts
}

fn history(ask: &Ask, events: &[OrderEvent]) -> Table {
    let (w, c, t) = (Words::of(ask.lang), Common::of(ask.lang), ask.t);
    let row = |event: &OrderEvent| {
        let data = event.data.clone().unwrap_or_default();
        let name = match event.r#type.as_str() {
            "placed" => t.event_placed,
            "paid" => t.event_paid,
            "payment_failed" => t.event_payment_failed,
            "cancelled" => t.event_cancelled,
            "address_changed" => t.event_address_changed,
            "shipped" => t.event_shipped,
            "delivered" => t.event_delivered,
            "return_requested" => t.event_return_requested,
            "return_refused" => returns::end(t, &data.reason).0,
            "refund_requested" => t.event_refund_requested,
            "refund_refused" => t.event_refund_refused,
            "refunded" => t.event_refunded,
            other => other,
        };
        let mut more = Vec::new();
        if is_some(&data.amount) {
            more.push(shown(&data.amount));
        }
        if !data.tracking_number.is_empty() {
            more.push(format!("{} {}", data.carrier, data.tracking_number));
        }
        if !data.reason.is_empty() {
            more.push(returns::answer(t, &data.reason));
        }
        let by = match event.by.as_str() {
            "system" => Cell::text(w.by_system),
            "operator" => Cell::text(w.by_operator),
            "seller" => Cell::text(w.by_seller),
            by if by.starts_with("usr_") => Cell::code(by).to(ask.link(&format!("/operator/users/{by}"))),
            by => Cell::text(by),
        };
        vec![Cell::text(time(ask, &event.at)), Cell::text(name).note(more.join(" · ")), by]
    };
    Table {
        caption: w.history.to_owned(),
        columns: vec![c.when, c.what, c.who],
        rows: events.iter().rev().map(row).collect(),
        empty: w.nothing_happened,
    }
}

/// What can be done in the order's state.
fn forms(ask: &Ask, order: &Order, refused: Option<&Refused>) -> Vec<Part> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    use OrderStatus::{Completed, Delivered, Paid, PartiallyShipped, PendingPayment, Shipped};
    let at = |states: &[OrderStatus]| states.contains(&order.status());
    let mut forms = Vec::new();
    if at(&[Paid, PartiallyShipped]) {
        let mut fields = vec![
            Input::line("carrier", c.carrier, "").required(),
            Input::line("tracking_number", c.tracking_number, "").required(),
        ];
        fields.extend(shipping::fields(c, order));
        forms.push(Form {
            title: c.ship.into(),
            text: c.ship_text.into(),
            fields,
            button: c.ship,
            ..form(ask, order, "ship")
        });
    }
    if at(&[Shipped]) {
        let text = w.deliver_text.into();
        forms.push(Form { title: w.deliver.into(), text, button: w.deliver, ..form(ask, order, "deliver") });
    }
    if at(&[PendingPayment]) {
        let fields = vec![Input::line("reason", c.why, "")];
        let (title, text) = (w.cancel.into(), w.cancel_text.into());
        forms.push(Form { title, text, fields, button: w.cancel, danger: true, ..form(ask, order, "cancel") });
    }
    if at(&[Paid, PartiallyShipped, Shipped, Delivered, Completed]) {
        let mut fields = vec![
            Input::line("amount", format!("{} ({})", w.refund_amount, currency(order)), "").digits(),
            Input::line("reason", c.why, "").required(),
        ];
        for line in order.lines.iter().filter(|line| line.quantity > line.returned) {
            let label = fill(w.back_to_stock, format!("{} {}", line.title, options(&line.options)));
            fields.push(Input {
                inputmode: "numeric",
                maxlength: 6,
                ..Input::line(format!("back.{}", line.sku_id), label, "")
            });
        }
        // Where some are on their way and some are not, only who asks knows which ones it is about.
        if order.lines.iter().any(|line| line.shipped > line.returned_sent && shipping::unsent(line) > 0) {
            let choices = vec![(String::new(), w.back_unsent.into()), ("sent".into(), w.back_sent.into())];
            fields.push(Input::select("units", w.back_units, "", choices));
        }
        let (title, text) = (w.refund.into(), w.refund_text.into());
        forms.push(Form { title, text, fields, button: w.refund, danger: true, ..form(ask, order, "refund") });
        if let Some(refund) = forms.last_mut() {
            refund.hidden.push(("currency", currency(order)));
        }
    }
    if let Some(refused) = refused {
        for form in forms.iter_mut().filter(|form| form.action.ends_with(refused.verb)) {
            again(ask, order, form, refused.error);
        }
    }
    forms.into_iter().map(|form| Part::Form(Box::new(form))).collect()
}

fn currency(order: &Order) -> String {
    order.total.as_ref().map(|total| total.currency.clone()).unwrap_or_default()
}

fn form(ask: &Ask, order: &Order, verb: &str) -> Form {
    Form {
        action: ask.link(&format!("/operator/orders/{}/{verb}", order.id)),
        hidden: vec![("version", order.version.to_string()), ("key", fresh_key(ask))],
        folded: true,
        ..Form::default()
    }
}

/// Shows a form again as it was sent, with what was wrong.
fn again(ask: &Ask, order: &Order, form: &mut Form, error: &Error) {
    form.opened = true;
    for field in &mut form.fields {
        field.value = ask.form.get(&field.name).to_owned();
    }
    mark(&mut form.fields, Common::of(ask.lang), error);
    if error.code == "version_mismatch" {
        form.reload = ask.link(&format!("/operator/orders/{}", order.id));
    }
    // Nobody knows what became of it: the same key, and what it was sent for, come back.
    if error.is_retryable() {
        for (name, value) in form.hidden.iter_mut().filter(|(name, _)| matches!(*name, "version" | "key")) {
            *value = ask.form.get(name).to_owned();
        }
    }
}
