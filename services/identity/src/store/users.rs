//! Accounts.

use mallard_db::{Db, Row, Tx, params};
use mallard_types::{Micros, Result};

use super::{Read, broken, list};
use crate::domain::{Ban, BanLevel, Email, PasswordHash, Profile, Roles, User};
use crate::error::Refusal;

macro_rules! columns {
    () => {
        "id, email, password_hash, name, language, roles, seller_id, ban_level, ban_until, ban_reason, \
         created_at, updated_at, deleted_at, version, ban_at, ban_by"
    };
}

/// Most operators that are looked at; the mall has a handful.
const ADMINS_READ_MAX: i64 = 100;

/// Inserts a new account.
///
/// # Errors
/// `email_taken`.
pub async fn insert_user(tx: &Tx, user: &User) -> Result<()> {
    let sql = "INSERT INTO users (id, email, password_hash, name, language, roles, is_admin, seller_id, ban_level, ban_until, \
               ban_reason, ban_at, ban_by, created_at, updated_at, deleted_at, version) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut values = params![user.id.as_str()];
    values.extend(changing_values(user));
    values.insert(13, user.created_at.into());
    match tx.execute(sql, values).await {
        Ok(_) => save_custom_roles(tx, None, user).await,
        Err(error) if error.is_unique("users_email") => Err(Refusal::EmailTaken.into()),
        Err(error) => Err(error.into()),
    }
}

/// Saves a changed account over the version before it, and which roles of the operators' making it holds.
///
/// # Errors
/// `changed_meanwhile` when that is not the stored version any more.
pub async fn save_user(tx: &Tx, before: &User, user: &User) -> Result<()> {
    let sql = "UPDATE users SET email = ?, password_hash = ?, name = ?, language = ?, roles = ?, is_admin = ?, seller_id = ?, \
               ban_level = ?, ban_until = ?, ban_reason = ?, ban_at = ?, ban_by = ?, updated_at = ?, deleted_at = ?, version = ? \
               WHERE id = ? AND version = ?";
    let mut values = changing_values(user);
    values.extend(params![user.id.as_str(), user.version - 1]);
    match tx.execute(sql, values).await? {
        1 => save_custom_roles(tx, Some(before), user).await,
        _ => Err(Refusal::ChangedMeanwhile.into()),
    }
}

async fn save_custom_roles(tx: &Tx, before: Option<&User>, user: &User) -> Result<()> {
    let held = before.map(|before| before.roles.custom()).unwrap_or_default();
    let holds = user.roles.custom();
    for role in held.difference(&holds) {
        tx.execute("DELETE FROM user_roles WHERE role = ? AND user_id = ?", params![*role, user.id.as_str()]).await?;
    }
    for role in holds.difference(&held) {
        let sql = "INSERT INTO user_roles (role, user_id) VALUES (?, ?) ON CONFLICT (role, user_id) DO NOTHING";
        tx.execute(sql, params![*role, user.id.as_str()]).await?;
    }
    Ok(())
}

/// Tells whether any account holds a role that operators have defined.
pub async fn is_role_held(from: &impl Read, role: &str) -> Result<bool> {
    Ok(from.row("SELECT 1 FROM user_roles WHERE role = ? LIMIT 1", params![role]).await?.is_some())
}

/// Returns the columns that a change may touch, in the order of both statements above.
fn changing_values(user: &User) -> Vec<mallard_db::Value> {
    let ban = user.ban.as_ref();
    params![
        user.email.as_ref().map(Email::as_str),
        user.password_hash.as_ref().map(|hash| hash.0.as_str()),
        user.profile.name.as_str(),
        user.profile.language.as_str(),
        user.roles.names().join(","),
        user.roles.is_admin(),
        user.seller_id.as_str(),
        ban.map(|ban| ban.level.as_str()),
        ban.and_then(|ban| ban.until),
        ban.map(|ban| ban.reason.as_str()),
        ban.map_or(0, |ban| ban.at),
        ban.map_or("", |ban| ban.by.as_str()),
        user.updated_at,
        user.deleted_at,
        user.version,
    ]
}

/// Loads an account, deleted ones too.
///
/// # Errors
/// `user_not_found`.
pub async fn user(from: &impl Read, id: &str) -> Result<User> {
    let sql = concat!("SELECT ", columns!(), " FROM users WHERE id = ?");
    let row = from.row(sql, params![id]).await?.ok_or(Refusal::UserNotFound)?;
    read(&row)
}

/// Loads the account with an e-mail address.
pub async fn user_by_email(from: &impl Read, email: &Email) -> Result<Option<User>> {
    let sql = concat!("SELECT ", columns!(), " FROM users WHERE email = ?");
    from.row(sql, params![email.as_str()]).await?.as_ref().map(read).transpose()
}

/// Loads the accounts with these ids; unknown ids are left out.
pub async fn users_by_id<'a>(db: &Db, ids: impl IntoIterator<Item = &'a str>) -> Result<Vec<User>> {
    let (places, values) = list(ids);
    let sql = format!(concat!("SELECT ", columns!(), " FROM users WHERE id IN {}"), places);
    db.query_dyn(sql, values).await?.iter().map(read).collect()
}

/// Loads accounts, newest first, after the one with this creation time and id.
pub async fn users_page(db: &Db, after: (Micros, &str), limit: usize) -> Result<Vec<User>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM users WHERE (created_at, id) < (?, ?) ORDER BY created_at DESC, id DESC LIMIT ?"
    );
    db.query(sql, params![after.0, after.1, limit as i64]).await?.iter().map(read).collect()
}

/// Loads accounts with a ban that stands, the latest ban first, after the one with this time of the ban and id.
pub async fn banned_page(db: &Db, now: Micros, after: (Micros, &str), limit: usize) -> Result<Vec<User>> {
    let sql = concat!(
        "SELECT ",
        columns!(),
        " FROM users WHERE ban_at > 0 AND (ban_until IS NULL OR ban_until > ?) AND (ban_at, id) < (?, ?) \
         ORDER BY ban_at DESC, id DESC LIMIT ?"
    );
    db.query(sql, params![now, after.0, after.1, limit as i64]).await?.iter().map(read).collect()
}

/// Loads accounts that are not deleted in order of id, after this one.
pub async fn living_users_page(db: &Db, after_id: &str, limit: usize) -> Result<Vec<User>> {
    let sql = concat!("SELECT ", columns!(), " FROM users WHERE id > ? AND deleted_at IS NULL ORDER BY id LIMIT ?");
    db.query(sql, params![after_id, limit as i64]).await?.iter().map(read).collect()
}

/// Counts the accounts, deleted ones too.
pub async fn count_users(db: &Db) -> Result<i64> {
    let row = db.query_opt("SELECT COUNT(*) FROM users", params![]).await?;
    Ok(row.map(|row| row.get(0)).transpose()?.unwrap_or(0))
}

/// Loads the accounts with role admin, and keeps anybody else from doing so until this transaction ends.
pub async fn lock_admins(tx: &Tx) -> Result<Vec<User>> {
    tx.execute("UPDATE counters SET value = value + 1 WHERE name = 'operators'", params![]).await?;
    let sql =
        concat!("SELECT ", columns!(), " FROM users WHERE is_admin = 1 AND deleted_at IS NULL ORDER BY id LIMIT ?");
    tx.query(sql, params![ADMINS_READ_MAX]).await?.iter().map(read).collect()
}

/// Notes a login and keeps the account from being changed until this transaction ends; false when there is none.
pub async fn lock_for_login(tx: &Tx, user_id: &str, now: Micros) -> Result<bool> {
    let sql = "UPDATE users SET last_login_at = ? WHERE id = ? AND deleted_at IS NULL";
    Ok(tx.execute(sql, params![now, user_id]).await? == 1)
}

/// Keeps everybody else from changing the account's address book until this transaction ends.
///
/// # Errors
/// `user_not_found` when the account is gone.
pub async fn lock_address_book(tx: &Tx, user_id: &str) -> Result<()> {
    let sql = "UPDATE users SET address_book_version = address_book_version + 1 WHERE id = ? AND deleted_at IS NULL";
    match tx.execute(sql, params![user_id]).await? {
        1 => Ok(()),
        _ => Err(Refusal::UserNotFound.into()),
    }
}

/// Returns id and stored e-mail address of accounts in order of address, after this address and id. The text is raw: the
/// check that reads it wants to see what is there.
pub async fn emails_page(db: &Db, after: (&str, &str), limit: usize) -> Result<Vec<(String, String)>> {
    let sql = "SELECT email, id FROM users WHERE (email, id) > (?, ?) ORDER BY email, id LIMIT ?";
    let rows = db.query(sql, params![after.0, after.1, limit as i64]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
}

fn read(row: &Row) -> Result<User> {
    let email: Option<String> = row.get(1)?;
    let password_hash: Option<String> = row.get(2)?;
    let roles: String = row.get(5)?;
    let ban_level: Option<String> = row.get(7)?;
    let ban = match ban_level {
        Some(level) => {
            let level = BanLevel::parse(&level).map_err(broken)?;
            let reason = row.get::<Option<String>>(9)?.unwrap_or_default();
            Some(Ban { level, until: row.get(8)?, reason, at: row.get(14)?, by: row.get(15)? })
        }
        None => None,
    };
    Ok(User {
        id: row.get(0)?,
        email: email.map(|email| Email::parse(&email)).transpose().map_err(broken)?,
        password_hash: password_hash.map(PasswordHash),
        profile: Profile { name: row.get(3)?, language: row.get(4)? },
        roles: Roles::parse(roles.split(',')).map_err(broken)?,
        seller_id: row.get(6)?,
        ban,
        created_at: row.get(10)?,
        updated_at: row.get(11)?,
        deleted_at: row.get(12)?,
        version: row.get(13)?,
    })
}
