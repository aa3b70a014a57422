//! The paths that need no sign-in, and the keys that sign tokens.

use http::StatusCode;
use mallard_proto::identity::v1::{
    AdminGetAllowListRequest, AdminGetAllowListResponse, AdminListKeysRequest, AdminPutAllowListRequest,
    AdminRotateKeysRequest, SigningKey,
};
use mallard_types::{Error, Result};

use super::access_shell;
use super::text::Words;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::{Input, above, mark, say, status};
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table, time};
use crate::console::{permit, settle};

/// Shows the open paths.
///
/// # Errors
/// `forbidden`.
pub async fn allow_list(ask: &Ask) -> Result<Answer> {
    render_list(ask, StatusCode::OK, None).await
}

async fn render_list(ask: &Ask, code: StatusCode, refused: Option<&Error>) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let list = match list_paths(ask).await {
        Err(error) if error.code == "forbidden" => return Err(error),
        list => Panel::of(list)?,
    };
    let mut s = access_shell(ask, w.allow_list, "/operator/allow-list");
    if ask.query.get("done") == "saved" {
        s.f.notice = w.allow_saved;
    }
    if let Some(error) = refused {
        s.trouble = above(ask.t, c, error);
    }
    let body = list.map(|list| {
        let typed = if refused.is_some() { ask.form.get("paths").to_owned() } else { list.paths.join("\n") };
        let keeps = refused.is_some_and(|error| error.code == "version_mismatch" || error.is_retryable());
        let mut form = Form {
            action: ask.link("/operator/allow-list"),
            fields: vec![Input::area("paths", w.allow_paths, typed, 10)],
            // What the page showed: who saved in between is not written over.
            hidden: vec![(
                "version",
                if keeps { ask.form.get("version").to_owned() } else { list.version.to_string() },
            )],
            button: ask.t.save,
            ..Form::default()
        };
        if let Some(error) = refused {
            mark(&mut form.fields, c, error);
            if error.code == "version_mismatch" {
                form.reload = ask.link("/operator/allow-list");
            }
        }
        vec![Part::Form(Box::new(form))]
    });
    Page::new(s, vec![Block::of("paths", w.allow_list, body).text(w.allow_text)]).answer(code)
}

async fn list_paths(ask: &Ask) -> Result<AdminGetAllowListResponse> {
    let caller = permit(ask, "GET", "/admin/v1/access/allow-list", &[]).await?;
    let mut client = ask.site.peers.identity();
    ask.read(&caller, client.admin_get_allow_list(AdminGetAllowListRequest {})).await
}

fn lines(typed: &str) -> Vec<String> {
    typed.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Replaces the open paths, unless they are others than the page showed.
///
/// # Errors
/// `forbidden`, `reauthentication_required`.
pub async fn put_allow_list(ask: &Ask) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "PUT", "/admin/v1/access/allow-list", &[]).await?;
        let mut client = ask.site.peers.identity();
        let request =
            AdminPutAllowListRequest { paths: lines(ask.form.get("paths")), if_version: ask.form.number("version") };
        ask.write(&caller, client.admin_put_allow_list(request)).await.map(drop)
    };
    match done.await {
        Ok(()) => {
            settle(ask, "AdminPutAllowList").await;
            Ok(Answer::to(ask.link("/operator/allow-list?done=saved")))
        }
        Err(error) => match status(&error) {
            Some(status) => render_list(ask, status, Some(&error)).await,
            None => Err(error),
        },
    }
}

/// Shows the keys.
///
/// # Errors
/// `forbidden`.
pub async fn keys(ask: &Ask) -> Result<Answer> {
    let list = match list_keys(ask).await {
        Err(error) if error.code == "forbidden" => return Err(error),
        list => Panel::of(list)?,
    };
    render_keys(ask, StatusCode::OK, String::new(), list)
}

fn render_keys(ask: &Ask, code: StatusCode, trouble: String, list: Panel<Vec<SigningKey>>) -> Result<Answer> {
    let w = Words::of(ask.lang);
    let body = list.map(|keys| {
        let rotate = Form {
            action: ask.link("/operator/keys"),
            title: w.rotate.into(),
            text: w.rotate_text.into(),
            // Of two clicks only one makes a key.
            hidden: vec![("kid", signing(&keys))],
            button: w.rotate,
            danger: true,
            folded: true,
            ..Form::default()
        };
        vec![Part::Table(key_table(ask, &keys)), Part::Form(Box::new(rotate))]
    });
    let mut s = access_shell(ask, w.keys, "/operator/keys").trouble(trouble);
    if ask.query.get("done") == "rotated" {
        s.f.notice = w.rotate_done;
    }
    Page::new(s, vec![Block::of("keys", w.keys, body)]).answer(code)
}

async fn list_keys(ask: &Ask) -> Result<Vec<SigningKey>> {
    let caller = permit(ask, "GET", "/admin/v1/access/keys", &[]).await?;
    let mut client = ask.site.peers.identity();
    Ok(ask.read(&caller, client.admin_list_keys(AdminListKeysRequest {})).await?.keys)
}

fn signing(keys: &[SigningKey]) -> String {
    keys.iter().find(|key| key.retired_at.is_none()).map(|key| key.kid.clone()).unwrap_or_default()
}

fn key_table(ask: &Ask, keys: &[SigningKey]) -> Table {
    let w = Words::of(ask.lang);
    let row = |key: &SigningKey| {
        let retired = match &key.retired_at {
            Some(_) => Cell::text(time(ask, &key.retired_at)),
            None => Cell::state(w.signs, "good"),
        };
        vec![Cell::code(key.kid.clone()), Cell::text(time(ask, &key.created_at)), retired]
    };
    Table {
        caption: w.keys.to_owned(),
        columns: vec![w.key, w.made, w.retired],
        rows: keys.iter().map(row).collect(),
        empty: "–",
    }
}

/// Makes a new key, unless another than the page showed signs already.
///
/// # Errors
/// `forbidden`, `reauthentication_required`.
pub async fn rotate(ask: &Ask) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let caller = permit(ask, "POST", "/admin/v1/access/keys/rotate", &[]).await?;
    let keys = list_keys(ask).await?;
    if signing(&keys) != ask.form.get("kid") {
        return render_keys(ask, StatusCode::CONFLICT, w.rotated_already.to_owned(), Panel::Ready(keys));
    }
    let mut client = ask.site.peers.identity();
    match ask.write(&caller, client.admin_rotate_keys(AdminRotateKeysRequest {})).await {
        Ok(_) => {
            settle(ask, "AdminRotateKeys").await;
            Ok(Answer::to(ask.link("/operator/keys?done=rotated")))
        }
        Err(error) => match status(&error) {
            Some(status) => render_keys(ask, status, say(c, &error).to_owned(), Panel::Ready(keys)),
            None => Err(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::lines;

    #[test]
    fn a_path_stands_on_a_line() {
        assert_eq!(lines("/a/*\r\n\r\n  GET /b/:id \n"), ["/a/*", "GET /b/:id"]);
        assert!(lines(" \n").is_empty());
    }
}
