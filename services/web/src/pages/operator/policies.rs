//! The rules of who may do what: listed, made, deleted, and asked why.

use http::StatusCode;
use mallard_proto::identity::v1::{
    AdminCreatePolicyRequest, AdminDeletePolicyRequest, AdminExplainAccessRequest, AdminExplainAccessResponse,
    AdminListPoliciesRequest, AdminListPoliciesResponse, Policy,
};
use mallard_types::{Error, Kind, Result};

use super::access_shell;
use super::text::Words;
use super::user::names;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::{Input, above, mark, say, status};
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table};
use crate::console::{permit, settle};
use crate::text::fill;

const TEXT_CHARS_MAX: u32 = 500;

/// Shows the rules.
///
/// # Errors
/// `forbidden`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    render(ask, StatusCode::OK, None).await
}

async fn render(ask: &Ask, code: StatusCode, refused: Option<&Error>) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let wants_reason = !ask.query.get("path").is_empty();
    let (list, reason) =
        tokio::join!(list(ask), async { if wants_reason { Some(explained(ask).await) } else { None } });
    let list = match list {
        Err(error) if error.code == "forbidden" => return Err(error),
        list => Panel::of(list)?,
    };
    let body = list.map(|list| vec![Part::Table(table(ask, &list.policies))]);
    let mut s = access_shell(ask, w.policies, "/operator/policies").notice(match ask.query.get("done") {
        "created" => w.policy_created,
        "deleted" => w.policy_deleted,
        _ => "",
    });
    let mut create = create_form(ask);
    if let Some(error) = refused {
        s.trouble = above(ask.t, c, error);
        for field in &mut create.fields {
            field.value = ask.form.get(&field.name).to_owned();
        }
        mark(&mut create.fields, c, error);
    }
    let mut explain = vec![Part::Form(Box::new(explain_form(ask)))];
    match reason {
        None => {}
        Some(Ok(reason)) => explain.insert(0, verdict(w, &reason)),
        Some(Err(error)) if status(&error).is_some() => explain.insert(0, Part::Note("bad", say(c, &error).to_owned())),
        // Who may read the rules but not ask for reasons still reads them.
        Some(Err(error)) if error.kind == Kind::Forbidden && error.code != "account_banned" => {
            explain = vec![Part::Note("bad", c.refused_panel_text.to_owned())];
        }
        Some(Err(error)) => return Err(error),
    }
    let blocks = vec![
        Block::of("list", w.policies, body),
        Block::new("explain", w.explain, explain).text(w.explain_text).aside(),
        Block::new("create", w.policy_new, vec![Part::Form(Box::new(create))]).text(w.policy_new_text).aside(),
    ];
    Page::new(s, blocks).answer(code)
}

async fn list(ask: &Ask) -> Result<AdminListPoliciesResponse> {
    let caller = permit(ask, "GET", "/admin/v1/policies", &[]).await?;
    let mut client = ask.site.peers.identity();
    ask.read(&caller, client.admin_list_policies(AdminListPoliciesRequest::default())).await
}

async fn explained(ask: &Ask) -> Result<AdminExplainAccessResponse> {
    let caller = permit(ask, "POST", "/admin/v1/access/explain", &[]).await?;
    let request = AdminExplainAccessRequest {
        roles: names(ask.query.get("roles")),
        domain: ask.query.get("domain").to_owned(),
        path: ask.query.get("path").to_owned(),
        method: ask.query.get("method").to_owned(),
    };
    let mut client = ask.site.peers.identity();
    ask.read(&caller, client.admin_explain_access(request)).await
}

fn verdict(w: &'static Words, reason: &AdminExplainAccessResponse) -> Part {
    let why = match &reason.policy {
        Some(policy) => {
            fill(w.explain_by, format!("{} {} {} ({})", policy.effect, policy.method, policy.path, policy.role))
        }
        None => w.explain_no_rule.to_owned(),
    };
    let (word, tone) = if reason.allowed { (w.explain_allowed, "good") } else { (w.explain_denied, "bad") };
    Part::Note(tone, format!("{word}: {why}"))
}

fn table(ask: &Ask, policies: &[Policy]) -> Table {
    let w = Words::of(ask.lang);
    let row = |policy: &Policy| {
        let delete = Form {
            action: ask.link(&format!("/operator/policies/{}/delete", policy.id)),
            title: w.delete.into(),
            text: w.delete_text.into(),
            button: w.delete,
            danger: true,
            folded: true,
            ..Form::default()
        };
        let (effect, tone) = if policy.effect == "deny" { (w.deny, "bad") } else { (w.allow, "good") };
        let about = format!("{} {}", policy.role, policy.path);
        vec![
            Cell::text(policy.role.clone()).note(if policy.domain == "*" {
                String::new()
            } else {
                policy.domain.clone()
            }),
            Cell::state(effect, tone),
            Cell::code(policy.method.clone()),
            Cell::code(policy.path.clone()).note(policy.note.clone()),
            Cell::acts(vec![delete.about(&policy.id, about)]),
        ]
    };
    Table {
        caption: w.policies.to_owned(),
        columns: vec![w.role, w.effect, w.verbs, w.path, w.do_something],
        rows: policies.iter().map(row).collect(),
        empty: w.no_policies,
    }
}

fn create_form(ask: &Ask) -> Form {
    let w = Words::of(ask.lang);
    let effects = vec![("allow".to_owned(), w.allow.to_owned()), ("deny".to_owned(), w.deny.to_owned())];
    Form {
        action: ask.link("/operator/policies"),
        fields: vec![
            Input::line("role", w.role, "").required(),
            Input::select("effect", w.effect, "allow", effects).required(),
            Input { maxlength: TEXT_CHARS_MAX, ..Input::line("path", w.path, "").required().hint(w.policy_path_hint) },
            Input::line("method", w.verbs, "*").required().hint(w.policy_verbs_hint),
            Input::line("domain", w.domain, "*").required().hint(w.policy_domain_hint),
            Input { maxlength: TEXT_CHARS_MAX, ..Input::line("note", w.rule_note, "") },
        ],
        button: w.create,
        ..Form::default()
    }
}

fn explain_form(ask: &Ask) -> Form {
    let w = Words::of(ask.lang);
    let asked = |name: &str| ask.query.get(name).to_owned();
    let method = if asked("method").is_empty() { "GET".to_owned() } else { asked("method") };
    let fields = vec![
        Input { maxlength: TEXT_CHARS_MAX, ..Input::line("path", w.path, asked("path")).required() },
        Input::line("method", w.verbs, method).required(),
        Input::line("roles", w.roles, asked("roles")),
        Input::line("domain", w.domain, asked("domain")),
    ];
    let fields = fields.into_iter().map(|field| Input { id: format!("explain-{}", field.name), ..field });
    Form {
        action: ask.link("/operator/policies"),
        fields: fields.collect(),
        button: w.explain_go,
        reads: true,
        ..Form::default()
    }
}

/// Makes a rule.
///
/// # Errors
/// `forbidden`, `reauthentication_required`.
pub async fn create(ask: &Ask) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/admin/v1/policies", &[]).await?;
        let typed = |name: &str| ask.form.get(name).to_owned();
        for name in ["role", "path"] {
            if typed(name).is_empty() {
                return Err(Error::invalid("required", "this is needed").param(name.to_owned()));
            }
        }
        let request = AdminCreatePolicyRequest {
            role: typed("role"),
            domain: typed("domain"),
            path: typed("path"),
            method: typed("method"),
            effect: typed("effect"),
            note: typed("note"),
            if_version: None,
        };
        let mut client = ask.site.peers.identity();
        ask.write(&caller, client.admin_create_policy(request)).await.map(drop)
    };
    outcome(ask, "AdminCreatePolicy", "created", done.await).await
}

/// Deletes a rule. One that is gone already is as good.
///
/// # Errors
/// `forbidden`, `reauthentication_required`.
pub async fn delete(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "DELETE", "/admin/v1/policies/{}", &[id]).await?;
        let mut client = ask.site.peers.identity();
        match ask
            .write(
                &caller,
                client.admin_delete_policy(AdminDeletePolicyRequest { id: id.to_owned(), if_version: None }),
            )
            .await
        {
            Err(error) if error.code == "policy_not_found" => Ok(()),
            done => done,
        }
    };
    outcome(ask, "AdminDeletePolicy", "deleted", done.await).await
}

async fn outcome(ask: &Ask, method: &str, word: &str, done: Result<()>) -> Result<Answer> {
    let error = match done {
        Ok(()) => {
            settle(ask, method).await;
            return Ok(Answer::to(ask.link(&format!("/operator/policies?done={word}"))));
        }
        Err(error) => error,
    };
    match status(&error) {
        Some(status) => render(ask, status, Some(&error)).await,
        None => Err(error),
    }
}
