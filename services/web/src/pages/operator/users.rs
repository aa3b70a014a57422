//! Accounts, newest first; found by e-mail address or id.

use http::StatusCode;
use mallard_proto::identity::v1::{AdminListBansRequest, AdminListUsersRequest, User, UserStatus};
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
use crate::text::fill;

const PAGE: i32 = 25;

/// Shows a page of accounts. Who looks for an id is led to the account.
///
/// # Errors
/// `forbidden`, `bad_cursor`.
pub async fn show(ask: &Ask) -> Result<Answer> {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let (q, after) = (ask.query.get("q"), ask.query.get("after"));
    if q.starts_with("usr_") && q.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return Ok(Answer::to(ask.link(&format!("/operator/users/{q}"))));
    }
    let banned = ask.query.get("banned");
    let found = match users(ask, q, !banned.is_empty(), after).await {
        Err(error) if error.code == "forbidden" => return Err(error),
        found => Panel::of(found)?,
    };
    let keep = |after: &str| link(ask, "/operator/users", &[("q", q), ("banned", banned), ("after", after)]);
    let mut more = String::new();
    let body = found.map(|(users, next)| {
        if !next.is_empty() {
            more = keep(&next);
        }
        vec![Part::Table(table(ask, &users))]
    });
    let mut page = Page::new(shell(ask, w.users, "/operator/users"), vec![Block::of("list", w.users, body)]);
    let choices = vec![(String::new(), w.everybody.to_owned()), ("1".to_owned(), w.only_banned.to_owned())];
    page.filter = Some(Form {
        action: ask.link("/operator/users"),
        fields: vec![
            Input { maxlength: 254, ..Input::line("q", w.search_user, q).required() },
            Input::select("banned", c.status, banned, choices).required(),
        ],
        button: c.show,
        opened: !(q.is_empty() && banned.is_empty()),
        ..Form::default()
    });
    page.more = more;
    if !after.is_empty() {
        page.first = keep("");
    }
    page.answer(StatusCode::OK)
}

async fn users(ask: &Ask, email: &str, banned: bool, after: &str) -> Result<(Vec<User>, String)> {
    let mut client = ask.site.peers.identity();
    if banned && email.is_empty() {
        let caller = permit(ask, "GET", "/admin/v1/bans", &[]).await?;
        let request = AdminListBansRequest { limit: PAGE, cursor: after.to_owned() };
        let list = ask.read(&caller, client.admin_list_bans(request)).await?;
        return Ok((list.users, list.next_cursor));
    }
    let caller = permit(ask, "GET", "/admin/v1/users", &[]).await?;
    let request =
        AdminListUsersRequest { limit: PAGE, cursor: after.to_owned(), email: email.to_owned(), count: false };
    let list = ask.read(&caller, client.admin_list_users(request)).await?;
    let keep = |user: &User| !banned || user.status() == UserStatus::Banned;
    Ok((list.users.into_iter().filter(keep).collect(), list.next_cursor))
}

/// Returns how an account stands, in words.
pub fn standing(ask: &Ask, user: &User) -> Cell {
    let w = Words::of(ask.lang);
    match user.status() {
        UserStatus::Deleted => Cell::state(w.deleted, "bad"),
        UserStatus::Active | UserStatus::Banned => match &user.ban {
            Some(ban) => {
                let what = match ban.level.as_str() {
                    "buy" => w.ban_buy,
                    "login" => w.ban_login,
                    _ => w.ban_all,
                };
                let until = match &ban.until {
                    Some(_) => fill(w.ban_until_is, time(ask, &ban.until)),
                    None => w.ban_for_ever.to_owned(),
                };
                Cell::state(format!("{}: {what}", w.banned), "bad").note(until)
            }
            None if user.status() == UserStatus::Banned => Cell::state(w.banned, "bad"),
            None => Cell::state(w.active, "good"),
        },
    }
}

fn table(ask: &Ask, users: &[User]) -> Table {
    let (w, c) = (Words::of(ask.lang), Common::of(ask.lang));
    let row = |user: &User| {
        let email = if user.email.is_empty() { user.id.clone() } else { user.email.clone() };
        vec![
            Cell::text(email).to(ask.link(&format!("/operator/users/{}", user.id))).note(user.name.clone()),
            Cell::text(user.roles.join(", ")).note(user.seller_id.clone()),
            standing(ask, user),
            Cell::text(time(ask, &user.created_at)),
        ]
    };
    Table {
        caption: w.users.to_owned(),
        columns: vec![w.email, w.roles, c.status, w.joined],
        rows: users.iter().map(row).collect(),
        empty: w.no_users,
    }
}
