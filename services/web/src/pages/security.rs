//! What wants the password once more: changing it, and deleting the account.

use askama::Template;
use http::StatusCode;
use mallard_proto::identity::v1::{ChangePasswordRequest, DeleteMeRequest, ReauthenticateRequest};
use mallard_types::{Error, Kind, Result};

use super::sign::password;
use crate::answer::{Answer, CookieChange};
use crate::ask::Ask;
use crate::error::at_field;
use crate::view::{Field, Frame};

#[derive(Template)]
#[template(path = "security.html")]
struct Page {
    f: Frame,
    trouble: &'static str,
    /// Said before the fields.
    text: &'static str,
    action: &'static str,
    fields: Vec<Field>,
    button: &'static str,
    /// What cannot be undone.
    is_danger: bool,
}

/// Shows the form for another password.
///
/// # Errors
/// Identity's.
pub async fn show_password(ask: &Ask) -> Result<Answer> {
    ask.shopper().await?;
    password_page(ask, StatusCode::OK, "", None)
}

fn password_page(
    ask: &Ask,
    status: StatusCode,
    trouble: &'static str,
    wrong: Option<(&str, &'static str)>,
) -> Result<Answer> {
    let t = ask.t;
    let mut fields = vec![
        password(t.password_now, "current", "current-password"),
        Field { hint: t.password_hint, ..password(t.password_new, "password", "new-password") },
        password(t.password_again, "password_confirmation", "new-password"),
    ];
    mark(&mut fields, wrong);
    let page = Page {
        f: Frame::new(ask, t.change_password),
        trouble,
        text: t.change_password_text,
        action: "/account/password",
        fields,
        button: t.change_password,
        is_danger: false,
    };
    Answer::with(status, &page)
}

fn mark(fields: &mut [Field], wrong: Option<(&str, &'static str)>) {
    let Some((name, words)) = wrong else { return };
    for field in fields.iter_mut().filter(|field| field.name == name) {
        field.error = words;
    }
}

/// Changes the password; every other session of the account ends.
///
/// # Errors
/// Identity's.
pub async fn change_password(ask: &Ask) -> Result<Answer> {
    let t = ask.t;
    let caller = ask.permit("POST", "/auth/v1/password").await?;
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    if ask.form.raw("password") != ask.form.raw("password_confirmation") {
        return password_page(ask, unprocessable, t.see_fields, Some(("password_confirmation", t.password_differs)));
    }
    let request = ChangePasswordRequest {
        current_password: ask.form.raw("current").to_owned(),
        new_password: ask.form.raw("password").to_owned(),
    };
    let mut client = ask.site.peers.identity();
    match ask.write(&caller, client.change_password(request)).await {
        Ok(_) => {
            ask.site.door.read_after("ChangePassword").await?;
            Ok(Answer::to(ask.link("/account?done=password")))
        }
        Err(error) => match proof_refused(ask, &error) {
            Some((status, words)) => password_page(ask, status, words, Some(("current", words))),
            None if error.kind == Kind::Invalid => {
                password_page(ask, unprocessable, t.see_fields, Some(("password", at_field(t, &error))))
            }
            None => Err(error),
        },
    }
}

/// Shows what deleting the account means, and the form for it.
///
/// # Errors
/// Identity's.
pub async fn show_deletion(ask: &Ask) -> Result<Answer> {
    ask.shopper().await?;
    deletion_page(ask, StatusCode::OK, "")
}

fn deletion_page(ask: &Ask, status: StatusCode, wrong: &'static str) -> Result<Answer> {
    let t = ask.t;
    let mut fields = vec![password(t.password, "password", "current-password")];
    if !wrong.is_empty() {
        mark(&mut fields, Some(("password", wrong)));
    }
    let page = Page {
        f: Frame::new(ask, t.delete_account),
        trouble: wrong,
        text: t.delete_account_text,
        action: "/account/delete",
        fields,
        button: t.delete_account_yes,
        is_danger: true,
    };
    Answer::with(status, &page)
}

/// Deletes the account of who knows its password, and signs out.
///
/// # Errors
/// Identity's.
pub async fn delete_account(ask: &Ask) -> Result<Answer> {
    let caller = ask.permit("POST", "/auth/v1/reauthenticate").await?;
    let request = ReauthenticateRequest { password: ask.form.raw("password").to_owned() };
    let mut client = ask.site.peers.identity();
    let proved = match ask.write(&caller, client.reauthenticate(request)).await {
        Ok(proved) => proved,
        Err(error) => {
            return match proof_refused(ask, &error) {
                Some((status, words)) => deletion_page(ask, status, words),
                None => Err(error),
            };
        }
    };
    // The token just issued says when the password was given: where a policy wants that, it is there.
    let caller = ask.site.door.enter(&proved.access_token, "DELETE", "/store/v1/me").await?;
    ask.write(&caller, client.delete_me(DeleteMeRequest {})).await?;
    ask.site.door.read_after("DeleteMe").await?;
    ask.site.sessions.end(&ask.secret).await?;
    Ok(Answer::to(ask.link("/?done=deleted")).cookie(CookieChange::End))
}

/// Returns status and words for a password that was not accepted.
fn proof_refused(ask: &Ask, error: &Error) -> Option<(StatusCode, &'static str)> {
    match error.kind {
        _ if error.code == "invalid_credentials" || error.param.as_deref() == Some("current_password") => {
            Some((StatusCode::UNPROCESSABLE_ENTITY, ask.t.password_wrong))
        }
        Kind::TooMany => Some((StatusCode::TOO_MANY_REQUESTS, ask.t.too_many_tries)),
        Kind::Unavailable if error.code == "busy" => Some((StatusCode::SERVICE_UNAVAILABLE, ask.t.too_busy)),
        _ => None,
    }
}
