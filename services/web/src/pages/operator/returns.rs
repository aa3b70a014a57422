//! Goods that shoppers wish to give back.

use http::StatusCode;
use mallard_proto::order::v1::{
    AdminApproveReturnRequest, AdminListReturnsRequest, AdminRefuseReturnRequest, ListReturnsResponse, Return,
    ReturnStatus,
};
use mallard_types::{Error, Result};

use super::shell;
use super::text::Words;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::{Input, above, mark, status};
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table, time};
use crate::console::{fresh_key, link, permit, sent_key};
use crate::pages::returns;
use crate::text::fill;
use crate::view::shown;

const PAGE: i32 = 20;

/// Shows the returns, those that wait for an answer unless others are asked for.
///
/// # Errors
/// `forbidden`, `bad_cursor`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    render(ask, StatusCode::OK, None).await
}

async fn render(ask: &Ask, code: StatusCode, refused: Option<(&str, &Error)>) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let statuses = [
        ("requested", w.return_requested),
        ("approved", w.return_approved),
        ("refunded", w.return_refunded),
        ("refused", w.return_refused),
        ("withdrawn", w.return_withdrawn),
    ];
    let asked = ask.query.get("status");
    // Without a filter one sees what is to do.
    let chosen = if asked == "all" {
        "all"
    } else {
        statuses.iter().find(|(name, _)| *name == asked).map_or("requested", |(name, _)| name)
    };
    let after = ask.query.get("after");
    let list = match list(ask, if chosen == "all" { "" } else { chosen }, after).await {
        Err(error) if error.code == "forbidden" => return Err(error),
        list => Panel::of(list)?,
    };
    let mut more = String::new();
    let body = list.map(|list| {
        if !list.next_cursor.is_empty() {
            more = link(ask, "/operator/returns", &[("status", chosen), ("after", &list.next_cursor)]);
        }
        let rows = list.returns.iter().map(|one| row(ask, one, refused)).collect();
        vec![Part::Table(Table {
            caption: w.returns.to_owned(),
            columns: vec![c.order, c.when, w.lines, c.why, c.amount, c.status, w.do_something],
            rows,
            empty: w.no_returns,
        })]
    });
    let mut s = shell(ask, w.returns, "/operator/returns").notice(match ask.query.get("done") {
        "approved" => w.approved_done,
        "refused" => w.refused_done,
        _ => "",
    });
    if let Some((_, error)) = refused {
        s.trouble = above(ask.t, c, error);
    }
    let choices = statuses.iter().map(|(name, label)| ((*name).to_owned(), (*label).to_owned()));
    let choices = choices.chain(std::iter::once(("all".to_owned(), c.any.to_owned()))).collect();
    let mut page = Page::new(s, vec![Block::of("list", w.returns, body)]);
    page.filter = Some(Form {
        action: ask.link("/operator/returns"),
        fields: vec![Input::select("status", c.status, chosen, choices).required()],
        button: c.show,
        ..Form::default()
    });
    page.more = more;
    if !after.is_empty() {
        page.first = link(ask, "/operator/returns", &[("status", chosen)]);
    }
    page.answer(code)
}

async fn list(ask: &Ask, status: &str, after: &str) -> Result<ListReturnsResponse> {
    let caller = permit(ask, "GET", "/admin/v1/returns", &[]).await?;
    let request = AdminListReturnsRequest { status: status.to_owned(), limit: PAGE, cursor: after.to_owned() };
    let mut client = ask.site.peers.order();
    ask.read(&caller, client.admin_list_returns(request)).await
}

fn row(ask: &Ask, one: &Return, refused: Option<(&str, &Error)>) -> Vec<Cell> {
    let w = Words::of(ask.lang);
    let (words, tone) = match one.status() {
        ReturnStatus::Refused if returns::is_closed(one) => (ask.t.return_closed, "good"),
        ReturnStatus::Requested => (w.return_requested, "warn"),
        ReturnStatus::Refused => (w.return_refused, "bad"),
        ReturnStatus::Approved => (w.return_approved, "warn"),
        ReturnStatus::Refunded => (w.return_refunded, "good"),
        ReturnStatus::Withdrawn => (w.return_withdrawn, "bad"),
    };
    let goods: Vec<String> = one.lines.iter().map(|line| format!("{} × {}", line.title, line.quantity)).collect();
    let number = if one.order_number.is_empty() { &one.order_id } else { &one.order_number };
    vec![
        Cell::text(number).to(ask.link(&format!("/operator/orders/{}", one.order_id))),
        Cell::text(time(ask, &one.created_at)),
        Cell::text(goods.join(", ")),
        Cell::text(one.reason.clone()),
        Cell::number(shown(&one.amount)),
        Cell::state(words, tone).note(returns::answer(ask.t, &one.answer)),
        if one.status() == ReturnStatus::Requested { Cell::acts(forms(ask, one, refused)) } else { Cell::text("–") },
    ]
}

fn forms(ask: &Ask, one: &Return, refused: Option<(&str, &Error)>) -> Vec<Form> {
    let w = Words::of(ask.lang);
    let act = |verb: &str| ask.link(&format!("/operator/returns/{}/{verb}", one.id));
    let approve = Form {
        action: act("approve"),
        title: w.approve.into(),
        text: fill(w.approve_text, shown(&one.amount)),
        hidden: vec![("key", fresh_key(ask))],
        button: w.approve,
        folded: true,
        ..Form::default()
    };
    let mut refuse = Form {
        action: act("refuse"),
        title: w.refuse.into(),
        fields: vec![Input { maxlength: 500, ..Input::area("answer", w.answer, "", 3).required() }],
        button: w.refuse,
        danger: true,
        folded: true,
        ..Form::default()
    };
    if let Some((id, error)) = refused
        && id == one.id
        && ask.path.ends_with("/refuse")
    {
        refuse.opened = true;
        ask.form.get("answer").clone_into(&mut refuse.fields[0].value);
        mark(&mut refuse.fields, Common::of(ask.lang), error);
    }
    vec![approve.about(&one.id, &one.order_number), refuse.about(&one.id, &one.order_number)]
}

/// Agrees to a return.
///
/// # Errors
/// The order service's.
pub async fn approve(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/admin/v1/returns/{}/approve", &[id]).await?;
        let request = AdminApproveReturnRequest { id: id.to_owned(), idempotency_key: sent_key(ask) };
        let mut client = ask.site.peers.order();
        ask.write(&caller, client.admin_approve_return(request)).await.map(drop)
    };
    outcome(ask, id, "approved", done.await).await
}

/// Refuses a return, with an answer for the shopper.
///
/// # Errors
/// The order service's.
pub async fn refuse(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/admin/v1/returns/{}/refuse", &[id]).await?;
        let answer = ask.form.get("answer").to_owned();
        if answer.is_empty() {
            return Err(Error::invalid("required", "say why").param("answer"));
        }
        let mut client = ask.site.peers.order();
        let request = AdminRefuseReturnRequest { id: id.to_owned(), answer };
        ask.write(&caller, client.admin_refuse_return(request)).await.map(drop)
    };
    outcome(ask, id, "refused", done.await).await
}

async fn outcome(ask: &Ask, id: &str, word: &str, done: Result<()>) -> Result<Answer> {
    let error = match done {
        Ok(()) => return Ok(Answer::to(ask.link(&format!("/operator/returns?done={word}")))),
        Err(error) => error,
    };
    match status(&error) {
        Some(status) => render(ask, status, Some((id, &error))).await,
        None => Err(error),
    }
}
