//! Making, reading, changing and deleting accounts.

use mallard_types::Result;

use serde_json::json;

use super::caller::{caller_id, client, require_operator};
use super::{App, TokenPair};
use crate::domain::{Email, Password, Profile, ProfileChange, Roles, User, check_seller_id};
use crate::error::Refusal;
use crate::{events, store};

/// What a newcomer enters.
pub struct Registration {
    /// E-mail address in any form.
    pub email: String,
    /// Chosen password.
    pub password: String,
    /// The password typed again, where the form asks for it.
    pub password_confirmation: Option<String>,
    /// First and last name; may be empty.
    pub name: String,
    /// Language tag; may be empty.
    pub language: String,
    /// What the client calls its device; may be empty.
    pub device: String,
}

/// An account made by the mall itself or an operator.
pub struct NewAccount {
    /// E-mail address in any form.
    pub email: String,
    /// Empty: no login with a password.
    pub password: String,
    /// First and last name; may be empty.
    pub name: String,
    /// Language tag; may be empty.
    pub language: String,
    /// Names of roles; none means shopper.
    pub roles: Vec<String>,
    /// Seller it acts for; empty: made when it has the role.
    pub seller_id: String,
}

impl App {
    /// Registers a newcomer and signs it in.
    ///
    /// # Errors
    /// `email_taken`, or what is wrong with a field.
    pub async fn register(&self, new: Registration) -> Result<(User, TokenPair)> {
        let email = Email::parse(&new.email)?;
        let password = Password::parse(new.password, &email)?;
        if let Some(again) = &new.password_confirmation {
            password.confirm(again)?;
        }
        let profile = Profile::new(new.name, new.language)?;
        let client = client(&new.device)?;
        let hash = self.passwords.hash(password, self.ctx.random_bytes()).await?;
        let user = User::new(self.ctx.id("usr"), email, profile, Some(hash), self.ctx.now());
        let (session, token) = self.new_session(&user.id, client);
        let tokens = self.token_pair(&user, &session, &token, session.created_at).await?;
        let input = (user.clone(), session, token.hash);
        self.tx("identity.register", input, |work, (user, session, token)| async move {
            store::insert_user(&work.tx, &user).await?;
            store::insert_session(&work.tx, &session, &token).await?;
            work.publish(events::registered(&user)).await
        })
        .await?;
        Ok((user, tokens))
    }

    /// Makes an account without a login, for the mall itself and operators; tells whether it is new. An account that has the
    /// e-mail address already is answered as it is.
    ///
    /// # Errors
    /// `admin_only`, `unknown_role`, or what is wrong with a field.
    pub async fn create_user(&self, new: NewAccount) -> Result<(User, bool)> {
        require_operator()?;
        let email = Email::parse(&new.email)?;
        if let Some(user) = store::user_by_email(&self.db, &email).await? {
            return Ok((user, false));
        }
        let for_seller = !new.seller_id.is_empty();
        let user = self.prepare(new, email.clone()).await?;
        // The mall makes thousands when it imports; only what an operator does is a change of an operator's.
        let by_operator = mallard_rpc::with_current(|call| !call.caller.is_system());
        let inserted = self
            .tx("identity.create_user", (user.clone(), by_operator), move |work, (user, by_operator)| async move {
                let makes_admin = work.may_grant(&user.roles, None, for_seller).await?;
                store::insert_user(&work.tx, &user).await?;
                if by_operator || makes_admin {
                    // Without anything personal: the entry outlives the account.
                    let made = json!({"roles": user.roles.names(), "seller_id": user.seller_id});
                    work.record("user.create", &user.id, None, Some(made)).await?;
                }
                work.publish(events::registered(&user)).await
            })
            .await;
        match inserted {
            Ok(()) => Ok((user, true)),
            // Somebody was faster between the look and the insert.
            Err(error) => match store::user_by_email(&self.db, &email).await? {
                Some(user) => Ok((user, false)),
                None => Err(error),
            },
        }
    }

    async fn prepare(&self, new: NewAccount, email: Email) -> Result<User> {
        let profile = Profile::new(new.name, new.language)?;
        let roles = match new.roles.is_empty() {
            true => Roles::shopper(),
            false => Roles::parse(new.roles.iter().map(String::as_str))?,
        };
        check_seller_id(&new.seller_id)?;
        let seller_id = match new.seller_id.is_empty() && roles.is_seller() {
            true => self.ctx.id("sel"),
            false => new.seller_id,
        };
        let hash = match new.password.is_empty() {
            true => None,
            false => {
                let password = Password::parse(new.password, &email)?;
                Some(self.passwords.hash(password, self.ctx.random_bytes()).await?)
            }
        };
        Ok(User { roles, seller_id, ..User::new(self.ctx.id("usr"), email, profile, hash, self.ctx.now()) })
    }

    /// Returns the caller's account.
    ///
    /// # Errors
    /// `unauthenticated`, `user_not_found` when it is deleted.
    pub async fn me(&self) -> Result<User> {
        let user = store::user(&self.db, &caller_id()?).await?;
        if user.deleted_at.is_some() { Err(Refusal::UserNotFound.into()) } else { Ok(user) }
    }

    /// Changes the caller's profile.
    ///
    /// # Errors
    /// `unauthenticated`, `version_mismatch`, or what is wrong with a field.
    pub async fn update_me(&self, change: ProfileChange, if_version: Option<i64>) -> Result<User> {
        let input = (caller_id()?, change, if_version);
        self.tx("identity.update_me", input, |work, (id, change, if_version)| async move {
            let before = work.user(&id).await?;
            before.expect_version(if_version)?;
            let mut user = before.clone();
            if user.change_profile(change, work.now)? {
                work.save(&before, &user).await?;
            }
            Ok(user)
        })
        .await
    }

    /// Deletes the caller's account: personal data, password and address book go, every session ends. Deleting twice is the
    /// same as once.
    ///
    /// # Errors
    /// `unauthenticated`, `last_admin`.
    pub async fn delete_me(&self) -> Result<()> {
        self.tx("identity.delete_me", caller_id()?, |work, id| async move {
            let before = store::user(&work.tx, &id).await?;
            if before.deleted_at.is_some() {
                return Ok(());
            }
            let mut user = before.clone();
            user.delete(work.now);
            work.save(&before, &user).await?;
            store::delete_addresses(&work.tx, &id).await?;
            if !work.app.ctx.switch("identity.deletion_keeps_sessions") {
                work.revoke_all(&id).await?;
            }
            work.announce(&user).await?;
            work.publish(events::deleted(&id)).await
        })
        .await
    }
}
