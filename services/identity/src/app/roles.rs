//! Roles of accounts, and the roles there are.

use mallard_types::Result;
use serde_json::{Value, json};

use super::caller::{require_admin_role, require_operator};
use super::{App, Work};
use crate::domain::{ADMIN, RoleDef, Roles, Ruleset, User, check_seller_id};
use crate::error::Refusal;
use crate::store;

impl App {
    /// Replaces an account's roles and, where given, the seller it acts for. Its sessions go on; the new roles hold for
    /// them, too. The same roles again change nothing, whatever version they were decided on.
    ///
    /// # Errors
    /// `admin_only` also for somebody without role admin who would grant or take it, or without its rights who would grant
    /// what its own roles do not have or change the seller; `user_not_found`, `unknown_role`, `roles_empty`,
    /// `too_many_roles`, `last_admin`; `version_mismatch` when another version of the account was seen.
    pub async fn set_roles(
        &self,
        id: String,
        roles: &[String],
        seller_id: Option<String>,
        if_version: Option<i64>,
    ) -> Result<User> {
        require_operator()?;
        if let Some(seller_id) = &seller_id {
            check_seller_id(seller_id)?;
        }
        let roles = Roles::parse(roles.iter().map(String::as_str))?;
        let input = (id, roles, seller_id, self.ctx.id("sel"), if_version);
        self.tx("identity.set_roles", input, |work, (id, roles, seller_id, new_seller_id, if_version)| async move {
            let before = work.user(&id).await?;
            work.may_touch(&before).await?;
            let moves = seller_id.as_ref().is_some_and(|seller_id| *seller_id != before.seller_id);
            work.may_grant(&roles, Some(&before.roles), moves).await?;
            let mut user = before.clone();
            if user.change_roles(roles, seller_id, new_seller_id, work.now) {
                before.expect_version(if_version)?;
                work.save(&before, &user).await?;
                work.announce(&user).await?;
                work.record("user.roles", &id, Some(told(&before)), Some(told(&user))).await?;
            }
            Ok(user)
        })
        .await
    }

    /// Returns every role there is, in order of name, and the version they are of.
    ///
    /// # Errors
    /// `admin_only`.
    pub async fn role_defs(&self) -> Result<(Vec<RoleDef>, i64)> {
        require_operator()?;
        let rules = store::ruleset(&self.db).await?;
        Ok((rules.roles, rules.version))
    }

    /// Makes a role, or changes what it inherits and is for. The same again changes nothing.
    ///
    /// # Errors
    /// `admin_only`, `invalid_role`, `unknown_role` for a parent, `role_cycle`, `roles_full`, `would_lock_out`;
    /// `version_mismatch` when another version of the list was seen.
    pub async fn put_role(
        &self,
        name: String,
        inherits: Vec<String>,
        note: String,
        if_version: Option<i64>,
    ) -> Result<RoleDef> {
        require_admin_role()?;
        let role = RoleDef::new(name, inherits, note)?;
        mallard_access::check_role(&role.role)?;
        let wanted = role.clone();
        self.change_access(move |rules| Ok(rules.seen(if_version, rules.put_role(wanted.clone())?)?)).await?;
        Ok(role)
    }

    /// Deletes a role that nobody holds and nothing is about.
    ///
    /// # Errors
    /// `admin_only`, `role_not_found`, `role_built_in`, `role_in_use`; `version_mismatch` when another version of the list
    /// was seen.
    pub async fn delete_role(&self, name: String, if_version: Option<i64>) -> Result<()> {
        require_admin_role()?;
        let decide = move |rules: &Ruleset| Ok(rules.seen(if_version, Some(rules.remove_role(&name)?))?);
        self.change_access(decide).await.map(|_| ())
    }
}

impl Work {
    /// Checks that roles exist until this transaction ends, and that the caller may grant those that are not held yet, and a
    /// seller to act for; tells whether they make an administrator. Costs administrators and the mall nothing for the roles
    /// that always exist.
    pub(super) async fn may_grant(&self, roles: &Roles, held: Option<&Roles>, a_seller: bool) -> Result<bool> {
        let doer = &self.doer;
        let mut known = Ruleset::default();
        if !roles.custom().is_empty() || !doer.is_admin {
            store::lock_access(&self.tx).await?;
            known.roles = store::roles(&self.tx).await?;
        }
        if let Some(unknown) = roles.custom().into_iter().find(|name| known.role(name).is_none()) {
            return Err(Refusal::RoleUnknown(unknown.to_owned()).into());
        }
        let makes_admin = known.make_admin(roles);
        if doer.is_admin {
            return Ok(makes_admin);
        }
        // Whoever could give what it has not could give it to itself.
        let names = roles.names();
        let mut granted = names.iter().filter(|name| held.is_none_or(|held| !held.has(name)));
        let covered = granted.all(|name| known.cover(&doer.roles, name));
        if makes_admin || !covered || (a_seller && !known.cover(&doer.roles, ADMIN)) {
            return Err(Refusal::AdminRoleOnly.into());
        }
        Ok(false)
    }
}

fn told(user: &User) -> Value {
    json!({"roles": user.roles.names(), "seller_id": user.seller_id})
}
