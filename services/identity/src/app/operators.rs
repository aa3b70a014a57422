//! What operators do with accounts. Whatever takes rights away ends the sessions that hold them.

use mallard_types::{Micros, Result, page};

use super::{App, Page, position, require_operator};
use crate::domain::{Ban, BanLevel, Email, Roles, User};
use crate::store;

impl App {
    /// Returns a page of accounts, newest first, deleted ones too.
    ///
    /// # Errors
    /// `admin_only`, `limit_out_of_range`, `bad_cursor`.
    pub async fn users(&self, limit: i32, cursor: &str) -> Result<Page<User>> {
        require_operator()?;
        let limit = page::limit(limit)?;
        let (at, id) = position(cursor)?;
        let items = store::users_page(&self.db, (at, &id), limit + 1).await?;
        Ok(Page::cut(items, limit, |user| (user.created_at, &user.id)))
    }

    /// Counts the accounts of [`App::users`].
    ///
    /// # Errors
    /// `admin_only`.
    pub async fn count_users(&self) -> Result<i64> {
        require_operator()?;
        store::count_users(&self.db).await
    }

    /// Returns the account with an e-mail address in any letter case, if there is one.
    ///
    /// # Errors
    /// `admin_only`.
    pub async fn user_by_email(&self, email: &str) -> Result<Option<User>> {
        require_operator()?;
        match Email::parse(email) {
            Ok(email) => store::user_by_email(&self.db, &email).await,
            Err(_) => Ok(None),
        }
    }

    /// Returns an account, deleted ones too.
    ///
    /// # Errors
    /// `admin_only`, `user_not_found`.
    pub async fn user(&self, id: &str) -> Result<User> {
        require_operator()?;
        store::user(&self.db, id).await
    }

    /// Bans an account and ends its sessions. The same ban again changes nothing.
    ///
    /// # Errors
    /// `admin_only`, `user_not_found`, `last_admin`, `unknown_ban_level`, `ban_over`.
    pub async fn ban(&self, id: String, level: &str, until: Option<Micros>, reason: String) -> Result<User> {
        require_operator()?;
        let ban = Ban::new(BanLevel::parse(level)?, until, reason, self.ctx.now())?;
        self.tx("identity.ban", (id, ban), |work, (id, ban)| async move {
            let before = work.user(&id).await?;
            let mut user = before.clone();
            if user.impose(ban, work.now) {
                work.save(&before, &user).await?;
                work.revoke_all(&id).await?;
            }
            Ok(user)
        })
        .await
    }

    /// Lifts an account's ban.
    ///
    /// # Errors
    /// `admin_only`, `user_not_found`.
    pub async fn unban(&self, id: String) -> Result<User> {
        require_operator()?;
        self.tx("identity.unban", id, |work, id| async move {
            let before = work.user(&id).await?;
            let mut user = before.clone();
            if user.lift_ban(work.now) {
                work.save(&before, &user).await?;
            }
            Ok(user)
        })
        .await
    }

    /// Ends every session of an account.
    ///
    /// # Errors
    /// `admin_only`, `user_not_found`.
    pub async fn kick(&self, id: String) -> Result<()> {
        require_operator()?;
        self.tx("identity.kick", id, |work, id| async move {
            let user = work.user(&id).await?;
            work.revoke_all(&user.id).await
        })
        .await
    }

    /// Replaces an account's roles and ends the sessions that hold the old ones. The same roles again change nothing.
    ///
    /// # Errors
    /// `admin_only`, `user_not_found`, `unknown_role`, `roles_empty`, `last_admin`.
    pub async fn set_roles(&self, id: String, roles: &[String]) -> Result<User> {
        require_operator()?;
        let input = (id, Roles::parse(roles.iter().map(String::as_str))?, self.ctx.id("sel"));
        self.tx("identity.set_roles", input, |work, (id, roles, new_seller_id)| async move {
            let before = work.user(&id).await?;
            let mut user = before.clone();
            if user.change_roles(roles, new_seller_id, work.now) {
                work.save(&before, &user).await?;
                work.revoke_all(&id).await?;
            }
            Ok(user)
        })
        .await
    }
}
