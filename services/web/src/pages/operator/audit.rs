//! What operators and sellers changed, the latest first.

use http::StatusCode;
use mallard_proto::identity::v1::{AdminListAuditRequest, AdminListAuditResponse, AuditEntry};
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

const PAGE: i32 = 30;

/// Shows a page of the log.
///
/// # Errors
/// `forbidden`, `bad_cursor`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let after = ask.query.get("after");
    let asked = ["actor", "target", "action", "service"].map(|name| (name, ask.query.get(name)));
    let list = match list(ask, after).await {
        Err(error) if error.code == "forbidden" => return Err(error),
        list => Panel::of(list)?,
    };
    let keep = |after: &str| {
        let mut fields = asked.to_vec();
        fields.push(("after", after));
        link(ask, "/operator/audit", &fields)
    };
    let mut more = String::new();
    let body = list.map(|list| {
        if !list.next_cursor.is_empty() {
            more = keep(&list.next_cursor);
        }
        vec![Part::Table(table(ask, &list.entries))]
    });
    let labels = [w.actor, w.target, w.action, w.service];
    let fields = asked.iter().zip(labels).map(|((name, value), label)| Input::line(*name, label, *value).required());
    let mut page = Page::new(shell(ask, w.audit, "/operator/audit"), vec![Block::of("list", w.audit, body)]);
    page.filter = Some(Form {
        action: ask.link("/operator/audit"),
        fields: fields.collect(),
        button: c.show,
        opened: asked.iter().any(|(_, value)| !value.is_empty()),
        ..Form::default()
    });
    page.more = more;
    if !after.is_empty() {
        page.first = keep("");
    }
    page.answer(StatusCode::OK)
}

async fn list(ask: &Ask, after: &str) -> Result<AdminListAuditResponse> {
    let caller = permit(ask, "GET", "/admin/v1/audit", &[]).await?;
    let asked = |name: &str| ask.query.get(name).to_owned();
    let request = AdminListAuditRequest {
        limit: PAGE,
        cursor: after.to_owned(),
        actor: asked("actor"),
        target: asked("target"),
        action: asked("action"),
        service: asked("service"),
    };
    let mut client = ask.site.peers.identity();
    ask.read(&caller, client.admin_list_audit(request)).await
}

fn table(ask: &Ask, entries: &[AuditEntry]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |entry: &AuditEntry| {
        let who = if entry.actor_email.is_empty() { &entry.actor } else { &entry.actor_email };
        let who = match entry.actor.starts_with("usr_") {
            true => Cell::text(who).to(ask.link(&format!("/operator/users/{}", entry.actor))),
            false => Cell::text(who),
        };
        let mut change = Vec::new();
        for (label, json) in [(w.was, &entry.before), (w.became, &entry.after)] {
            if !json.is_empty() {
                change.push(format!("{label}\n{}", indented(json)));
            }
        }
        vec![
            Cell::text(time(ask, &entry.at)).note(format!("#{}", entry.seq)),
            who.note(entry.address.clone()),
            Cell::text(entry.action.clone()).note(entry.service.clone()),
            Cell::code(entry.target.clone()).long(change.join("\n\n")),
        ]
    };
    Table {
        caption: w.audit.to_owned(),
        columns: vec![c.when, c.who, w.action, w.target],
        rows: entries.iter().map(row).collect(),
        empty: w.no_audit,
    }
}

/// Writes JSON for people; text that is none stays.
pub fn indented(json: &str) -> String {
    let value: Result<serde_json::Value, _> = serde_json::from_str(json);
    value.and_then(|value| serde_json::to_string_pretty(&value)).unwrap_or_else(|_| json.to_owned())
}
