//! One account: how it stands, where it is signed in, and what an operator can do about it.

use http::StatusCode;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use mallard_proto::Timestamp;
use mallard_proto::identity::v1::{
    AdminBanUserRequest, AdminGetUserRequest, AdminKickUserRequest, AdminListSessionsRequest,
    AdminRevokeSessionRequest, AdminSetRolesRequest, AdminUnbanUserRequest, Session, User,
};
use mallard_types::{Error, Result};

use super::shell;
use super::text::Words;
use super::users::standing;
use crate::answer::Answer;
use crate::ask::Ask;
use crate::console::form::{Input, above, mark, status};
use crate::console::panel::Panel;
use crate::console::text::Words as Common;
use crate::console::view::{Block, Cell, Form, Page, Part, Table, time};
use crate::console::{confirm, link, look_again, permit, settle};
use crate::domain::device;

/// Shows an account.
///
/// # Errors
/// `user_not_found`, `forbidden`.
pub async fn show(ask: &Ask, id: &str) -> Result<Answer> {
    render(ask, id, StatusCode::OK, None).await
}

async fn render(ask: &Ask, id: &str, code: StatusCode, refused: Option<(&str, &Error)>) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    // A form that brought the password has asked once more already: the sessions are left for the next look.
    let is_short = refused.is_some() && confirm::brings_password(ask);
    let (user, sessions) =
        tokio::join!(user_of(ask, id), async { if is_short { None } else { Some(sessions_of(ask, id).await) } });
    let user = user?;
    let sessions = match sessions {
        Some(sessions) => Panel::of(sessions)?.map(|sessions| vec![Part::Table(session_table(ask, id, &sessions))]),
        None => Panel::Ready(vec![look_again(ask, format!("/operator/users/{id}"))]),
    };
    let name = if user.email.is_empty() { user.id.clone() } else { user.email.clone() };
    let mut s = shell(ask, name, "/operator/users").notice(match ask.query.get("done") {
        "ban" => w.ban_done,
        "unban" => w.unban_done,
        "kick" => w.kick_done,
        "roles" => w.roles_done,
        "session" => w.session_done,
        _ => "",
    });
    let mut forms = forms(ask, &user);
    if let Some((verb, error)) = refused {
        s.trouble = above(ask.t, c, error);
        for form in forms.iter_mut().filter(|form| form.action.ends_with(verb)) {
            form.opened = true;
            for field in &mut form.fields {
                field.value = ask.form.get(&field.name).to_owned();
            }
            mark(&mut form.fields, c, error);
            if error.code == "version_mismatch" {
                form.reload = ask.link(&format!("/operator/users/{id}"));
            }
            // It keeps the version it was made from, and so is refused again until it is loaded anew.
            if error.code == "version_mismatch" || error.is_retryable() {
                for (name, value) in &mut form.hidden {
                    *value = ask.form.get(name).to_owned();
                }
            }
        }
    }
    let orders = link(ask, "/operator/orders", &[("user", id)]);
    let facts = vec![
        (w.email, Cell::text(user.email.clone()).note(user.name.clone())),
        (c.status, standing(ask, &user)),
        (w.roles, Cell::text(user.roles.join(", ")).note(user.seller_id.clone())),
        (w.joined, Cell::text(time(ask, &user.created_at))),
        (c.orders, Cell::text(w.their_orders).to(orders)),
        (w.user_id, Cell::code(user.id.clone())),
    ];
    let mut known = vec![Part::Facts(facts)];
    if let Some(ban) = user.ban.as_ref().filter(|ban| !ban.reason.is_empty()) {
        known.push(Part::Note("bad", format!("{}: {}", c.why, ban.reason)));
    }
    let actions = forms.into_iter().map(|form| Part::Form(Box::new(form))).collect();
    let blocks = vec![
        Block::new("account", w.account_of, known),
        Block::of("sessions", w.sessions, sessions),
        Block::new("actions", w.do_something, actions).aside(),
    ];
    let mut page = Page::new(s, blocks);
    page.back = Some((ask.link("/operator/users"), w.users.to_owned()));
    page.answer(code)
}

async fn user_of(ask: &Ask, id: &str) -> Result<User> {
    let caller = permit(ask, "GET", "/admin/v1/users/{}", &[id]).await?;
    let mut client = ask.site.peers.identity();
    let answer = ask.read(&caller, client.admin_get_user(AdminGetUserRequest { id: id.to_owned() })).await?;
    answer.user.ok_or_else(|| Error::not_found("user_not_found", "there is no such user"))
}

async fn sessions_of(ask: &Ask, id: &str) -> Result<Vec<Session>> {
    let caller = permit(ask, "GET", "/admin/v1/users/{}/sessions", &[id]).await?;
    let mut client = ask.site.peers.identity();
    let request = AdminListSessionsRequest { id: id.to_owned() };
    Ok(ask.read(&caller, client.admin_list_sessions(request)).await?.sessions)
}

fn session_table(ask: &Ask, id: &str, sessions: &[Session]) -> Table {
    let w = Words::of(ask.lang);
    let row = |session: &Session| {
        let name = match device(&session.user_agent) {
            Some((browser, system)) => format!("{browser}, {system}"),
            None => session.user_agent.clone(),
        };
        let name = if session.device.is_empty() { name } else { session.device.clone() };
        let end = Form {
            action: ask.link(&format!("/operator/users/{id}/sessions/{}/end", session.id)),
            button: w.end,
            small: true,
            ..Form::default()
        };
        let name = if name.is_empty() { ask.t.unknown_device.to_owned() } else { name };
        vec![
            Cell::text(name.clone()),
            Cell::code(session.address.clone()),
            Cell::text(time(ask, &session.last_used_at)),
            Cell::acts(vec![end.about(&session.id, name)]),
        ]
    };
    Table {
        caption: w.sessions.to_owned(),
        columns: vec![w.device, w.network, w.last_used, w.do_something],
        rows: sessions.iter().map(row).collect(),
        empty: w.no_sessions,
    }
}

fn forms(ask: &Ask, user: &User) -> Vec<Form> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let form = |verb: &str, title: &str| Form {
        action: ask.link(&format!("/operator/users/{}/{verb}", user.id)),
        title: title.to_owned(),
        folded: true,
        ..Form::default()
    };
    let levels = [("login", w.ban_login), ("buy", w.ban_buy), ("all", w.ban_all)];
    let levels = levels.map(|(level, words)| (level.to_owned(), words.to_owned())).into();
    let ban = Form {
        text: w.ban_text.into(),
        fields: vec![
            Input::select("level", w.ban_level, user.ban.as_ref().map_or("login", |ban| &ban.level), levels).required(),
            Input { kind: "datetime-local", ..Input::line("until", w.ban_until, "") },
            Input { maxlength: 500, ..Input::area("reason", c.why, "", 2).required() },
        ],
        button: w.ban,
        danger: true,
        ..form("ban", w.ban)
    };
    let kick = Form { text: w.kick_text.into(), button: w.kick, danger: true, ..form("kick", w.kick) };
    let roles = Form {
        text: w.roles_text.into(),
        fields: vec![
            Input::line("roles", w.roles, user.roles.join(" ")).required(),
            Input::line("seller_id", w.seller, user.seller_id.clone()).hint(w.seller_hint),
        ],
        hidden: vec![("version", user.version.to_string())],
        button: w.roles_change,
        ..form("roles", w.roles_change)
    };
    let mut forms = Vec::new();
    if user.ban.is_some() {
        forms.push(Form { button: w.unban, folded: false, ..form("unban", w.unban) });
    }
    forms.extend([ban, kick, roles]);
    forms
}

/// Bans an account.
///
/// # Errors
/// `user_not_found`, `forbidden`.
pub async fn ban(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/admin/v1/users/{}/ban", &[id]).await?;
        let request = AdminBanUserRequest {
            id: id.to_owned(),
            level: ask.form.get("level").to_owned(),
            until: until(ask.form.get("until"))?,
            reason: ask.form.get("reason").to_owned(),
        };
        let mut client = ask.site.peers.identity();
        ask.write(&caller, client.admin_ban_user(request)).await.map(drop)
    };
    outcome(ask, id, "ban", "AdminBanUser", done.await).await
}

/// Reads a time in UTC as a browser's field, or a person, writes it; nothing for an empty field.
fn until(typed: &str) -> Result<Option<Timestamp>> {
    if typed.is_empty() {
        return Ok(None);
    }
    let bad = || Error::invalid("time_bad", "a time such as 2026-12-31 18:00").param("until");
    let written = typed.replace(' ', "T");
    let written = if written.contains('T') { written } else { format!("{written}T00:00") };
    let time: DateTime = written.parse().map_err(|_| bad())?;
    let at = time.to_zoned(TimeZone::UTC).map_err(|_| bad())?.timestamp();
    Ok(Some(Timestamp::from_micros(at.as_microsecond())))
}

/// Lifts a ban.
///
/// # Errors
/// `user_not_found`, `forbidden`.
pub async fn unban(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/admin/v1/users/{}/unban", &[id]).await?;
        let mut client = ask.site.peers.identity();
        ask.write(&caller, client.admin_unban_user(AdminUnbanUserRequest { id: id.to_owned() })).await.map(drop)
    };
    outcome(ask, id, "unban", "AdminUnbanUser", done.await).await
}

/// Ends every session of an account.
///
/// # Errors
/// `user_not_found`, `forbidden`.
pub async fn kick(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "POST", "/admin/v1/users/{}/kick", &[id]).await?;
        let mut client = ask.site.peers.identity();
        ask.write(&caller, client.admin_kick_user(AdminKickUserRequest { id: id.to_owned() })).await
    };
    outcome(ask, id, "kick", "AdminKickUser", done.await).await
}

/// Ends one session of an account. One that has ended already is as good.
///
/// # Errors
/// `user_not_found`, `forbidden`.
pub async fn end_session(ask: &Ask, id: &str, session: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "DELETE", "/admin/v1/users/{}/sessions/{}", &[id, session]).await?;
        let mut client = ask.site.peers.identity();
        let request = AdminRevokeSessionRequest { id: id.to_owned(), session_id: session.to_owned() };
        match ask.write(&caller, client.admin_revoke_session(request)).await {
            Err(error) if error.code == "session_not_found" => Ok(()),
            done => done,
        }
    };
    outcome(ask, id, "session", "AdminRevokeSession", done.await).await
}

/// Replaces an account's roles.
///
/// # Errors
/// `user_not_found`, `forbidden`, `reauthentication_required`.
pub async fn roles(ask: &Ask, id: &str) -> Result<Answer> {
    let done = async {
        let caller = permit(ask, "PUT", "/admin/v1/users/{}/roles", &[id]).await?;
        let request = AdminSetRolesRequest {
            id: id.to_owned(),
            roles: names(ask.form.get("roles")),
            // An empty field takes the seller away.
            seller_id: ask.form.all("seller_id").next().map(|typed| typed.trim().to_owned()),
            if_version: ask.form.number("version"),
        };
        let mut client = ask.site.peers.identity();
        ask.write(&caller, client.admin_set_roles(request)).await.map(drop)
    };
    outcome(ask, id, "roles", "AdminSetRoles", done.await).await
}

/// Reads names separated by blanks or commas.
pub fn names(typed: &str) -> Vec<String> {
    typed.split([' ', ',', '\n', '\r', '\t']).filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

async fn outcome(ask: &Ask, id: &str, verb: &'static str, method: &str, done: Result<()>) -> Result<Answer> {
    let error = match done {
        Ok(()) => {
            settle(ask, method).await;
            return Ok(Answer::to(ask.link(&format!("/operator/users/{id}?done={verb}"))));
        }
        Err(error) => error,
    };
    match status(&error) {
        Some(status) => render(ask, id, status, Some((verb, &error))).await,
        None => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_browsers_and_people_write_it() {
        let micros = |typed: &str| until(typed).unwrap().map(|at| at.micros());
        assert_eq!(micros(""), None);
        assert_eq!(micros("2026-01-01T00:00"), Some(1_767_225_600_000_000));
        assert_eq!(micros("2026-01-01 00:00"), Some(1_767_225_600_000_000));
        assert_eq!(micros("2026-01-01"), Some(1_767_225_600_000_000));
        for bad in ["tomorrow", "2026-13-01T00:00", "2026-01-01T25:00", "1"] {
            assert_eq!(until(bad).unwrap_err().param.as_deref(), Some("until"), "{bad}");
        }
    }

    #[test]
    fn names_are_separated_by_what_people_type() {
        assert_eq!(names(" user, seller\n clerk@sel_1 "), ["user", "seller", "clerk@sel_1"]);
        assert!(names(" , ").is_empty());
    }
}
