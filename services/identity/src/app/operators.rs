//! What operators do with accounts. What changes how an account stands holds for the tokens it has, too; only a kick ends
//! its sessions.

use mallard_proto::Timestamp;
use mallard_types::{Micros, Result, page};
use serde_json::{Value, json};

use super::caller::require_operator;
use super::{App, Page, position};
use crate::domain::{Ban, BanLevel, Email, User};
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

    /// Returns a page of accounts with a ban that stands, the latest ban first.
    ///
    /// # Errors
    /// `admin_only`, `limit_out_of_range`, `bad_cursor`.
    pub async fn bans(&self, limit: i32, cursor: &str) -> Result<Page<User>> {
        require_operator()?;
        let limit = page::limit(limit)?;
        let (at, id) = position(cursor)?;
        let items = store::banned_page(&self.db, self.ctx.now(), (at, &id), limit + 1).await?;
        Ok(Page::cut(items, limit, |user| (user.ban.as_ref().map_or(0, |ban| ban.at), &user.id)))
    }

    /// Bans an account; its sessions are suspended as the level says, and go on when the ban is over. The same ban again
    /// changes nothing.
    ///
    /// # Errors
    /// `admin_only`, `user_not_found`, `last_admin`, `unknown_ban_level`, `ban_over`.
    pub async fn ban(&self, id: String, level: &str, until: Option<Micros>, reason: String) -> Result<User> {
        require_operator()?;
        let by = mallard_rpc::with_current(|call| call.caller.user_id.clone());
        let ban = Ban::new(BanLevel::parse(level)?, until, reason, self.ctx.now(), by)?;
        self.tx("identity.ban", (id, ban), |work, (id, ban)| async move {
            let before = work.user(&id).await?;
            work.may_touch(&before).await?;
            let mut user = before.clone();
            if user.impose(ban, work.now) {
                work.save(&before, &user).await?;
                work.announce(&user).await?;
                work.record("user.ban", &id, told(before.ban.as_ref()), told(user.ban.as_ref())).await?;
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
            work.may_touch(&before).await?;
            let mut user = before.clone();
            if user.lift_ban(work.now) {
                work.save(&before, &user).await?;
                work.announce(&user).await?;
                work.record("user.unban", &id, told(before.ban.as_ref()), None).await?;
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
            work.may_touch(&user).await?;
            match work.revoke_all(&user.id).await? {
                0 => Ok(()),
                sessions => work.record("user.kick", &id, Some(json!({"sessions": sessions})), None).await,
            }
        })
        .await
    }
}

fn told(ban: Option<&Ban>) -> Option<Value> {
    let time = |at: Micros| Timestamp::from_micros(at).to_string();
    ban.map(|ban| json!({"level": ban.level.as_str(), "until": ban.until.map(time), "reason": ban.reason}))
}
