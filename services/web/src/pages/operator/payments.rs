//! Payments, newest first, and the accounts of the ledger.

use http::StatusCode;
use mallard_proto::payment::v1::{
    AdminListPaymentsRequest, AdminListPaymentsResponse, LedgerAccount, ListLedgerAccountsRequest,
    ListLedgerAccountsResponse, Payment, PaymentStatus,
};
use mallard_types::{Currency, Money, Result};

use super::shell;
use super::text::Words;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::Input;
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table, time};
use crate::console::{link, permit};
use crate::domain::price;
use crate::view::{is_some, shown};

const PAGE: i32 = 25;
const STATUSES: [&str; 7] =
    ["pending", "authorised", "captured", "cancelled", "failed", "partially_refunded", "refunded"];

/// Shows a page of payments.
///
/// # Errors
/// `forbidden`, `bad_cursor`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let (order, after) = (ask.query.get("order"), ask.query.get("after"));
    let asked = ask.query.get("status");
    let chosen = STATUSES.into_iter().find(|name| *name == asked).unwrap_or_default();
    let (list, books) = tokio::join!(list(ask, chosen, order, after), books(ask));
    let list = match list {
        Err(error) if error.code == "forbidden" => return Err(error),
        list => Panel::of(list)?,
    };
    let keep = |after: &str| link(ask, "/operator/payments", &[("status", chosen), ("order", order), ("after", after)]);
    let mut more = String::new();
    let body = list.map(|list| {
        if !list.next_cursor.is_empty() {
            more = keep(&list.next_cursor);
        }
        vec![Part::Table(table(ask, &list.payments))]
    });
    let books = Panel::of(books)?.map(|books| vec![Part::Table(accounts(w, &books.accounts))]);
    let blocks = vec![Block::of("list", w.payments, body), Block::of("books", w.books, books).text(w.books_text)];
    let choices = std::iter::once((String::new(), c.any.to_owned()))
        .chain(STATUSES.into_iter().map(|name| (name.to_owned(), words(w, name).0.to_owned())));
    let mut page = Page::new(shell(ask, w.payments, "/operator/payments"), blocks);
    page.filter = Some(Form {
        action: ask.link("/operator/payments"),
        fields: vec![
            Input::select("status", c.status, chosen, choices.collect()).required(),
            Input::line("order", w.order_id, order).required(),
        ],
        button: c.show,
        opened: !(chosen.is_empty() && order.is_empty()),
        ..Form::default()
    });
    page.more = more;
    if !after.is_empty() {
        page.first = keep("");
    }
    page.answer(StatusCode::OK)
}

async fn list(ask: &Ask, status: &str, order: &str, after: &str) -> Result<AdminListPaymentsResponse> {
    let caller = permit(ask, "GET", "/admin/v1/payments", &[]).await?;
    let request = AdminListPaymentsRequest {
        status: status.to_owned(),
        order_id: order.to_owned(),
        limit: PAGE,
        cursor: after.to_owned(),
        count: false,
    };
    let mut client = ask.site.console.payment();
    ask.read(&caller, client.admin_list_payments(request)).await
}

async fn books(ask: &Ask) -> Result<ListLedgerAccountsResponse> {
    let caller = permit(ask, "GET", "/admin/v1/ledger/accounts", &[]).await?;
    let mut client = ask.site.console.payment();
    ask.read(&caller, client.list_ledger_accounts(ListLedgerAccountsRequest {})).await
}

fn words(w: &'static Words, status: &str) -> (&'static str, &'static str) {
    match status {
        "authorised" => (w.payment_authorised, "warn"),
        "captured" => (w.payment_captured, "good"),
        "cancelled" => (w.payment_cancelled, "bad"),
        "failed" => (w.payment_failed, "bad"),
        "partially_refunded" => (w.payment_part_refunded, "warn"),
        "refunded" => (w.payment_refunded, "bad"),
        _ => (w.payment_pending, "warn"),
    }
}

/// Puts a method of payment into words; one that a later version adds stays as it is.
fn method<'a>(w: &'static Words, method: &'a str) -> &'a str {
    match method {
        "card" => w.method_card,
        "later" => w.method_later,
        "external" => w.method_external,
        other => other,
    }
}

fn name(status: PaymentStatus) -> &'static str {
    match status {
        PaymentStatus::Pending => "pending",
        PaymentStatus::Authorised => "authorised",
        PaymentStatus::Captured => "captured",
        PaymentStatus::Cancelled => "cancelled",
        PaymentStatus::Failed => "failed",
        PaymentStatus::PartiallyRefunded => "partially_refunded",
        PaymentStatus::Refunded => "refunded",
    }
}

fn table(ask: &Ask, payments: &[Payment]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |payment: &Payment| {
        let (words, tone) = words(w, name(payment.status()));
        let card = payment.card.as_ref().filter(|card| !card.last4.is_empty());
        let card = card.map(|card| format!("{} ···· {}", card.brand, card.last4)).unwrap_or_default();
        let failure = payment.failure.as_ref().map(|failure| failure.code.clone()).unwrap_or_default();
        let refunded = if is_some(&payment.refunded) { shown(&payment.refunded) } else { "–".to_owned() };
        vec![
            Cell::code(payment.id.clone()),
            Cell::text(time(ask, &payment.created_at)),
            Cell::code(payment.order_id.clone()).to(ask.link(&format!("/operator/orders/{}", payment.order_id))),
            Cell::text(method(w, &payment.method)).note(card),
            Cell::state(words, tone).note(failure),
            Cell::number(shown(&payment.amount)),
            Cell::number(refunded),
        ]
    };
    Table {
        caption: w.payments.to_owned(),
        columns: vec![w.payment, c.when, c.order, w.method, c.status, c.amount, w.refunded],
        rows: payments.iter().map(row).collect(),
        empty: w.no_payments,
    }
}

fn accounts(w: &'static Words, accounts: &[LedgerAccount]) -> Table {
    let row = |account: &LedgerAccount| {
        let balance = match Currency::parse(&account.currency) {
            Ok(currency) => price(Money::new(account.balance, currency)),
            Err(_) => format!("{} {}", account.balance, account.currency),
        };
        vec![Cell::code(account.account.clone()), Cell::number(balance)]
    };
    Table {
        caption: w.books.to_owned(),
        columns: vec![w.account, w.balance],
        rows: accounts.iter().map(row).collect(),
        empty: w.no_books,
    }
}
