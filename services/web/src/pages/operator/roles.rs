//! Roles and whose rights they have besides their own.

use http::StatusCode;
use mallard_proto::identity::v1::{
    AdminDeleteRoleRequest, AdminListRolesRequest, AdminListRolesResponse, AdminPutRoleRequest, Role,
};
use mallard_types::{Error, Result};

use super::access_shell;
use super::text::Words;
use super::user::names;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::{Input, above, mark, status};
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table};
use crate::console::{permit, settle};

/// Shows the roles.
///
/// # Errors
/// `forbidden`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    render(ask, StatusCode::OK, None).await
}

async fn render(ask: &Ask, code: StatusCode, refused: Option<&Error>) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let list = match list(ask).await {
        Err(error) if error.code == "forbidden" => return Err(error),
        list => Panel::of(list)?,
    };
    let mut s = access_shell(ask, w.roles, "/operator/roles").notice(match ask.query.get("done") {
        "saved" => w.role_saved,
        "deleted" => w.role_deleted,
        _ => "",
    });
    let version = if let Panel::Ready(list) = &list { list.version.to_string() } else { String::new() };
    let mut put = Form {
        action: ask.link("/operator/roles"),
        fields: vec![
            Input::line("name", w.role_name, "").required(),
            Input::line("inherits", w.inherits, "").hint(w.role_inherits_hint),
            Input { maxlength: 500, ..Input::line("note", w.rule_note, "") },
        ],
        hidden: vec![("version", version)],
        button: ask.t.save,
        ..Form::default()
    };
    if let Some(error) = refused {
        s.trouble = above(ask.t, c, error);
        for field in &mut put.fields {
            field.value = ask.form.get(&field.name).to_owned();
        }
        mark(&mut put.fields, c, error);
        if error.code == "version_mismatch" {
            put.reload = ask.link("/operator/roles");
        }
        if error.code == "version_mismatch" || error.is_retryable() {
            put.hidden = vec![("version", ask.form.get("version").to_owned())];
        }
    }
    let body = list.map(|list| vec![Part::Table(table(ask, &list.roles))]);
    let blocks =
        vec![Block::of("list", w.roles, body), Block::new("put", w.role_new, vec![Part::Form(Box::new(put))]).aside()];
    Page::new(s, blocks).answer(code)
}

async fn list(ask: &Ask) -> Result<AdminListRolesResponse> {
    let caller = permit(ask, "GET", "/admin/v1/roles", &[]).await?;
    let mut client = ask.site.peers.identity();
    ask.read(&caller, client.admin_list_roles(AdminListRolesRequest {})).await
}

fn table(ask: &Ask, roles: &[Role]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |role: &Role| {
        let name: String = form_urlencoded::byte_serialize(role.name.as_bytes()).collect();
        let delete = Form {
            action: ask.link(&format!("/operator/roles/{name}/delete")),
            title: w.delete.into(),
            text: w.delete_text.into(),
            button: w.delete,
            danger: true,
            folded: true,
            ..Form::default()
        };
        vec![
            Cell::text(role.name.clone()).note(role.note.clone()),
            Cell::text(if role.inherits.is_empty() { c.none.to_owned() } else { role.inherits.join(", ") }),
            if role.built_in { Cell::text(w.built_in) } else { Cell::acts(vec![delete.about(&role.name, &role.name)]) },
        ]
    };
    Table {
        caption: w.roles.to_owned(),
        columns: vec![w.role, w.inherits, w.do_something],
        rows: roles.iter().map(row).collect(),
        empty: w.no_roles,
    }
}

/// Makes a role, or changes what it inherits.
///
/// # Errors
/// `forbidden`, `reauthentication_required`.
pub async fn put(ask: &Ask) -> Result<Answer> {
    let done = async {
        let name = ask.form.get("name").to_owned();
        if name.is_empty() {
            return Err(Error::invalid("required", "a role has a name").param("name"));
        }
        let caller = permit(ask, "PUT", "/admin/v1/roles/{}", &[&name]).await?;
        let request = AdminPutRoleRequest {
            name,
            inherits: names(ask.form.get("inherits")),
            note: ask.form.get("note").to_owned(),
            if_version: ask.form.number("version"),
        };
        let mut client = ask.site.peers.identity();
        ask.write(&caller, client.admin_put_role(request)).await.map(drop)
    };
    outcome(ask, "AdminPutRole", "saved", done.await).await
}

/// Deletes a role. One that is gone already is as good.
///
/// # Errors
/// `forbidden`, `reauthentication_required`.
pub async fn delete(ask: &Ask, name: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "DELETE", "/admin/v1/roles/{}", &[name]).await?;
        let mut client = ask.site.peers.identity();
        match ask
            .write(
                &caller,
                client.admin_delete_role(AdminDeleteRoleRequest { name: name.to_owned(), if_version: None }),
            )
            .await
        {
            Err(error) if error.code == "role_not_found" => Ok(()),
            done => done,
        }
    };
    outcome(ask, "AdminDeleteRole", "deleted", done.await).await
}

async fn outcome(ask: &Ask, method: &str, word: &str, done: Result<()>) -> Result<Answer> {
    let error = match done {
        Ok(()) => {
            settle(ask, method).await;
            return Ok(Answer::to(ask.link(&format!("/operator/roles?done={word}"))));
        }
        Err(error) => error,
    };
    match status(&error) {
        Some(status) => render(ask, status, Some(&error)).await,
        None => Err(error),
    }
}
